package logs

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/api/layout"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"k8s.io/klog/v2"

	"github.com/westworld-charter/charter/internal/ledger"
)

// Batching is how Tessera gathers entries, and when Append returns.
type Batching struct {
	Age  time.Duration // of the first entry of a batch
	Size uint          // of a batch
	// Published says that Append waits for a signed checkpoint over the entry, as
	// the ledger does, and not only until the entry is in the tree.
	Published bool
}

const (
	// soonest is the shortest interval between checkpoints that Tessera's POSIX
	// driver accepts.
	soonest = 100 * time.Millisecond
	// poll is how often its awaiter looks for a new checkpoint.
	poll = 5 * time.Millisecond
	// seldom is the interval where nobody waits for checkpoints; closing does.
	seldom = 500 * time.Millisecond
)

// tesseraKind is a log of Tessera in files.
type tesseraKind struct {
	batching Batching
	signer   note.Signer
	verifier note.Verifier
}

// Tessera is a log of Tessera's POSIX driver. Without Published its promise is
// less than ours: the entry is in files that were synced, and in the tree, but
// nothing that was signed covers it yet.
func Tessera(b Batching) (Kind, error) {
	quiet()
	skey, vkey, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		return Kind{}, err
	}
	t := &tesseraKind{batching: b}
	if t.signer, err = note.NewSigner(skey); err != nil {
		return Kind{}, err
	}
	if t.verifier, err = note.NewVerifier(vkey); err != nil {
		return Kind{}, err
	}
	k := Kind{
		Name: fmt.Sprintf("tessera_%d_%d", b.Age.Milliseconds(), b.Size), Open: t.open, Read: t.read,
		Promise: "Tessera's IndexFuture: entry bundle, tiles and tree state are synced; no signed checkpoint covers the entry yet",
	}
	if b.Published {
		k.Name += "_published"
		k.Promise = fmt.Sprintf("Tessera's PublicationAwaiter, every %v: a signed checkpoint over the entry is published, at most one each %v, the shortest interval it accepts", poll, soonest)
	}
	return k, nil
}

// quiet keeps Tessera's log, errors aside, off standard error.
func quiet() {
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
}

type tesseraLog struct {
	append   tessera.AddFn
	shutdown func(context.Context) error
	cancel   context.CancelFunc
	awaiter  *tessera.PublicationAwaiter // nil when nobody waits for checkpoints
}

func (t *tesseraKind) open(ctx context.Context, dir string) (Log, error) {
	driver, err := posix.New(ctx, posix.Config{Path: dir})
	if err != nil {
		return nil, err
	}
	interval := seldom
	if t.batching.Published {
		interval = soonest
	}
	ctx, cancel := context.WithCancel(ctx)
	appender, shutdown, reader, err := tessera.NewAppender(ctx, driver, tessera.NewAppendOptions().
		WithCheckpointSigner(t.signer).WithCheckpointInterval(interval).WithBatching(t.batching.Size, t.batching.Age))
	if err != nil {
		cancel()
		return nil, err
	}
	l := &tesseraLog{append: appender.Add, shutdown: shutdown, cancel: cancel}
	if t.batching.Published {
		l.awaiter = tessera.NewPublicationAwaiter(ctx, reader.ReadCheckpoint, poll)
	}
	return l, nil
}

func (l *tesseraLog) Append(ctx context.Context, e ledger.Entry) (uint64, error) {
	body, err := encode(e)
	if err != nil {
		return 0, err
	}
	future := l.append(ctx, tessera.NewEntry(body))
	if l.awaiter == nil {
		index, err := future()
		return index.Index, err
	}
	index, _, err := l.awaiter.Await(ctx, future)
	return index.Index, err
}

// Close publishes the last checkpoint.
func (l *tesseraLog) Close() error {
	defer l.cancel()
	return l.shutdown(context.Background())
}

// read rebuilds the tree from the entries and compares it with the checkpoint.
func (t *tesseraKind) read(ctx context.Context, dir string) ([][]byte, error) {
	files := client.FileFetcher{Root: dir}
	signed, err := files.ReadCheckpoint(ctx)
	if err != nil {
		return nil, err
	}
	// Its checkpoints are those of C2SP, as ours are.
	head, err := ledger.Keys{Origin: origin, Log: []note.Verifier{t.verifier}}.OpenCheckpoint(signed)
	if err != nil {
		return nil, err
	}
	var bodies [][]byte
	for part := range layout.Range(0, head.Size, head.Size) {
		raw, err := files.ReadEntryBundle(ctx, part.Index, part.Partial)
		if err != nil {
			return nil, err
		}
		var bundle api.EntryBundle
		if err := bundle.UnmarshalText(raw); err != nil {
			return nil, err
		}
		if uint(len(bundle.Entries)) < part.N {
			return nil, errors.New("a bundle of Tessera is too short")
		}
		bodies = append(bodies, bundle.Entries[:part.N]...)
	}
	root, err := rootOf(bodies)
	if err == nil && root != head.Root {
		err = errors.New("the entries in the files of Tessera do not hash to its checkpoint")
	}
	return bodies, err
}

// rootOf returns the hash of the tree over bodies (RFC 6962).
func rootOf(bodies [][]byte) (tlog.Hash, error) {
	var stored []tlog.Hash
	read := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			hashes[i] = stored[index]
		}
		return hashes, nil
	})
	for i, body := range bodies {
		hashes, err := tlog.StoredHashes(int64(i), body, read)
		if err != nil {
			return tlog.Hash{}, err
		}
		stored = append(stored, hashes...)
	}
	return tlog.TreeHash(int64(len(bodies)), read)
}

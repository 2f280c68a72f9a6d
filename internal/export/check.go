package export

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/westworld-charter/charter/internal/ledger"
)

// Result is what a check has proved.
type Result struct {
	Checkpoint ledger.Checkpoint
	// Entries is how many entries the file holds, Proven how many of them are
	// proven to be in the ledger: all of a complete range, else two at most.
	Entries uint64
	Proven  uint64
}

// Check verifies a file against its manifest and both against public keys: the
// digest; that the ledger has signed the checkpoint, and enough witnesses have;
// that every record follows from its body; and that the entries are those of the
// ledger. See, if not nil, gets every record. Errors wrap [ErrContent],
// [ErrManifest], or say what is wrong with the checkpoint.
func Check(ctx context.Context, file io.ReaderAt, size int64, m Manifest, keys ledger.Keys, see func(Record) error) (Result, error) {
	c, err := checkpoint(m, keys)
	if err != nil {
		return Result{}, err
	}
	r := Result{Checkpoint: c}
	if err := digest(ctx, file, size, m); err != nil {
		return r, err
	}
	k := &checker{manifest: m, see: see, result: &r}
	next, stop := iter.Pull2(Read(m.Format, file, size))
	defer stop()
	k.next = next
	if err := k.run(ctx); err != nil {
		return r, err
	}
	return r, nil
}

func checkpoint(m Manifest, keys ledger.Keys) (ledger.Checkpoint, error) {
	c, err := keys.OpenCheckpoint([]byte(m.Checkpoint))
	if err != nil {
		return c, fmt.Errorf("manifest: %w", err)
	}
	if enough, _ := keys.Witnessed(c); !enough {
		return c, fmt.Errorf("manifest: %w: %d of %d known witnesses", ledger.ErrNoQuorum, len(c.Witnesses), len(keys.Witnesses))
	}
	if m.Origin != c.Origin || m.To > c.Size {
		return c, fmt.Errorf("%w: its checkpoint covers neither its ledger nor its range", ErrManifest)
	}
	return c, nil
}

func digest(ctx context.Context, file io.ReaderAt, size int64, m Manifest) error {
	if size != m.Bytes {
		return fmt.Errorf("%w: it has %d bytes, and its manifest says %d", ErrContent, size, m.Bytes)
	}
	sum := sha256.New()
	in := io.NewSectionReader(file, 0, size)
	for {
		_, err := io.CopyN(sum, in, 16<<20)
		if errors.Is(err, io.EOF) {
			break
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			return fmt.Errorf("check export: %w", err)
		}
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != m.SHA256 {
		return fmt.Errorf("%w: its SHA-256 is %s, and its manifest says %s", ErrContent, got, m.SHA256)
	}
	return nil
}

type checker struct {
	manifest Manifest
	see      func(Record) error
	result   *Result
	next     func() (Record, error, bool)
	last     Record
}

func (k *checker) run(ctx context.Context) error {
	m := &k.manifest
	take := func() (tlog.Hash, error) {
		if err := ctx.Err(); err != nil {
			return tlog.Hash{}, err
		}
		return k.take()
	}
	if m.Complete() && m.Entries > 0 {
		t, err := newRangeTree(k.result.Checkpoint.Size, m.From, m.To, m.First.Proof, m.Last.Proof, take)
		if err != nil {
			return err
		}
		root, err := t.root(0, k.result.Checkpoint.Size)
		if err != nil {
			return err
		}
		if root != k.result.Checkpoint.Root {
			return fmt.Errorf("%w: its entries are not those that the ledger has signed", ErrContent)
		}
		k.result.Proven = m.Entries
	} else {
		for range m.Entries {
			if _, err := take(); err != nil {
				return err
			}
		}
	}
	if _, err, more := k.next(); more {
		return errors.Join(fmt.Errorf("%w: it holds more than the %d entries of its manifest", ErrContent, m.Entries), err)
	}
	return nil
}

// take reads the next record and returns the hash of its leaf.
func (k *checker) take() (tlog.Hash, error) {
	m := &k.manifest
	r, err, ok := k.next()
	if !ok {
		return tlog.Hash{}, fmt.Errorf("%w: it ends after %d of %d entries", ErrContent, k.result.Entries, m.Entries)
	}
	if err != nil {
		return tlog.Hash{}, err
	}
	leaf := tlog.RecordHash(r.Body)
	n := k.result.Entries
	switch {
	case r.Index < m.From || r.Index >= m.To, m.Complete() && r.Index != m.From+n, n > 0 && r.Index <= k.last.Index:
		return leaf, fmt.Errorf("%w: entry %d is out of place", ErrContent, r.Index)
	case n == 0:
		err = k.outermost(r, leaf, m.First)
	}
	if err == nil && n == m.Entries-1 {
		err = k.outermost(r, leaf, m.Last)
	}
	if err == nil && k.see != nil {
		err = k.see(r)
	}
	k.last = r
	k.result.Entries++
	return leaf, err
}

// outermost checks the first or the last entry.
func (k *checker) outermost(r Record, leaf tlog.Hash, p *Proved) error {
	c := &k.result.Checkpoint
	if p.Index != r.Index || p.CID != ledger.CID(r.Body) {
		return fmt.Errorf("%w: entry %d is not the one in its manifest", ErrContent, r.Index)
	}
	if err := tlog.CheckRecord(p.Proof, int64(c.Size), c.Root, int64(r.Index), leaf); err != nil {
		return fmt.Errorf("%w: entry %d is not in the ledger: %w", ErrContent, r.Index, err)
	}
	if !k.manifest.Complete() && (k.result.Entries == 0 || k.result.Proven == 1 && k.last.Index != r.Index) {
		k.result.Proven++
	}
	return nil
}

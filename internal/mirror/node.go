package mirror

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/witness"
)

// Server is the far side, as a node sees it. Its errors are those of [Mirrors] where
// the server refuses.
type Server interface {
	// Held returns how many entries of this node's ledger the server holds.
	Held(ctx context.Context) (uint64, error)
	// Extend returns the copy, with Takes.
	Extend(ctx context.Context, u Upload) (Status, error)
	Cosigned(ctx context.Context, c Cosignature) error
}

// Pusher sends what the ledger of a node has more than the copy on its server. It is
// used by one goroutine.
type Pusher struct {
	Ledger func() *ledger.Reader // nil while it is closed
	Key    func() string         // public, the current one
	Server Server

	held  uint64
	takes int  // extensions that the server has said it takes at once; 0 before it did
	asked bool // held is what the server said
	shown bool // the server has seen a checkpoint since then
}

// Push sends all there is, and returns how many entries the server holds then. After an
// error the next call goes on where the server is.
func (p *Pusher) Push(ctx context.Context) (uint64, error) {
	for {
		more, err := p.step(ctx)
		if refused, ok := errors.AsType[*Error](err); ok && refused.Code == CodeSize {
			if refused.Size == p.held {
				return p.held, err
			}
			p.held = refused.Size // another process of this node was faster, or an answer was lost
			continue
		}
		if err != nil {
			p.asked, p.shown, p.takes = false, false, 0 // it may be another server from now on
			return p.held, err
		}
		if !more {
			return p.held, nil
		}
	}
}

// step sends what fits into one upload; more says that there may be more.
func (p *Pusher) step(ctx context.Context) (more bool, err error) {
	log := p.Ledger()
	if log == nil {
		return false, errors.New("the ledger is closed")
	}
	if !p.asked {
		if p.held, err = p.Server.Held(ctx); err != nil {
			return false, err
		}
		p.asked = true
	}
	u, size, err := p.gather(ctx, log)
	if errors.Is(err, ledger.ErrNotFound) && p.held == 0 {
		return false, nil // nothing is in it yet
	}
	if err != nil {
		return false, fmt.Errorf("read the ledger: %w", err)
	}
	if size == p.held && p.shown {
		return false, nil
	}
	// A ledger that is behind its copy, or another one, is shown as well: the server has
	// to know.
	st, err := p.Server.Extend(ctx, u)
	if err != nil {
		return false, err
	}
	p.held, p.shown, p.takes = size, true, st.Takes
	return true, nil
}

// gather puts together as many commits as the server takes at once, and as are worth a
// round trip. Size is that of the copy with them.
func (p *Pusher) gather(ctx context.Context, log *ledger.Reader) (u Upload, size uint64, err error) {
	u.Key = p.Key()
	entries, bytes := 0, 0
	for {
		from := size
		if entries == 0 {
			from = p.held
		}
		x, err := log.Since(ctx, from)
		if err != nil {
			return u, size, err
		}
		_, end, _, err := ledger.ParseCheckpoint([]byte(x.Checkpoint))
		if err != nil {
			return u, size, err
		}
		entries += len(x.Entries)
		bytes += len(x.Checkpoint)
		for _, body := range x.Entries {
			bytes += len(body)
		}
		switch {
		case from == p.held:
			u.Extension = x
		case len(x.Entries) == 0 || entries > ledger.MaxExtensionEntries || bytes > batchBytes:
			return u, size, nil
		default:
			u.More = append(u.More, x)
		}
		size = end
		if len(x.Entries) == 0 || 1+len(u.More) >= min(p.takes, MaxExtensions) || bytes > batchBytes {
			return u, size, nil
		}
	}
}

// Log is a ledger as a witness sees it: [ledger.Reader], or a client of a server.
type Log interface {
	// Checkpoint returns the latest one; [ledger.ErrNotFound] for an empty log.
	Checkpoint(ctx context.Context) ([]byte, error)
	Consistency(ctx context.Context, old, size uint64) (tlog.TreeProof, error)
}

// Watcher cosigns the ledger of a server as long as it only grows. It is used by one
// goroutine.
type Watcher struct {
	Ledger  Log // of the server
	Witness *witness.Server
	Key     string // public, of Witness
	Server  Server

	sent uint64
}

// Watch looks at the server's ledger once, and cosigns what is new. It returns how many
// entries are cosigned. An error wraps [witness.ErrInconsistent] when the server's ledger
// is not a continuation of what it showed before; the evidence is kept by the witness.
func (w *Watcher) Watch(ctx context.Context) (uint64, error) {
	shown, err := w.Ledger.Checkpoint(ctx)
	if errors.Is(err, ledger.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return w.sent, fmt.Errorf("the server's ledger: %w", err)
	}
	origin, size, _, err := ledger.ParseCheckpoint(shown)
	if err != nil {
		return w.sent, fmt.Errorf("the server's ledger: %w", err)
	}
	held, err := w.held(origin)
	if err != nil {
		return w.sent, err
	}
	if size == held && size == w.sent {
		return w.sent, nil
	}
	cosigned, err := w.Witness.Cosign(ctx, held, shown, func() (tlog.TreeProof, error) {
		if held == 0 || held >= size {
			return nil, nil
		}
		return w.Ledger.Consistency(ctx, held, size)
	})
	if err != nil {
		return w.sent, err
	}
	if err := w.Server.Cosigned(ctx, Cosignature{Key: w.Key, Checkpoint: string(cosigned)}); err != nil {
		return w.sent, err
	}
	w.sent = size
	return size, nil
}

// held is the size that the witness has cosigned last.
func (w *Watcher) held(origin string) (uint64, error) {
	sum := sha256.Sum256([]byte(origin))
	signed, err := w.Witness.Checkpoint(hex.EncodeToString(sum[:]))
	if errors.Is(err, witness.ErrUnknownLog) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	_, size, _, err := ledger.ParseCheckpoint(signed)
	return size, err
}

package keyring

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/mod/sumdb/note"

	"github.com/westworld-charter/charter/internal/durable"
	"github.com/westworld-charter/charter/internal/ledger"
)

// Log is the part of [ledger.Log] that is needed.
type Log interface {
	Rotate(ctx context.Context, next ledger.Signer, principal string) (ledger.Position, error)
	Retire(ctx context.Context, principal string) (p ledger.Position, ok bool, err error)
	Reader() *ledger.Reader
}

// Finder is the part of a [ledger.Store] that is needed before its log is open.
type Finder interface {
	Head(ctx context.Context) (size uint64, checkpoint []byte, err error)
	Find(ctx context.Context, f ledger.Filter) iter.Seq2[ledger.Row, error]
}

// Change is what a change of keys has come to.
type Change struct {
	// Changed is false when there was nothing to do: what was asked for had been
	// done before.
	Changed bool `json:"changed"`
	// Entry is the index of the entry that says so; nil when there is none.
	Entry *uint64 `json:"entry,omitempty"`
	Key   string  `json:"key"` // public, the current one
	// Previous signs along; "" when the current key signs alone.
	Previous string `json:"previous,omitempty"`
}

// Signers are the keys with which the log of a store is opened, the current one
// first.
func (r *Ring) Signers(ctx context.Context, s Finder) ([]ledger.Signer, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, head, err := s.Head(ctx)
	if err != nil {
		return nil, err
	}
	if signed(head, r.next) {
		return []ledger.Signer{r.next, r.current}, nil
	}
	if retired, err := r.isRetired(ctx, s.Find); err != nil || r.previous == nil || retired || r.previous.is(r.current.VerifierKey()) {
		return []ledger.Signer{r.current}, err
	}
	return []ledger.Signer{r.current, r.previous}, nil
}

// signed tells whether a checkpoint bears the signature of a key. Each one since
// its rotation does, so the latest one tells whether there was one.
func signed(checkpoint []byte, key *private) bool {
	if key == nil {
		return false
	}
	v, err := ledger.VerifierOf(key)
	if err != nil {
		return false
	}
	_, err = note.Open(checkpoint, note.VerifierList(v))
	return err == nil
}

type find = func(ctx context.Context, f ledger.Filter) iter.Seq2[ledger.Row, error]

// isRetired tells whether the ledger says that the previous key signs no more.
func (r *Ring) isRetired(ctx context.Context, find find) (bool, error) {
	if r.previous == nil {
		return false, nil
	}
	for row, err := range find(ctx, ledger.Filter{Kinds: []ledger.Kind{ledger.KeyRetirement}, Newest: true, Limit: 1}) {
		var done ledger.Retirement
		if err == nil {
			err = dataOf(row, &done)
		}
		if err != nil {
			return false, err
		}
		return slices.Contains(done.Retired, r.previous.VerifierKey()), nil
	}
	return false, nil
}

func dataOf(row ledger.Row, to any) error {
	e, err := ledger.ParseEntry(row.Body)
	if err == nil {
		err = json.Unmarshal(e.Data, to)
	}
	if err != nil {
		return fmt.Errorf("entry %d: %w", row.Index, err)
	}
	return nil
}

// Finish completes what a crash has interrupted, with the log opened with
// [Ring.Signers], and publishes the public keys. It returns what it has changed.
func (r *Ring) Finish(ctx context.Context, log Log) (Change, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var done Change
	if r.next != nil && (r.previous == nil || r.previous.is(r.current.VerifierKey())) {
		var err error
		if done, err = r.advance(ctx, log, ""); err != nil {
			return done, err
		}
	}
	retired, err := r.isRetired(ctx, log.Reader().Find)
	if err == nil && retired {
		done.Changed = true
		err = r.forget()
	}
	if err == nil {
		err = r.publish(ctx, log.Reader())
	}
	return r.state(done), err
}

// state fills in which keys sign.
func (r *Ring) state(c Change) Change {
	c.Key = r.current.VerifierKey()
	if r.previous != nil {
		c.Previous = r.previous.VerifierKey()
	}
	return c
}

// Rotate makes another key the current one, in the name of a principal. While the
// one before still signs along, it has been done, and nothing happens. Whatever
// is interrupted, Rotate or [Ring.Finish] completes. Errors wrap [ErrFile],
// [ledger.ErrKey], or are those of [ledger.Log.Append].
func (r *Ring) Rotate(ctx context.Context, log Log, principal string) (Change, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.previous != nil && !r.previous.is(r.current.VerifierKey()) {
		c := r.state(Change{})
		var err error
		c.Entry, err = r.rotatedAt(ctx, log)
		return c, errors.Join(err, r.publish(ctx, log.Reader()))
	}
	if r.next == nil {
		next, err := generate(r.current.Name())
		if err != nil {
			return Change{}, err
		}
		if err := r.write(NextFile, next); err != nil {
			return Change{}, err
		}
		r.next = next
	}
	c, err := r.advance(ctx, log, principal)
	if err == nil {
		err = r.publish(ctx, log.Reader())
	}
	return r.state(c), err
}

// rotatedAt is the entry that introduced the current key; nil when it was pruned.
func (r *Ring) rotatedAt(ctx context.Context, log Log) (*uint64, error) {
	for row, err := range log.Reader().Find(ctx, ledger.Filter{Kinds: []ledger.Kind{ledger.KeyRotation}, Newest: true, Limit: 1}) {
		var last ledger.Rotation
		if err == nil {
			err = dataOf(row, &last)
		}
		if err != nil || !r.current.is(last.New) {
			return nil, err
		}
		return &row.Index, nil
	}
	return nil, nil
}

// advance puts the next key into the ledger, unless it is there, and into its
// place.
func (r *Ring) advance(ctx context.Context, log Log, principal string) (Change, error) {
	c := Change{Changed: true}
	head, err := log.Reader().Checkpoint(ctx)
	if err != nil && !errors.Is(err, ledger.ErrNotFound) {
		return c, err
	}
	if !signed(head, r.next) {
		at, err := log.Rotate(ctx, r.next, principal)
		if err != nil {
			return c, err
		}
		c.Entry = &at.Index
	}
	if err := r.write(PreviousFile, r.current); err != nil {
		return c, err
	}
	if err := r.replace(); err != nil {
		return c, fmt.Errorf("%w: %w", ErrFile, err)
	}
	r.previous, r.current, r.next = r.current, r.next, nil
	if c.Entry == nil {
		c.Entry, err = r.rotatedAt(ctx, log)
	}
	return c, err
}

func (r *Ring) replace() error {
	if err := os.Rename(r.path(NextFile), r.path(CurrentFile)); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(r.path(CurrentFile)))
}

// Retire lets the current key sign alone, in the name of a principal, and forgets
// the one before. Errors are those of [Ring.Rotate].
func (r *Ring) Retire(ctx context.Context, log Log, principal string) (Change, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next != nil { // what was cut off comes first: the next key may sign already
		head, err := log.Reader().Checkpoint(ctx)
		if err == nil && signed(head, r.next) {
			_, err = r.advance(ctx, log, principal)
		}
		if err != nil {
			return Change{}, err
		}
	}
	at, changed, err := log.Retire(ctx, principal)
	if err != nil {
		return Change{}, err
	}
	c := Change{Changed: changed}
	if changed {
		c.Entry = &at.Index
	}
	retired, err := r.isRetired(ctx, log.Reader().Find)
	if err == nil && retired {
		err = r.forget()
	}
	if err == nil {
		err = r.publish(ctx, log.Reader())
	}
	return r.state(c), err
}

// forget removes the previous key.
func (r *Ring) forget() error {
	if err := os.Remove(r.path(PreviousFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrFile, err)
	}
	if err := durable.SyncDir(filepath.Dir(r.path(PreviousFile))); err != nil {
		return fmt.Errorf("%w: %w", ErrFile, err)
	}
	r.previous = nil
	return nil
}

// publish writes the public keys with the sizes that each one counts for, as far
// as the ledger says so. Keys that it says nothing about stay.
func (r *Ring) publish(ctx context.Context, log *ledger.Reader) error {
	keys := slices.Clone(r.public)
	at := func(key string) *Public {
		i := slices.IndexFunc(keys, func(p Public) bool { return p.Key == key })
		if i < 0 {
			i, keys = len(keys), append(keys, Public{Key: key})
		}
		return &keys[i]
	}
	at(r.current.VerifierKey())
	for row, err := range log.Find(ctx, ledger.Filter{Kinds: []ledger.Kind{ledger.KeyRotation}}) {
		var change ledger.Rotation
		if err == nil {
			err = dataOf(row, &change)
		}
		if err == nil {
			_, _, err = change.Verify()
		}
		if err != nil {
			return err
		}
		old := at(change.Old)
		old.Ranged, old.To = true, row.Index+1
		next := at(change.New)
		next.Ranged, next.From, next.To = true, row.Index+1, 0
	}
	slices.SortStableFunc(keys, func(a, b Public) int { return cmp.Compare(b.From, a.From) })
	i := slices.IndexFunc(keys, func(p Public) bool { return r.current.is(p.Key) })
	first := keys[i]
	keys = slices.Insert(slices.Delete(keys, i, i+1), 0, first)
	before, err := os.ReadFile(r.path(PublicFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrFile, err)
	}
	if text := list(keys); string(text) != string(before) {
		if err = durable.WriteFile(r.path(PublicFile), text); err == nil {
			err = errors.Join(os.Chmod(r.path(PublicFile), 0o644), sameOwner(r.path(PublicFile), r.path(CurrentFile)))
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrFile, err)
		}
	}
	r.public = keys
	return nil
}

package app

import (
	"context"
	"fmt"
	"iter"
	"sync/atomic"
	"time"

	"github.com/westworld-charter/charter/internal/ledger"
)

// timed is a store that tells about its commits.
type timed struct {
	ledger.Store
	committed func(c ledger.Commit, took time.Duration)
}

// Commit implements [ledger.Store].
func (t timed) Commit(ctx context.Context, c ledger.Commit) error {
	start := time.Now()
	err := t.Store.Commit(ctx, c)
	if err == nil {
		t.committed(c, time.Since(start))
	}
	return err
}

// Anchor implements [ledger.Anchored].
func (t timed) Anchor() ledger.HeadSource {
	if a, ok := t.Store.(ledger.Anchored); ok {
		return a.Anchor()
	}
	return unanchored{}
}

type unanchored struct{}

func (unanchored) Head(context.Context) ([]byte, error) { return nil, ledger.ErrNotFound }

// relay reads from whatever store is open now, so that readers outlive it.
type relay struct{ store atomic.Pointer[ledger.Store] }

// use changes the store; nil is none.
func (r *relay) use(s ledger.Store) {
	if s == nil {
		r.store.Store(nil)
		return
	}
	r.store.Store(&s)
}

func (r *relay) get() (ledger.Store, error) {
	if s := r.store.Load(); s != nil {
		return *s, nil
	}
	return nil, errLedgerClosed
}

// rows visits what a store does, or fails.
func rows[T any](r *relay, visit func(ledger.Store) iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		s, err := r.get()
		if err != nil {
			var none T
			yield(none, err)
			return
		}
		visit(s)(yield)
	}
}

func (r *relay) Head(ctx context.Context) (uint64, []byte, error) {
	s, err := r.get()
	if err != nil {
		return 0, nil, err
	}
	return s.Head(ctx)
}

func (r *relay) Tile(ctx context.Context, level int, index uint64) ([]byte, error) {
	s, err := r.get()
	if err != nil {
		return nil, err
	}
	return s.Tile(ctx, level, index)
}

func (r *relay) Rows(ctx context.Context, from, to uint64) iter.Seq2[ledger.Row, error] {
	return rows(r, func(s ledger.Store) iter.Seq2[ledger.Row, error] { return s.Rows(ctx, from, to) })
}

func (r *relay) Find(ctx context.Context, f ledger.Filter) iter.Seq2[ledger.Row, error] {
	return rows(r, func(s ledger.Store) iter.Seq2[ledger.Row, error] { return s.Find(ctx, f) })
}

func (r *relay) Request(ctx context.Context, principal, id string) ([32]byte, uint64, error) {
	s, err := r.get()
	if err != nil {
		return [32]byte{}, 0, err
	}
	return s.Request(ctx, principal, id)
}

func (r *relay) Checkpoints(ctx context.Context, from uint64) iter.Seq2[[]byte, error] {
	return rows(r, func(s ledger.Store) iter.Seq2[[]byte, error] { return s.Checkpoints(ctx, from) })
}

func (r *relay) Witnessed(ctx context.Context, from uint64) ([]byte, error) {
	s, err := r.get()
	if err != nil {
		return nil, err
	}
	return s.Witnessed(ctx, from)
}

func (r *relay) Reconcile(ctx context.Context) (uint64, error) {
	s, err := r.get()
	if err != nil {
		return 0, err
	}
	return s.Reconcile(ctx)
}

// errReader is what changing a ledger through a reader gives.
var errReader = fmt.Errorf("%w: this is for reading", ledger.ErrStopped)

func (r *relay) Commit(context.Context, ledger.Commit) error { return errReader }
func (r *relay) Prune(context.Context, uint64) error         { return errReader }
func (r *relay) Probe(context.Context) error                 { return errReader }
func (r *relay) Close() error                                { return nil }

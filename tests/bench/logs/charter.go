package logs

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledgerdb"
)

// Ledger is the ledger in SQLite as the server keeps it, and what reads it.
type Ledger struct {
	signer ledger.Signer
	now    func() time.Time
}

// NewLedger makes the key of a ledger. now is its clock; nil is [time.Now].
func NewLedger(now func() time.Time) (*Ledger, error) {
	s, _, err := ledger.GenerateSigner(rand.Reader, origin)
	return &Ledger{s, now}, err
}

// Charter is our side of a comparison.
func Charter() (Kind, error) {
	l, err := NewLedger(nil)
	if err != nil {
		return Kind{}, err
	}
	return Kind{
		Name: "charter", Promise: "entry, tree and signed checkpoint are committed in one transaction with synchronous=FULL",
		Open: func(ctx context.Context, dir string) (Log, error) { return l.Open(ctx, dir) },
		Read: l.read,
	}, nil
}

// Written is a ledger that is open to be written.
type Written struct {
	*ledger.Log
	store *ledgerdb.SQLite
}

// Open opens the ledger in a directory, or begins one.
func (l *Ledger) Open(ctx context.Context, dir string) (*Written, error) {
	store, err := ledgerdb.OpenSQLite(ctx, dir, ledgerdb.SQLiteOptions{})
	if err != nil {
		return nil, err
	}
	log, err := ledger.Open(ctx, store, ledger.Options{Origin: origin, Signers: []ledger.Signer{l.signer}, Now: l.now})
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return &Written{log, store}, nil
}

// Append appends an entry at level Durable.
func (w *Written) Append(ctx context.Context, e ledger.Entry) (uint64, error) {
	p, err := w.Log.Append(ctx, e, ledger.Durable)
	return p.Index, err
}

// Close closes the log and its store.
func (w *Written) Close() error { return errors.Join(w.Log.Close(), w.store.Close()) }

// OpenStore opens the ledger to be read.
func (l *Ledger) OpenStore(ctx context.Context, dir string) (*ledgerdb.SQLite, error) {
	return ledgerdb.OpenSQLite(ctx, dir, ledgerdb.SQLiteOptions{ReadOnly: true})
}

// Verify verifies all of a ledger against its key and returns its size.
func (l *Ledger) Verify(ctx context.Context, s ledger.Store) (uint64, error) {
	v, err := ledger.VerifierOf(l.signer)
	if err != nil {
		return 0, err
	}
	report, err := ledger.Verify(ctx, s, ledger.VerifyOptions{Keys: ledger.Keys{Origin: origin, Log: []note.Verifier{v}}, Pinned: true})
	if err == nil && report.Level != ledger.AssuredAnchored {
		err = fmt.Errorf("verification reached %s only", report.Level)
	}
	return report.Size, err
}

func (l *Ledger) read(ctx context.Context, dir string) (bodies [][]byte, err error) {
	s, err := l.OpenStore(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	size, err := l.Verify(ctx, s)
	if err != nil {
		return nil, err
	}
	for row, err := range s.Rows(ctx, 0, size) {
		if err != nil {
			return nil, err
		}
		bodies = append(bodies, row.Body)
	}
	return bodies, nil
}

package ledger_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledger/ledgertest"
)

func TestAppendAndReopen(t *testing.T) {
	store, signer := ledgertest.NewMemory(), ledgertest.NewSigner(t)
	keys := ledgertest.Keys(t, signer)
	for round := range 4 {
		l := ledgertest.NewLog(t, store, signer, nil)
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() { ledgertest.Append(t, l, 60) })
		}
		group.Wait()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if s := l.Stats(); s.Size != uint64(480*(round+1)) || s.Appended != 480 || !errors.Is(s.Err, ledger.ErrStopped) {
			t.Fatalf("%+v", s)
		}
	}
	ctx := context.Background()
	r := ledger.NewReader(store, ledgertest.Origin)
	for index := uint64(0); index < 1920; index += 37 {
		receipt, err := r.Receipt(ctx, index)
		if err != nil {
			t.Fatal(err)
		}
		if p, err := ledger.VerifyReceipt(receipt, keys); err != nil || p.Index != index {
			t.Fatalf("receipt of %d: %v", index, err)
		}
	}
	if _, err := ledgertest.NewLog(t, store, signer, nil).Append(ctx, ledger.Entry{}, ledger.Durable); !errors.Is(err, ledger.ErrMalformed) {
		t.Errorf("an entry without a kind: %v", err)
	}
}

// The tree must be that of x/mod's own reference, at every size.
func TestTreeIsTheReference(t *testing.T) {
	store, signer := ledgertest.NewMemory(), ledgertest.NewSigner(t)
	l := ledgertest.NewLog(t, store, signer, nil)
	var stored []tlog.Hash
	reference := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, x := range indexes {
			out[i] = stored[x]
		}
		return out, nil
	})
	ctx := context.Background()
	for n := range 700 {
		p, err := l.Append(ctx, ledgertest.Denial(n), ledger.Durable)
		if err != nil {
			t.Fatal(err)
		}
		row, err := l.Reader().Entry(ctx, p.Index)
		if err != nil {
			t.Fatal(err)
		}
		hashes, err := tlog.StoredHashes(int64(n), row.Body, reference)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, hashes...)
		want, err := tlog.TreeHash(int64(n+1), reference)
		if err != nil {
			t.Fatal(err)
		}
		if _, size, root, err := ledger.ParseCheckpoint(p.Checkpoint); err != nil || size != uint64(n+1) || root != want {
			t.Fatalf("size %d: %v", n+1, err)
		}
	}
	fresh := ledger.NewReader(store, ledgertest.Origin)
	for _, r := range []*ledger.Reader{l.Reader(), fresh} {
		for _, size := range []uint64{1, 2, 255, 256, 257, 511, 512, 513, 700} {
			for _, index := range []uint64{0, size / 3, size / 2, size - 1} {
				got, err := r.Inclusion(ctx, index, size)
				want, err2 := tlog.ProveRecord(int64(size), int64(index), reference)
				if err != nil || err2 != nil || !equal(got, want) {
					t.Fatalf("inclusion %d of %d: %v %v", index, size, err, err2)
				}
				tree, err := r.Consistency(ctx, index+1, size)
				wantTree, err2 := tlog.ProveTree(int64(size), int64(index+1), reference)
				if err != nil || err2 != nil || !equal(tree, wantTree) {
					t.Fatalf("consistency %d of %d: %v %v", index+1, size, err, err2)
				}
			}
		}
	}
}

func equal[T ~[]tlog.Hash](a, b T) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

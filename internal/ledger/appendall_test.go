package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledger/ledgertest"
)

// A batch of denials is in the ledger in its order and once, whatever else is
// appended meanwhile and however many of its ids were used before.
func TestAppendAll(t *testing.T) {
	l, _ := openLog(t)
	earlier, err := l.Append(t.Context(), named("p", "id-3", "m3"), ledger.Durable)
	if err != nil {
		t.Fatal(err)
	}
	var others sync.WaitGroup
	for w := range 4 {
		others.Go(func() {
			for i := range 50 {
				if _, err := l.Append(t.Context(), named("", "", fmt.Sprintf("other-%d-%d", w, i)), ledger.Durable); err != nil {
					t.Error(err)
				}
			}
		})
	}
	var entries []ledger.Entry
	for i := range 700 {
		entries = append(entries, named("p", fmt.Sprintf("id-%d", i), fmt.Sprintf("m%d", i)))
	}
	entries = append(entries, named("p", "id-0", "m0"), named("p", "id-1", "another question"), ledger.Entry{})
	positions, err := l.AppendAll(t.Context(), entries, ledger.Durable)
	others.Wait()
	if !errors.Is(err, ledger.ErrConflict) || !errors.Is(err, ledger.ErrMalformed) || len(positions) != len(entries) {
		t.Fatalf("%d positions, %v", len(positions), err)
	}
	last := uint64(0)
	for i := range 700 {
		if i == 3 {
			continue
		}
		if positions[i].Duplicate || positions[i].Index <= last {
			t.Fatalf("entry %d: %+v after index %d", i, positions[i], last)
		}
		last = positions[i].Index
	}
	if p := positions[3]; !p.Duplicate || p.Index != earlier.Index {
		t.Errorf("the id of an earlier entry: %+v, want index %d", p, earlier.Index)
	}
	if p := positions[700]; !p.Duplicate || p.Index != positions[0].Index {
		t.Errorf("an id twice in one batch: %+v, want index %d", p, positions[0].Index)
	}
}

// Nobody configured witnesses: the entry is there all the same, and the caller is
// told what it lacks.
func TestWitnessedWithoutWitnesses(t *testing.T) {
	l, _ := openLog(t)
	p, err := l.Append(t.Context(), named("", "", "a"), ledger.Witnessed)
	if !errors.Is(err, ledger.ErrNoQuorum) || p.Size != 1 {
		t.Errorf("%+v, %v", p, err)
	}
	all, err := l.AppendAll(t.Context(), []ledger.Entry{named("", "", "b"), named("", "", "c")}, ledger.Witnessed)
	if !errors.Is(err, ledger.ErrNoQuorum) || len(all) != 2 || all[1].Index != 2 {
		t.Errorf("%+v, %v", all, err)
	}
}

// Giving up says so for every entry that is not there.
func TestAppendAllGivesUp(t *testing.T) {
	l, _ := openLog(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.AppendAll(ctx, []ledger.Entry{named("", "", "a")}, ledger.Durable); !errors.Is(err, ledger.ErrStopped) {
		t.Error(err)
	}
}

func openLog(t *testing.T) (*ledger.Log, *ledgertest.Memory) {
	t.Helper()
	store := ledgertest.NewMemory()
	return ledgertest.NewLog(t, store, ledgertest.NewSigner(t), nil), store
}

func named(principal, id, metric string) ledger.Entry {
	return ledger.Entry{Kind: ledger.Denial, Principal: principal, RequestID: id, Metric: metric}
}

package ledgertest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/ledger"
)

func requests(t *testing.T, b Backend) {
	ctx := context.Background()
	build := newBuilt(t)
	s := b.Open(t, false)
	of := func(principal, id, metric string) ledger.Entry {
		return ledger.Entry{Kind: ledger.Denial, Principal: principal, RequestID: id, Metric: metric}
	}
	conflict := of("ana", "3", "x")
	conflict.Kind = ledger.Conflict
	build.add(s, of("ana", "", "x"), of("", "1", "x"), of("ana", "1", "x"), of("ben", "1", "y"), conflict)
	build.add(s, of("ana", "1", "z"), of("a", "na1", "x"))
	for round := range 3 {
		for _, row := range build.rows[2:4] {
			if hash, index, err := s.Request(ctx, row.Principal, row.RequestID); hash != row.Request || index != row.Index || err != nil {
				t.Errorf("round %d: request %s of %s: %d, %v", round, row.RequestID, row.Principal, index, err)
			}
		}
		for _, key := range [][2]string{{"ana", ""}, {"", "1"}, {"ana", "2"}, {"ana", "3"}, {"an", "a1"}, {"", ""}, {"ben", "1\x00"}} {
			_, _, err := s.Request(ctx, key[0], key[1])
			is(t, "request "+key[1]+" of "+key[0], err, ledger.ErrNotFound)
		}
		closed(t, s)
		s = b.Open(t, round > 0)
	}
	closed(t, s)
}

func checkpoints(t *testing.T, b Backend) {
	ctx := context.Background()
	build := newBuilt(t)
	s := b.Open(t, false)
	notes := func(from uint64) (sizes []uint64, all [][]byte) {
		for signed, err := range s.Checkpoints(ctx, from) {
			if err != nil {
				t.Fatal(err)
			}
			_, size, _, err := ledger.ParseCheckpoint(signed)
			if err != nil {
				t.Fatal(err)
			}
			sizes, all = append(sizes, size), append(all, signed)
		}
		return sizes, all
	}
	build.fill(s, 300)
	kept := func(size uint64) bool { sizes, _ := notes(0); return slices.Contains(sizes, size) }
	c := build.add(s, Denial(1)) // 301
	if !kept(301) {
		t.Error("the latest checkpoint is not visited")
	}
	c.Witnessed = build.checkpoint(301, "cosigned")
	if err := s.Commit(ctx, ledger.Commit{From: 301, Witnessed: c.Witnessed}); err != nil {
		t.Fatal(err)
	}
	c2 := build.commit(Denial(2))
	c2.Witnessed = build.checkpoint(280, "cosigned")
	if err := s.Commit(ctx, c2); err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		if sizes, all := notes(0); !slices.IsSorted(sizes) || !kept(280) || !kept(302) || !bytes.Equal(all[slices.Index(sizes, 301)], c.Witnessed) {
			t.Errorf("round %d: sizes %v", round, sizes)
		}
		if size, signed, err := s.Head(ctx); size != 302 || !bytes.Equal(signed, c2.Checkpoint) || err != nil {
			t.Errorf("round %d: head %d, %v", round, size, err)
		}
		if sizes, _ := notes(302); !slices.Equal(sizes, []uint64{302}) {
			t.Errorf("round %d: from 302: %v", round, sizes)
		}
		if sizes, _ := notes(303); sizes != nil {
			t.Errorf("round %d: from 303: %v", round, sizes)
		}
		for _, at := range []struct {
			from uint64
			want []byte
		}{{0, c2.Witnessed}, {280, c2.Witnessed}, {281, c.Witnessed}, {301, c.Witnessed}} {
			if signed, err := s.Witnessed(ctx, at.from); err != nil || !bytes.Equal(signed, at.want) {
				t.Errorf("round %d: witnessed from %d: %q, %v", round, at.from, signed, err)
			}
		}
		_, err := s.Witnessed(ctx, 302)
		is(t, "witnessed from 302", err, ledger.ErrNotFound)
		closed(t, s)
		s = b.Open(t, false)
	}
	// The head itself, cosigned: it is still the head.
	cosigned := build.checkpoint(302, "cosigned")
	if err := s.Commit(ctx, ledger.Commit{From: 302, Witnessed: cosigned}); err != nil {
		t.Fatal(err)
	}
	if size, _, err := s.Head(ctx); size != 302 || err != nil {
		t.Errorf("head %d, %v", size, err)
	}
	if sizes, all := notes(302); len(sizes) != 1 || !bytes.Equal(all[0], cosigned) {
		t.Errorf("the cosigned head is not visited in place of the plain one: %v", sizes)
	}
	build.add(s, Denial(3))
	if !kept(302) || !kept(303) {
		t.Error("a cosigned checkpoint was dropped")
	}
	closed(t, s)
}

func prunes(t *testing.T, b Backend) {
	ctx := context.Background()
	build := newBuilt(t)
	s := b.Open(t, false)
	build.fill(s, 900)
	if err := s.Prune(ctx, 401); err != nil {
		t.Fatal(err)
	}
	early, until := build.rows[8], build.rows[600]
	for i := range build.rows[:401] {
		build.rows[i] = ledger.Row{Index: build.rows[i].Index, Hash: build.rows[i].Hash}
	}
	for round := range 2 {
		same(t, "rows", collect(t, s.Rows(ctx, 0, 900)), build.rows)
		same(t, "all", collect(t, s.Find(ctx, ledger.Filter{})), build.rows[401:])
		same(t, "the first ones", collect(t, s.Find(ctx, ledger.Filter{Before: 403})), build.rows[401:403])
		same(t, "pruned ones", collect(t, s.Find(ctx, ledger.Filter{Before: 401, Newest: true})), nil)
		for row := range s.Find(ctx, ledger.Filter{Node: early.Node}) {
			if row.Index < 401 {
				t.Errorf("a pruned entry was found: %d", row.Index)
			}
		}
		if got := collect(t, s.Find(ctx, ledger.Filter{Until: timeOf(until)})); len(got) != 600-401 {
			t.Errorf("by time: %d rows", len(got))
		}
		_, _, err := s.Request(ctx, early.Principal, early.RequestID)
		is(t, "a pruned request", err, ledger.ErrNotFound)
		if first, err := s.Reconcile(ctx); first != 900 || err != nil {
			t.Errorf("round %d: reconcile: %d, %v", round, first, err)
		}
		closed(t, s)
		s = b.Open(t, false)
	}
	if err := errors.Join(s.Prune(ctx, 401), s.Prune(ctx, 10)); err != nil { // again
		t.Error(err)
	}
	build.add(s, Denial(1))
	same(t, "rows", collect(t, s.Rows(ctx, 0, 1000)), build.rows)
	closed(t, s)
}

func readOnly(t *testing.T, b Backend) {
	ctx := context.Background()
	build := newBuilt(t)
	writer := b.Open(t, false)
	build.fill(writer, 20)
	auditor := b.Open(t, true)
	if auditor == writer { // in memory
		t.Skip("the store has no other side")
	}
	c := build.commit(Denial(1))
	for what, err := range map[string]error{"commit": auditor.Commit(ctx, c), "prune": auditor.Prune(ctx, 5), "probe": auditor.Probe(ctx)} {
		if err == nil {
			t.Errorf("%s changed a ledger that was opened to be read", what)
		}
	}
	if err := writer.Commit(ctx, c); err != nil {
		t.Error(err)
	}
	same(t, "rows", collect(t, auditor.Rows(ctx, 0, 100)), build.rows) // also what came later
	same(t, "find", collect(t, auditor.Find(ctx, ledger.Filter{Node: "edge-1"})), build.find(ledger.Filter{Node: "edge-1"}))
	closed(t, auditor)
	closed(t, writer)
}

// concurrentReaders see whole commits: as many entries as the head says.
func concurrentReaders(t *testing.T, b Backend) {
	ctx := context.Background()
	build := newBuilt(t)
	s := b.Open(t, false)
	done := make(chan struct{})
	var group sync.WaitGroup
	for reader := range 4 {
		group.Go(func() {
			seen := uint64(0)
			for running := true; running; {
				select {
				case <-done:
					running = false
				default:
				}
				size, signed, err := s.Head(ctx)
				if err != nil || size < seen {
					t.Errorf("head %d after %d: %v", size, seen, err)
					return
				}
				if size > 0 {
					if _, of, _, err := ledger.ParseCheckpoint(signed); of != size || err != nil {
						t.Errorf("checkpoint of size %d for %d entries: %v", of, size, err)
					}
				}
				next := seen
				for row, err := range s.Rows(ctx, seen, size) {
					if err != nil || row.Index != next {
						t.Errorf("row %d, want %d: %v", row.Index, next, err)
						return
					}
					next++
				}
				if next != size {
					t.Errorf("%d entries, the head says %d", next, size)
				}
				if reader == 0 {
					for row, err := range s.Find(ctx, ledger.Filter{Node: "edge-1", Newest: true, Limit: 3}) {
						if err != nil || row.Node != "edge-1" {
							t.Errorf("%+v: %v", row, err)
						}
					}
				}
				seen = size
			}
		})
	}
	for range 60 {
		build.add(s, Denial(1), Denial(2), Denial(3))
	}
	close(done)
	group.Wait()
	closed(t, s)
}

func cancelled(t *testing.T, b Backend) {
	build := newBuilt(t)
	s := b.Open(t, false)
	build.fill(s, 20)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := s.Head(ctx); err == nil {
		t.Error("head")
	}
	for what, all := range map[string]func(func(ledger.Row, error) bool){
		"rows": s.Rows(ctx, 0, 20), "find": s.Find(ctx, ledger.Filter{}),
	} {
		failed := false
		for _, err := range all {
			failed = failed || err != nil
		}
		if !failed {
			t.Error(what)
		}
	}
	// Who waits no more does not break the store for others.
	_ = s.Probe(ctx)
	build.add(s, Denial(1))
	same(t, "rows", collect(t, s.Rows(context.Background(), 0, 100)), build.rows)
	closed(t, s)
}

func tampered(t *testing.T, b Backend, how string) {
	ctx := context.Background()
	build := newBuilt(t)
	s := b.Open(t, false)
	build.fill(s, 700)
	closed(t, s)
	const index = 404 // a denial with a request id
	b.Tamper[how](t, index)
	s = b.Open(t, true)
	if first, err := s.Reconcile(ctx); first != index || err != nil {
		t.Errorf("reconcile finds entry %d, %v; want %d", first, err, index)
	}
	closed(t, s)
}

func timeOf(row ledger.Row) time.Time { return time.Unix(0, row.Time) }

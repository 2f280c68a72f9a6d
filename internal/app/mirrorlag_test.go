package app

import (
	"context"
	"maps"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/fleet"
	"github.com/westworld-charter/charter/internal/metrics"
	"github.com/westworld-charter/charter/internal/mirror"
)

// A copy that lags for a moment is current, as every copy is after a report; one that
// does not get what a node has reported is behind, but for a node that is gone.
func TestCopiesThatAreBehind(t *testing.T) {
	began := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	copied := func(node string, size uint64) mirror.Status { return mirror.Status{Node: node, Key: "k", Size: size} }
	reports := func(node string, size uint64, conditions ...string) fleet.Node {
		return fleet.Node{Node: node, Conditions: conditions, Report: &fleet.Report{Ledger: &fleet.LedgerStatus{Size: size}}}
	}
	forked := copied("forked", 3)
	forked.Fault = &mirror.Fault{Code: mirror.CodeForked}
	late := newLateCopies()
	for _, step := range []struct {
		after  time.Duration
		copies []mirror.Status
		nodes  []fleet.Node
		want   map[string]int
	}{
		{0, nil, []fleet.Node{{Node: "unheard"}}, map[string]int{}},
		{0, []mirror.Status{copied("a", 5), forked}, []fleet.Node{reports("a", 7), reports("forked", 9)}, map[string]int{metrics.MirrorCurrent: 1, mirror.CodeForked: 1}},
		// It grows as fast as it is copied.
		{copyGrace, []mirror.Status{copied("a", 7)}, []fleet.Node{reports("a", 9)}, map[string]int{metrics.MirrorCurrent: 1}},
		{2 * copyGrace, []mirror.Status{copied("a", 9)}, []fleet.Node{reports("a", 11)}, map[string]int{metrics.MirrorCurrent: 1}},
		// It grows, and is copied no more; another one never was.
		{3*copyGrace - time.Second, []mirror.Status{copied("a", 10)}, []fleet.Node{reports("a", 20), reports("b", 1)}, map[string]int{metrics.MirrorCurrent: 1}},
		{4 * copyGrace, []mirror.Status{copied("a", 10), forked}, []fleet.Node{reports("a", 30), reports("b", 1), reports("forked", 9)}, map[string]int{metrics.MirrorBehind: 2, mirror.CodeForked: 1}},
		// One is gone, the other one catches up.
		{5 * copyGrace, []mirror.Status{copied("a", 10), copied("b", 1)}, []fleet.Node{reports("a", 30, fleet.Silent), reports("b", 1)}, map[string]int{metrics.MirrorCurrent: 2}},
		// When it is back, it has its time again.
		{6 * copyGrace, []mirror.Status{copied("a", 10)}, []fleet.Node{reports("a", 30)}, map[string]int{metrics.MirrorCurrent: 1}},
		// An older copy of its disk: it shows fewer entries than are held.
		{7 * copyGrace, []mirror.Status{copied("a", 10)}, []fleet.Node{reports("a", 3)}, map[string]int{metrics.MirrorCurrent: 1}},
	} {
		st := late.stats(step.copies, step.nodes, began.Add(step.after))
		if !maps.Equal(st.States, step.want) {
			t.Errorf("after %s: %v, want %v", step.after, st.States, step.want)
		}
		var entries uint64
		for _, c := range step.copies {
			entries += c.Size
		}
		if st.Entries != entries {
			t.Errorf("after %s: %d entries, want %d", step.after, st.Entries, entries)
		}
	}
}

// What is refused is counted by its code; a node that leaves is not refused.
func TestUploadsAreCounted(t *testing.T) {
	mirrors, err := mirror.Open(mirror.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer mirrors.Close() //nolint:errcheck // nothing is in it
	var results []string
	m := countedMirrors{mirrors, func(result string) { results = append(results, result) }}
	gone, leave := context.WithCancel(t.Context())
	leave()
	for _, ctx := range []context.Context{t.Context(), gone} {
		if _, err := m.Extend(ctx, "edge-1", mirror.Upload{Key: "no key"}); err == nil {
			t.Error("no key is a key")
		}
	}
	if len(results) != 1 || results[0] != mirror.CodeInvalidKey {
		t.Errorf("%q are counted", results)
	}
}

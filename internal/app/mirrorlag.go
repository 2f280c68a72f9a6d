package app

import (
	"slices"
	"sync"
	"time"

	"github.com/westworld-charter/charter/internal/fleet"
	"github.com/westworld-charter/charter/internal/metrics"
	"github.com/westworld-charter/charter/internal/mirror"
)

// copyGrace is how long entries that a node has reported may take until they are in its
// copy: a report comes before its entries do, and these in rounds of [mirrorTimeout].
const copyGrace = 3 * mirrorTimeout

// lateCopies remembers what copies lack, so that one that lags for a moment, as every
// copy does after a report, is told from one that stays behind.
type lateCopies struct {
	mu   sync.Mutex
	owed map[string]owedEntries // by node; guarded by mu
}

// owedEntries is a size that a node has reported and its copy did not have at a time.
type owedEntries struct {
	size  uint64
	since time.Time
}

func newLateCopies() *lateCopies { return &lateCopies{owed: map[string]owedEntries{}} }

// stats sorts nodes by the state of their copies. A node that has fallen silent is not
// behind: nothing can come from it, and it is told otherwise.
func (l *lateCopies) stats(copies []mirror.Status, nodes []fleet.Node, now time.Time) metrics.MirrorStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	st := metrics.MirrorStats{States: map[string]int{}}
	owed := map[string]owedEntries{}
	state, held := map[string]string{}, map[string]uint64{}
	for _, c := range copies {
		held[c.Node] = c.Size
		st.Entries += c.Size
		switch {
		case c.Fault != nil:
			state[c.Node] = c.Fault.Code
		case c.Key != "": // something was taken
			state[c.Node] = metrics.MirrorCurrent
		}
	}
	for i := range nodes {
		n := &nodes[i]
		if n.Report == nil || n.Report.Ledger == nil || slices.Contains(n.Conditions, fleet.Silent) {
			continue
		}
		late, was := l.owed[n.Node]
		size := n.Report.Ledger.Size
		if !was || held[n.Node] >= late.size || size < late.size { // less than before: another ledger
			late = owedEntries{size, now}
		}
		if held[n.Node] >= late.size {
			continue
		}
		owed[n.Node] = late
		if now.Sub(late.since) >= copyGrace && (state[n.Node] == "" || state[n.Node] == metrics.MirrorCurrent) {
			state[n.Node] = metrics.MirrorBehind
		}
	}
	l.owed = owed
	for _, s := range state {
		st.States[s]++
	}
	return st
}

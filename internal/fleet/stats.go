package fleet

import (
	"maps"
	"math"
)

// Stats are figures for metrics.
type Stats struct {
	Nodes  map[string]int // by their gravest condition
	Newest int64          // sequence that reaches everybody in the end; 0 for none
	Oldest int64          // sequence that a node runs which is not silent; 0 for none
	Skew   float64        // seconds between our clock and that of the node which differs most
	// Stage, Stages and Percent are those of the latest rollout, from 1; 0 for none.
	Stage, Stages, Percent int
	States                 map[string]int    // rollouts by state
	Halts                  map[string]uint64 // since the start, by gate or [ByPerson]
	Alarms                 uint64            // nodes that went back, since the start
	Pending                int               // steps that are not in the ledger yet
	Untrusted              int               // releases that nobody is given since they are not trusted any more
}

// Stats returns the figures of now. Those of a rollout are of the one that began last,
// those of sequences of its channel.
func (f *Fleet) Stats() Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	s := Stats{Nodes: map[string]int{}, States: map[string]int{}, Halts: maps.Clone(f.halts), Alarms: f.alarms, Pending: len(f.pending)}
	var latest string
	for name, c := range f.channels {
		s.Untrusted += len(c.withheld())
		r := c.Rollout
		if r == nil {
			continue
		}
		s.States[r.State]++
		if latest == "" || r.Began.After(f.channels[latest].Rollout.Began) {
			latest = name
		}
	}
	if latest != "" {
		r := f.channels[latest].Rollout
		s.Newest = f.channels[latest].newest()
		s.Stage, s.Stages, s.Percent = r.Stage+1, len(r.Plan.Stages), r.stage().Percent
	}
	for name, n := range f.nodes {
		s.Nodes[f.judge(name, n, now)[0]]++
		if n.Report == nil || f.silent(n, now) {
			continue
		}
		if skew := math.Abs(n.Arrived.Sub(n.Report.Time).Seconds()); skew > s.Skew {
			s.Skew = skew
		}
		ch, _ := f.channelFor(n)
		if q := n.Report.Status.Sequence; ch == latest && q > 0 && (s.Oldest == 0 || q < s.Oldest) {
			s.Oldest = q
		}
	}
	return s
}

package fleet

import (
	"slices"
	"strings"
	"time"
)

// Conditions of a node, the gravest first; the list is closed.
const (
	WentBackwards  = "went_backwards"  // runs an older release than it has reported before
	Silent         = "silent"          // owes several reports
	UnknownRun     = "unknown_release" // runs what was not published here
	DegradedNode   = "degraded"        // says so, or could not activate what it was offered
	Behind         = "behind"          // runs an older release than it has been offered for a while
	NeverReported  = "no_report"       // fetches releases and reports nothing, as a stock OPA does
	CurrentRelease = "current"         // none of these
)

// Conditions returns the closed list of conditions.
func Conditions() []string {
	return []string{WentBackwards, Silent, UnknownRun, DegradedNode, Behind, NeverReported, CurrentRelease}
}

// Node is what is known about a node. Of the report, which must not be modified, what
// the node says is not checked by anybody.
type Node struct {
	Node       string    `json:"node"`
	Condition  string    `json:"condition"`  // the gravest
	Conditions []string  `json:"conditions"` // all of them
	Desired    Desired   `json:"desired,omitzero"`
	First      time.Time `json:"first"`
	Arrived    time.Time `json:"arrived,omitzero"` // of the latest report, by our clock
	// Skew is by how many seconds our clock is ahead of the node's, the way here included.
	Skew    float64   `json:"skew_seconds"`
	Highest int64     `json:"highest_sequence"` // that it ever reported in its channel
	Back    *Back     `json:"went_backwards,omitempty"`
	Offered int64     `json:"offered_sequence"` // that it was given here
	Report  *Report   `json:"report,omitempty"`
	Since   time.Time `json:"trouble_since,omitzero"` // by our clock
}

// Nodes returns all nodes by name.
func (f *Fleet) Nodes() []Node {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	list := make([]Node, 0, len(f.nodes))
	for name, n := range f.nodes {
		ch, _ := f.channelFor(n)
		m := n.marked(ch)
		v := Node{
			Node: name, Conditions: f.judge(name, n, now), Desired: f.desired(n, name), First: n.First, Arrived: n.Arrived,
			Highest: m.Highest, Back: n.Back, Offered: m.Offered, Report: n.Report,
		}
		v.Condition = v.Conditions[0]
		if n.Report != nil {
			v.Skew = n.Arrived.Sub(n.Report.Time).Seconds()
		}
		if n.Trouble != nil {
			v.Since = n.Trouble.Since
		}
		list = append(list, v)
	}
	slices.SortFunc(list, func(a, b Node) int { return strings.Compare(a.Node, b.Node) })
	return list
}

// judge returns the conditions of a node, at least one. It needs mu.
func (f *Fleet) judge(name string, n *node, now time.Time) []string {
	if n.Report == nil {
		return []string{NeverReported}
	}
	var list []string
	s := &n.Report.Status
	ch, c := f.channelFor(n)
	m := n.marked(ch)
	if s.Digest != "" && s.Sequence < m.Ran {
		list = append(list, WentBackwards)
	}
	if f.silent(n, now) {
		list = append(list, Silent)
	}
	if len(f.channels) > 0 && s.Digest != "" {
		if c == nil {
			list = append(list, UnknownRun)
		} else if r := c.release(s.Sequence); r == nil || r.Digest != s.Digest {
			list = append(list, UnknownRun)
		}
	}
	if s.Degraded || s.LastError != nil {
		list = append(list, DegradedNode)
	}
	if c != nil && c.Rollout != nil && s.Sequence < c.want(name, n.labels(), m.had()) {
		since := c.Rollout.Since
		if n.First.After(since) {
			since = n.First
		}
		if now.Sub(since) > f.Grace {
			list = append(list, Behind)
		}
	}
	if list == nil {
		return []string{CurrentRelease}
	}
	return list
}

// silent reports whether a node owes too many reports.
func (f *Fleet) silent(n *node, now time.Time) bool { return f.owed(n, n.Arrived, now) >= f.Silent }

// owed is how many reports of a node are missing since a time.
func (f *Fleet) owed(n *node, since, now time.Time) int {
	interval := DefaultInterval
	if n.Report != nil {
		interval = n.Report.interval()
	}
	if n.Arrived.After(since) {
		since = n.Arrived
	}
	return max(0, int(now.Sub(since)/interval))
}

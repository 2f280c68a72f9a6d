package fleet

import (
	"maps"
	"time"
)

// node is what is kept about a node.
type node struct {
	Report  *Report   `json:"report,omitempty"` // the latest; nil for one that only fetched
	First   time.Time `json:"first"`
	Arrived time.Time `json:"arrived,omitzero"` // of the latest report
	// Labels are those that stages go by, since Labelled: the ones of the latest report,
	// unless that changed them sooner than [labelPause] allows.
	Labels   map[string]string `json:"labels,omitempty"`
	Labelled time.Time         `json:"labelled,omitzero"`
	Back     *Back             `json:"went_backwards,omitempty"` // the last time it did
	Trouble  *trouble          `json:"trouble,omitempty"`
	Watch    watch             `json:"watch,omitzero"`
	// Marks are by channel: sequences of two channels have nothing to do with each other.
	Marks map[string]*mark `json:"marks,omitempty"`
	// unsaved is the version of all nodes that must be on disk before this one is answered.
	unsaved uint64
}

// mark is how far a node has got in a channel.
type mark struct {
	Ran     int64 `json:"ran,omitempty"`     // highest sequence that it reported to run
	Highest int64 `json:"highest,omitempty"` // highest sequence that it reported, to run or to have accepted
	// Offered is the highest sequence that it was given, since OfferedAt.
	Offered   int64     `json:"offered,omitempty"`
	OfferedAt time.Time `json:"offered_at,omitzero"`
}

// had is the highest sequence that the node reported or was given.
func (m mark) had() int64 { return max(m.Highest, m.Offered) }

// maxMarks bounds the channels of one node.
const maxMarks = 8

// mark returns the one of a channel, a new one if need be.
func (n *node) mark(channel string) *mark {
	if m := n.Marks[channel]; m != nil {
		return m
	}
	if n.Marks == nil || len(n.Marks) >= maxMarks {
		n.Marks = map[string]*mark{}
	}
	m := &mark{}
	n.Marks[channel] = m
	return m
}

// marked is the mark of a channel to look at.
func (n *node) marked(channel string) mark {
	if m := n.Marks[channel]; m != nil {
		return *m
	}
	return mark{}
}

// Back says that a node runs an older release than it has reported before, as when its
// disk was replaced by an older copy.
type Back struct {
	From int64     `json:"from"`
	To   int64     `json:"to"`
	At   time.Time `json:"at"`
	// Again is how often it did so once more within [backPause] after At.
	Again int `json:"again,omitempty"`
}

// trouble is the fault of a node as we have seen it, by our clock.
type trouble struct {
	Code    string    `json:"code"`
	Since   time.Time `json:"since"`
	Reports int       `json:"reports"` // in a row
}

// watch counts for the gates.
type watch struct {
	Step     uint64    `json:"step,omitempty"`     // of the rollout
	Reports  int       `json:"reports,omitempty"`  // since that step
	Given    int       `json:"given,omitempty"`    // of these, since it was given the release
	Sequence int64     `json:"sequence,omitempty"` // that the node ran when Base was taken
	Base     Decisions `json:"base,omitzero"`
}

// heard is when the node last did anything.
func (n *node) heard() time.Time {
	last := n.First
	if n.Arrived.After(last) {
		last = n.Arrived
	}
	for _, m := range n.Marks {
		if m.OfferedAt.After(last) {
			last = m.OfferedAt
		}
	}
	return last
}

func (n *node) labels() map[string]string { return n.Labels }

// labelPause is how long the labels of a node stay what they are, at least. Each change
// may move the node to another stage, and has to be on disk before it does.
const labelPause = time.Minute

// relabel takes the labels of a report, and reports whether they are others.
func (n *node) relabel(labels map[string]string, now time.Time) bool {
	if n.Report != nil && (maps.Equal(n.Labels, labels) || now.Sub(n.Labelled).Abs() < labelPause) {
		return false
	}
	n.Labels, n.Labelled = labels, now
	return true
}

// goesBack notes that a node runs less than it did. One without any release is a new
// disk, and has yet to show what it accepts.
func (n *node) goesBack(m *mark, r *Report, now time.Time) bool {
	if r.Status.Digest == "" || r.Status.Sequence >= m.Ran {
		return false
	}
	if n.Report != nil && n.Report.Status.Sequence == r.Status.Sequence && n.Back != nil && n.Back.To == r.Status.Sequence {
		return false // it is known
	}
	if b := n.Back; b != nil && now.Sub(b.At).Abs() < backPause {
		n.Back = &Back{From: max(b.From, m.Ran), To: r.Status.Sequence, At: b.At, Again: b.Again + 1}
		return true
	}
	n.Back = &Back{From: m.Ran, To: r.Status.Sequence, At: now}
	return true
}

// backPause is between two entries in the ledger about one node that goes back: it could
// go back and forth in each report.
const backPause = 10 * time.Minute

// take makes r the latest report.
func (n *node) take(m *mark, r *Report, c *channel, now time.Time) {
	n.seen(r, now)
	var step uint64
	if c != nil && c.Rollout != nil {
		step = c.Rollout.Watched
		if s := r.Status.Sequence; s == c.Rollout.Sequence && m.Offered < s { // from elsewhere than here
			m.Offered, m.OfferedAt = s, now
		}
	}
	if n.Watch.Step != step {
		n.Watch = watch{Step: step, Sequence: -1}
	}
	n.Watch.Reports++
	if c != nil && c.Rollout != nil && m.Offered == c.Rollout.Sequence {
		n.Watch.Given++
	}
	if w := &n.Watch; w.Sequence != r.Status.Sequence || !w.Base.Started.Equal(r.Decisions.Started) || r.Decisions.Total < w.Base.Total {
		w.Sequence, w.Base = r.Status.Sequence, r.Decisions
	}
	n.Report, n.Arrived = r, now
}

// seen notes for how long the node has been in trouble.
func (n *node) seen(r *Report, now time.Time) {
	code := ""
	switch {
	case r.Status.LastError != nil:
		code = r.Status.LastError.Code
	case r.Status.Degraded:
		code = "degraded"
	default:
		n.Trouble = nil
		return
	}
	if n.Trouble == nil || n.Trouble.Code != code {
		n.Trouble = &trouble{Code: code, Since: now}
	}
	n.Trouble.Reports++
}

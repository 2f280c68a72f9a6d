package rollout

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/westworld-charter/charter/internal/decision"
)

// Codes of a [Stop]; the list is closed.
const (
	ThresholdReached = "threshold"        // too many answers differed
	EvaluationError  = "evaluation_error" // the candidate failed to decide, or took too long
	CacheMismatch    = "cache_mismatch"   // an answer of the candidate was not that of the reference evaluator
	Operator         = "operator"         // somebody stopped it

	replaced = "replaced" // by another candidate or as the active policy; nobody is told
)

// Stop is why a trial ended.
type Stop struct {
	Code    string    `json:"code"`
	Message string    `json:"message"`
	Since   time.Time `json:"since"`
	Err     error     `json:"-"` // for the log
}

// maxRecent is how many differing questions are kept.
const maxRecent = 100

// Difference is a question that was answered in two ways. Questions that differ
// in other fields than these are the same here.
type Difference struct {
	Difference string    `json:"difference"`
	Metric     string    `json:"metric"`
	Node       string    `json:"node,omitempty"`
	Role       string    `json:"role"`
	Operation  string    `json:"operation"`
	Active     Side      `json:"active"`
	Candidate  Side      `json:"candidate"`
	Count      uint64    `json:"count"` // since it is on the list
	Last       time.Time `json:"last"`
}

// Side is what one policy said.
type Side struct {
	Outcome string `json:"outcome"`
	Clause  string `json:"clause"`
}

// recent holds the last differing questions, oldest first to go.
type recent struct {
	mu    sync.Mutex
	known map[Difference]int // place in all, by what does not count or date; guarded by mu
	all   []Difference       // guarded by mu
	next  int                // place that is overwritten when all is full; guarded by mu
}

func (r *recent) add(kind Kind, in *decision.Input, active, candidate *decision.Decision, now time.Time) {
	d := Difference{
		Difference: kind.String(), Metric: in.Metric, Node: in.Node, Role: in.Role, Operation: in.Operation,
		Active: Side{active.Outcome, active.Clause}, Candidate: Side{candidate.Outcome, candidate.Clause},
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if i, ok := r.known[d]; ok {
		r.all[i].Count++
		r.all[i].Last = now.UTC()
		return
	}
	// The request that brought these must not be kept alive by them.
	for _, s := range []*string{&d.Metric, &d.Node, &d.Role, &d.Operation} {
		*s = strings.Clone(*s)
	}
	if r.known == nil {
		r.known = map[Difference]int{}
	}
	place := len(r.all)
	if place == maxRecent {
		place = r.next
		r.next = (r.next + 1) % maxRecent
		old := r.all[place]
		old.Count, old.Last = 0, time.Time{}
		delete(r.known, old)
	} else {
		r.all = append(r.all, Difference{})
	}
	r.known[d] = place
	d.Count, d.Last = 1, now.UTC()
	r.all[place] = d
}

// list returns a copy, the last seen first.
func (r *recent) list() []Difference {
	r.mu.Lock()
	all := slices.Clone(r.all)
	r.mu.Unlock()
	slices.SortFunc(all, func(a, b Difference) int { return b.Last.Compare(a.Last) })
	return slices.Grow(all, 1)[:len(all)] // an empty list is not null
}

// Status is how the last trial is or was.
type Status struct {
	Revision    string            `json:"revision"`
	Digest      string            `json:"digest"` // of its charter, the key of [Bucket]
	Percent     int               `json:"percent"`
	Since       time.Time         `json:"since"` // when it was offered
	Counts      map[string]uint64 `json:"counts"`
	Dropped     uint64            `json:"dropped"`
	Stopped     *Stop             `json:"stopped,omitempty"`
	Differences []Difference      `json:"differences"`
}

// Status returns nil when there is no candidate, neither running nor stopped.
func (r *Rollout) Status() *Status {
	t := r.shown.Load()
	if t == nil {
		return nil
	}
	s := &Status{
		Revision: t.revision, Digest: t.digest, Percent: int(t.percent.Load()), Since: t.since,
		Counts: map[string]uint64{}, Dropped: t.dropped.Load(), Stopped: t.stopped.Load(), Differences: t.recent.list(),
	}
	for _, k := range Kinds() {
		s.Counts[k.String()] = t.counts[k].Load()
	}
	return s
}

// Stopped returns why the candidate is out, nil when it runs or there is none.
func (r *Rollout) Stopped() *Stop {
	if t := r.shown.Load(); t != nil {
		return t.stopped.Load()
	}
	return nil
}

// Stats are for metrics.
type Stats struct {
	Counts  [kinds]uint64 // comparisons by [Kind], of all trials
	Dropped uint64        // questions that were not compared for want of room or since policies changed
	Percent int           // of nodes that a candidate answers now
	Stopped bool
}

// Stats returns what was counted so far.
func (r *Rollout) Stats() Stats {
	s := Stats{Dropped: r.dropped.Load(), Stopped: r.Stopped() != nil}
	for k := range s.Counts {
		s.Counts[k] = r.counts[k].Load()
	}
	if t := r.running.Load(); t != nil {
		s.Percent = int(t.percent.Load())
	}
	return s
}

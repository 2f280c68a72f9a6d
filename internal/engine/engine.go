// Package engine decides: it loads a bundle into an immutable [Policy] and
// answers questions with it in process.
//
// Start with [New] and [Engine.Swap], or with [Prepare] for a single policy. A
// decision reads one snapshot of rules, tables and state; loading another one
// never changes an answer under way. Every failure denies.
//
// Bundles are compiled under [Capabilities]: no network, clock, randomness or
// environment. What the charter means, state included, is decided in Rego
// alone; the engine adds only an id, sources and a suggestion. It keeps answers for
// questions that no rule can tell apart; [Policy.Decide] never does. See
// docs/design/engine.md and docs/design/cache.md.
package engine

import (
	"context"
	"sync/atomic"

	"github.com/westworld-charter/charter/internal/decision"
)

// Engine holds the active policy and its cache. It is safe for concurrent use.
type Engine struct {
	options  Options
	active   atomic.Pointer[snapshot]
	counters [stripes]counters
	pace     pace // of verified answers
	clock    clock
	recent   recent

	evaluations atomic.Uint64 // by plan

	next atomic.Pointer[snapshot] // a warm one

	changed atomic.Pointer[chan struct{}] // closed by the next Swap; nil while nobody waits
}

// New returns an engine without a policy and with the default [Options]: it
// denies everything as no_policy.
func New() *Engine { return NewWith(Options{}) }

// NewWith returns an engine without a policy.
func NewWith(o Options) *Engine {
	if o.CacheSize == 0 {
		o.CacheSize = defaultCacheSize
	}
	e := &Engine{options: o}
	if o.VerifyEvery == 0 {
		e.options.VerifyEvery, e.pace.pause = defaultVerifyEvery, verifyPause
	}
	return e
}

// Swap makes p the active policy, with an empty cache or that of [Engine.Warm], and returns the one
// before, nil at first. When p was made of that one by [Policy.WithState], and only
// standings and revocations differ, it keeps the cache. Decisions under way finish on
// the policy they began with. A nil p unloads.
func (e *Engine) Swap(p *Policy) (previous *Policy) {
	var next *snapshot
	if p != nil {
		next = e.following(e.active.Load(), p)
	}
	if warm := e.next.Swap(nil); warm != nil && warm.Policy == p {
		next = warm
	}
	previous = e.active.Swap(next).policy()
	if waiting := e.changed.Swap(nil); waiting != nil {
		close(*waiting)
	}
	return previous
}

// Changed returns a channel that is closed when another policy becomes active than
// [Engine.Current] returns from now on.
func (e *Engine) Changed() <-chan struct{} {
	next := make(chan struct{})
	for {
		if waiting := e.changed.Load(); waiting != nil {
			return *waiting
		}
		if e.changed.CompareAndSwap(nil, &next) {
			return next
		}
	}
}

// Current returns the active policy, nil when there is none.
func (e *Engine) Current() *Policy { return e.active.Load().policy() }

func (s *snapshot) policy() *Policy {
	if s == nil {
		return nil
	}
	return s.Policy
}

// Decide answers with the active policy and adds a decision id, the sources of
// clauses and, for an unknown metric, a suggestion. The time is not stamped here. See
// [Policy.Decide] for the error; without a policy the answer is no_policy and
// there is no error.
//
// Answers share memory with each other: slices in them, and what they point to,
// must not be modified.
func (e *Engine) Decide(ctx context.Context, in decision.Input) (d decision.Decision, err error) {
	s := e.active.Load()
	if s == nil {
		return e.signed(decision.Unloaded()), nil
	}
	shared, suggestion, err := s.decide(ctx, &in)
	d = *shared
	d.Suggestion = suggestion
	d.DecisionID = newID(e.clock.now())
	return d, err
}

func (e *Engine) signed(d decision.Decision) decision.Decision {
	d.DecisionID = newID(e.clock.now())
	return d
}

// suggestion says what a misspelt metric was meant to be, "" for any other.
func (s *snapshot) suggestion(d *decision.Decision, metric string) string {
	if d.Outcome != decision.UnknownMetric {
		return ""
	}
	if name := s.names.nearest(metric); name != "" {
		return "did you mean " + name + "?"
	}
	return ""
}

// Stats returns what was counted so far.
func (e *Engine) Stats() Stats {
	var all Stats
	for i := range e.counters {
		c := &e.counters[i]
		all.Hits += c.hits.Load()
		all.Misses += c.misses.Load()
		all.Bypassed += c.bypassed.Load()
		all.Repeated += c.repeated.Load()
		all.Verified += c.verified.Load()
		all.Mismatches += c.mismatches.Load()
	}
	s := e.active.Load()
	if s == nil {
		all.Off = "no policy is loaded"
		return all
	}
	all.Off = s.off()
	if s.answers != nil {
		all.Entries = s.answers.EstimatedSize()
	}
	return all
}

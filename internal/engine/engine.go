// Package engine decides: it loads a bundle into an immutable [Policy] and
// answers questions with it in process.
//
// Start with [New] and [Engine.Swap], or with [Prepare] for a single policy. A
// decision reads one snapshot of rules, tables and state; loading another one
// never changes an answer under way. Every failure denies.
//
// Bundles are compiled under [Capabilities]: no network, clock, randomness or
// environment. What the charter means, state included, is decided in Rego
// alone; the engine adds only an id and a suggestion. See docs/design/engine.md.
package engine

import (
	"context"
	"sync/atomic"

	"github.com/westworld-charter/charter/internal/decision"
)

// Engine holds the active policy. It is safe for concurrent use.
type Engine struct {
	active atomic.Pointer[Policy]
}

// New returns an engine without a policy: it denies everything as no_policy.
func New() *Engine { return &Engine{} }

// Swap makes p the active policy and returns the one before, nil at first.
// Decisions under way finish on the policy they began with. A nil p unloads.
func (e *Engine) Swap(p *Policy) (previous *Policy) { return e.active.Swap(p) }

// Current returns the active policy, nil when there is none.
func (e *Engine) Current() *Policy { return e.active.Load() }

// Decide answers with the active policy and adds a decision id and, for an
// unknown metric, a suggestion. The time is not stamped here. See
// [Policy.Decide] for the error; without a policy the answer is no_policy and
// there is no error.
func (e *Engine) Decide(ctx context.Context, in decision.Input) (decision.Decision, error) {
	p := e.Current()
	if p == nil {
		d := decision.Unloaded()
		d.DecisionID = newID()
		return d, nil
	}
	d, err := p.Decide(ctx, in)
	d.DecisionID = newID()
	if d.Outcome == decision.UnknownMetric {
		if name := p.names.nearest(in.Metric); name != "" {
			d.Suggestion = "did you mean " + name + "?"
		}
	}
	return d, err
}

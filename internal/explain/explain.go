// Package explain says why a question was decided as it was: the steps that the
// rules took, and the smallest change of the question that would be allowed.
//
// Start with [New] and [Explainer.Explain]. Guaranteed are: what a step says is
// read from the rules and tables that decided, over the same snapshot of policy
// and state, never decided again in Go; a change is stated only when the changed
// question was decided by the same policy and allowed; no stated change can be
// had with fewer fields changed, and where a search was complete and found
// nothing there is nothing to be found; node, metric and time are never changed;
// the work is bounded by [MaxEvaluations], the size by [MaxListed].
package explain

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync/atomic"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/engine"
)

// ErrReplaced means that no active policy is the one that decided.
var ErrReplaced = errors.New("the policy was replaced since the decision")

// Explanation says why. It accompanies a decision; the counterfactual, which
// belongs into the decision, is not encoded with it.
type Explanation struct {
	// Steps are what was checked, in the order of precedence.
	Steps []Step `json:"steps"`
	// Counterfactual is what would be allowed, such as "allowed with role auditor",
	// or why nothing ever will be, such as "never: protected clause privacy.location".
	// It is "" when the question is allowed already, or nothing was found.
	Counterfactual string `json:"-"`
	// Change is the same for programs; nil when there is none.
	Change *Change `json:"change,omitempty"`
	// Search says how changes were looked for; nil when there was no need.
	Search *Search `json:"search,omitempty"`
}

// Explainer explains decisions. It is safe for concurrent use.
type Explainer struct {
	policies func() []*engine.Policy
	last     atomic.Pointer[prepared]
}

// prepared is the query about one policy. It never changes.
type prepared struct {
	policy *engine.Policy
	facts  *engine.Inspection
}

// New returns an explainer of decisions by the policies that are active, such as
// one alone, or a candidate beside it. Policies may hold nil.
func New(policies func() []*engine.Policy) *Explainer { return &Explainer{policies: policies} }

// policy returns the active policy with a revision, nil when there is none.
func (x *Explainer) policy(revision string) *engine.Policy {
	for _, p := range x.policies() {
		if p != nil && p.Revision() == revision {
			return p
		}
	}
	return nil
}

// Explain explains d, which an engine answered to in: the question as it was
// decided, its time included. Reach bounds what may be suggested; nil is
// anything. An answer without a policy has no steps. The error is [ErrReplaced]
// when the policy of that revision is not active any more, or answers otherwise;
// any other means that the rules could not be asked.
//
// When ctx ends during the search for a change, the explanation is without one
// and its search is incomplete.
func (x *Explainer) Explain(ctx context.Context, in decision.Input, d decision.Decision, reach *Reach) (*Explanation, error) {
	if d.Outcome == decision.NoPolicy {
		return &Explanation{Steps: []Step{}}, nil
	}
	policy := x.policy(d.Revision)
	if policy == nil {
		return nil, ErrReplaced
	}
	own, err := policy.Decide(ctx, in)
	if err != nil {
		return nil, fmt.Errorf("explain: %w", err)
	}
	own = policy.Locate(own)
	if !same(own, d) {
		return nil, ErrReplaced
	}
	p, err := x.prepare(ctx, policy)
	if err != nil {
		return nil, err
	}
	var found facts
	if err := p.facts.Eval(ctx, in, &found); err != nil {
		return nil, fmt.Errorf("explain: %w", err)
	}
	path := path{in: in, decision: own, facts: &found, charter: policy.Charter()}
	e := &Explanation{Steps: path.steps()}
	if never, ok := path.never(); ok {
		e.Counterfactual = never
		return e, nil
	}
	if own.Outcome == decision.Allowed || !holds(found.Valid) || undetermined(own) {
		return e, nil
	}
	s := search{ctx: ctx, in: in, policy: policy, facts: &found, reach: reach}
	s.run()
	e.Change, e.Search = s.found, &s.Search
	if e.Change != nil {
		e.Counterfactual = e.Change.String()
	}
	return e, nil
}

// prepare returns the query about a policy, which is kept until there is another.
func (x *Explainer) prepare(ctx context.Context, policy *engine.Policy) (*prepared, error) {
	if p := x.last.Load(); p != nil && p.policy == policy {
		return p, nil
	}
	facts, err := policy.Inspect(ctx, query())
	if err != nil {
		return nil, fmt.Errorf("explain: %w", err)
	}
	p := &prepared{policy, facts}
	x.last.Store(p)
	return p, nil
}

// same compares what the rules decided; ids and suggestions are of single answers.
func same(a, b decision.Decision) bool {
	b.DecisionID, b.Suggestion, b.Counterfactual = "", "", ""
	return reflect.DeepEqual(a, b)
}

func undetermined(d decision.Decision) bool {
	for _, r := range d.Reasons {
		if r.Code == decision.CodeUndetermined {
			return true
		}
	}
	return false
}

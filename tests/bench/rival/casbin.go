package rival

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/casbin/casbin/v2"
	"github.com/casbin/casbin/v2/model"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/tests/bench/workload"
)

// casbinModel is casbin's own example of keyMatch, "p = sub, obj, act", with one
// more term: the conditions of the clause as a Go function, the cheapest form
// there is, called only for the policy that matches.
const casbinModel = `
[request_definition]
r = sub, obj, act, ask

[policy_definition]
p = sub, obj, act, category, access

[policy_effect]
e = some(where (p.eft == allow))

[matchers]
m = r.sub == p.sub && keyMatch(r.obj, p.obj) && r.act == p.act && permitted(r.ask, p.category, p.access)
`

// Casbin has one policy per role and metric name, and per role and glob.
func Casbin(s *workload.Spec) (Decider, error) {
	m, err := model.NewModelFromString(casbinModel)
	if err != nil {
		return nil, fmt.Errorf("read casbin model: %w", err)
	}
	e, err := casbin.NewEnforcer(m)
	if err != nil {
		return nil, fmt.Errorf("make casbin enforcer: %w", err)
	}
	var rules [][]string
	for _, clauses := range [][]workload.Clause{s.Exact, s.Globs} {
		for _, c := range clauses {
			for _, pattern := range c.Match {
				rules = append(rules,
					[]string{workload.Operator, pattern, decision.Collect, c.Category, c.Access},
					[]string{workload.Auditor, pattern, decision.Read, c.Category, c.Access})
			}
		}
	}
	if _, err := e.AddPolicies(rules); err != nil {
		return nil, fmt.Errorf("add casbin policies: %w", err)
	}
	e.AddFunction("permitted", newPermits(s).call)
	return func(_ context.Context, in decision.Input) (bool, error) {
		return e.Enforce(in.Role, in.Metric, in.Operation, &in)
	}, nil
}

// permits is everything but the name.
type permits struct {
	fleet, quarantined map[string]bool
	expires            time.Time
}

func newPermits(s *workload.Spec) permits {
	p := permits{fleet: map[string]bool{}, quarantined: map[string]bool{}, expires: expires()}
	for _, n := range s.Nodes {
		p.fleet[n] = true
	}
	for _, n := range s.Quarantined {
		p.quarantined[n] = true
	}
	return p
}

// call is the function as casbin calls it.
func (p permits) call(args ...any) (any, error) {
	if len(args) == 3 {
		in, ok := args[0].(*decision.Input)
		category, ok2 := args[1].(string)
		access, ok3 := args[2].(string)
		if ok && ok2 && ok3 {
			return p.allow(in, category, access), nil
		}
	}
	return false, errors.New("permitted needs a question, a category and an access level")
}

func (p permits) allow(in *decision.Input, category, access string) bool {
	now, err := time.Parse(time.RFC3339, in.Time)
	if err != nil || !now.Before(p.expires) || !p.fleet[in.Node] {
		return false
	}
	switch {
	case in.Role == workload.Operator && in.Operation == decision.Collect:
		held := func(claim string) bool { return slices.Contains(in.Claims, claim) }
		return !p.quarantined[in.Node] && slices.Contains(workload.Categories(), category) &&
			!slices.ContainsFunc(workload.Claims(), func(claim string) bool { return !held(claim) })
	case in.Role == workload.Auditor && in.Operation == decision.Read:
		return slices.Contains(workload.Levels(), access) && slices.Contains(workload.Purposes()[:2], in.Purpose)
	default:
		return false
	}
}

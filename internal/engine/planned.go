package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/ir"
	"github.com/open-policy-agent/opa/v1/rego"

	"github.com/westworld-charter/charter/internal/plan"
)

// planTarget is the name under which OPA knows who wants plans.
const planTarget = "charter.plan"

// OPA's planner is internal to it. What it makes is handed to targets alone, and targets
// are registered with the process: this one has no state, it passes plans on.
var registerTarget = sync.OnceFunc(func() { rego.RegisterPlugin(planTarget, target{}) })

// target implements rego.TargetPlugin.
type target struct{}

// wanted is the key of a context under which a plan is wanted: a **ir.Policy.
type wanted struct{}

func (target) IsTarget(name string) bool { return name == planTarget }

func (t target) PrepareForEval(ctx context.Context, policy *ir.Policy, _ ...rego.PrepareOption) (rego.TargetPluginEval, error) {
	into, ok := ctx.Value(wanted{}).(**ir.Policy)
	if !ok {
		return nil, errors.New("plans are for package engine")
	}
	*into = policy
	return t, nil
}

// Eval is never called: nothing is evaluated through the target.
func (target) Eval(context.Context, *rego.EvalContext, ast.Value) (ast.Value, error) {
	return nil, errors.New("plans are evaluated by package plan")
}

// Plan has OPA plan the query and links the plan, to be evaluated over data. Nobody else
// may use q meanwhile.
func (q *Query) Plan(ctx context.Context) (*plan.Program, error) {
	registerTarget()
	var policy *ir.Policy
	ctx = context.WithValue(ctx, wanted{}, &policy)
	_, err := rego.New(rego.Query(q.source.Query), rego.Compiler(q.compiler), rego.Target(planTarget)).PrepareForEval(ctx)
	// OPA has told the compiler to leave out what only topdown needs.
	q.compiler.WithEvalMode(ast.EvalModeTopdown)
	if err != nil {
		return nil, fmt.Errorf("plan %s: %w", q.source.Query, err)
	}
	return plan.Link(policy)
}

// Run binds a plan of this query to its data.
func (q *Query) Run(program *plan.Program) *plan.Query { return program.Over(q.base, q.values) }

// onlyValue is the value of the one expression of a query.
func onlyValue(results []ast.Object) (ast.Value, error) {
	if len(results) != 1 {
		return nil, ErrUndefined
	}
	var value ast.Value
	results[0].Foreach(func(_, v *ast.Term) { value = v.Value })
	if value == nil || results[0].Len() != 1 {
		return nil, ErrUndefined
	}
	return value, nil
}

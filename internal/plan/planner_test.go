package plan_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/ir"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/westworld-charter/charter/internal/plan"
)

// OPA's planner hands plans to targets alone. This one passes them on.
const testTarget = "charter.plan.test"

var registerTarget = sync.OnceFunc(func() { rego.RegisterPlugin(testTarget, passOn{}) })

type passOn struct{}

type intoKey struct{}

func (passOn) IsTarget(name string) bool { return name == testTarget }

func (p passOn) PrepareForEval(ctx context.Context, policy *ir.Policy, _ ...rego.PrepareOption) (rego.TargetPluginEval, error) {
	*ctx.Value(intoKey{}).(**ir.Policy) = policy
	return p, nil
}

func (passOn) Eval(context.Context, *rego.EvalContext, ast.Value) (ast.Value, error) {
	return nil, errors.New("not for evaluation")
}

// pair is one query for both evaluators.
type pair struct {
	policy   *ir.Policy
	prepared rego.PreparedEvalQuery
	base     *plan.Base
	plan     *plan.Query // nil when OPA has no plan for the query, or Link refused it
	linking  error
}

// newPair compiles a module. A query is evaluated for the value of x.
func newPair(ctx context.Context, module, query string, data map[string]any) (*pair, error) {
	registerTarget()
	parsed, err := ast.ParseModuleWithOpts("t.rego", module, ast.ParserOptions{RegoVersion: ast.RegoV1})
	if err != nil {
		return nil, err
	}
	if data == nil {
		data = map[string]any{}
	}
	store := inmem.NewFromObjectWithOpts(data, inmem.OptRoundTripOnWrite(false))
	txn, err := store.NewTransaction(ctx)
	if err != nil {
		return nil, err
	}
	compiler := ast.NewCompiler().WithPathConflictsCheck(storage.NonEmpty(ctx, store, txn))
	if compiler.Compile(map[string]*ast.Module{"t.rego": parsed}); compiler.Failed() {
		return nil, compiler.Errors
	}
	p := &pair{base: plan.NewBase(data)}
	p.prepared, err = rego.New(rego.Query(query), rego.Compiler(compiler), rego.Store(store), rego.Transaction(txn),
		rego.GenerateJSON(func(t *ast.Term, _ *rego.EvalContext) (any, error) { return t, nil })).PrepareForEval(ctx)
	if err != nil {
		return nil, err
	}
	err = prepare(context.WithValue(ctx, intoKey{}, &p.policy), rego.New(rego.Query(query), rego.Compiler(compiler), rego.Target(testTarget)))
	compiler.WithEvalMode(ast.EvalModeTopdown)
	if err != nil {
		p.linking = err
		return p, nil
	}
	program, err := plan.Link(p.policy)
	if err == nil {
		err = vet(compiler.Modules)
	}
	if err != nil {
		p.linking = err
		return p, nil
	}
	p.plan = program.Over(p.base, nil)
	return p, nil
}

// prepare prepares a query for its target. OPA's planner panics over some modules.
func prepare(ctx context.Context, r *rego.Rego) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the planner gave up: %v", p)
		}
	}()
	_, err = r.PrepareForEval(ctx)
	return err
}

// outcome is what an evaluation came to.
type outcome struct {
	value ast.Value // nil is undefined; otherwise the set of all values of x
	err   error
}

func (o outcome) String() string {
	switch {
	case o.err != nil:
		return "error: " + o.err.Error()
	case o.value == nil:
		return "undefined"
	default:
		return o.value.String()
	}
}

var x = ast.StringTerm("x")

// reference asks topdown for all values of x.
func (p *pair) reference(ctx context.Context, input ast.Value, options ...rego.EvalOption) outcome {
	options = append(options, rego.EvalBaseCache(p.base))
	if input != nil {
		options = append(options, rego.EvalParsedInput(input))
	}
	results, err := p.prepared.Eval(ctx, options...)
	if err != nil || len(results) == 0 {
		return outcome{err: err}
	}
	set := ast.NewSet()
	for _, r := range results {
		set.Add(r.Bindings["x"].(*ast.Term))
	}
	return outcome{value: set}
}

func (p *pair) planned(ctx context.Context, input ast.Value) outcome {
	results, err := p.plan.Eval(ctx, input)
	if err != nil || len(results) == 0 {
		return outcome{err: err}
	}
	set := ast.NewSet()
	for _, r := range results {
		value := r.Get(x)
		if value == nil {
			return outcome{err: fmt.Errorf("no x in %v", r)}
		}
		set.Add(value)
	}
	return outcome{value: set}
}

// differ reports whether the plan gave another answer than topdown; an error is no answer,
// nor is topdown's that it met an error of its own.
func differ(want, got outcome) bool {
	if got.err != nil || want.err != nil && strings.Contains(want.err.Error(), topdown.InternalErr) {
		return false
	}
	if want.err != nil || (want.value == nil) != (got.value == nil) {
		return true
	}
	return want.value != nil && want.value.Compare(got.value) != 0
}

func inputOf(t testing.TB, text string) ast.Value {
	t.Helper()
	if text == "" {
		return nil
	}
	term, err := ast.ParseTerm(text)
	if err != nil {
		t.Fatal(err)
	}
	return term.Value
}

func dataOf(t testing.TB, text string) map[string]any {
	t.Helper()
	data := map[string]any{}
	if text == "" {
		return data
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&data); err != nil {
		t.Fatal(err)
	}
	return data
}

package policytest

import (
	"bytes"
	"context"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/cover"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/tester"
	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/westworld-charter/charter/internal/diag"
)

// regoSet is Rego to be tested.
type regoSet struct {
	modules      map[string]*ast.Module // by file
	data         map[string]any
	capabilities *ast.Capabilities
	cover        *cover.Cover // nil: not wanted
}

// runRego adds the results of the selected tests to s, or the errors of the
// compiler to its findings.
func (r *runner) runRego(ctx context.Context, set regoSet, s *Suite) error {
	s.Tests += countTests(set.modules)
	var filter string
	if r.opts.Filter != nil {
		filter = r.opts.Filter.String()
	}
	first := func(t *tester.Runner) *tester.Runner {
		if set.cover != nil { // a nil *Cover in the interface would not be nil
			t.SetCoverageQueryTracer(set.cover)
		}
		// The second and third pass would only annotate what is not covered.
		return t.Filter(filter).SetCoverageRuns(nil)
	}
	results, err := r.runOnce(ctx, set, first)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.regoErrors(err)
		return nil
	}
	at := len(s.Results)
	for _, tr := range results {
		s.Results = append(s.Results, newResult(tr))
	}
	return r.explain(ctx, set, s.Results[at:])
}

// runOnce compiles the modules and runs what configure selects.
func (r *runner) runOnce(ctx context.Context, set regoSet, configure func(*tester.Runner) *tester.Runner) ([]*tester.Result, error) {
	store := inmem.NewFromObject(set.data)
	txn, err := store.NewTransaction(ctx)
	if err != nil {
		return nil, err
	}
	defer store.Abort(ctx, txn)
	return collect(ctx, txn, configure(tester.NewRunner().
		SetCompiler(ast.NewCompiler().WithCapabilities(set.capabilities).WithEnablePrintStatements(true)).
		SetStore(store).
		SetModules(maps.Clone(set.modules)).
		SetTimeout(r.opts.Timeout).
		CapturePrintOutput(true)))
}

func collect(ctx context.Context, txn storage.Transaction, t *tester.Runner) ([]*tester.Result, error) {
	ch, err := t.RunTests(ctx, txn)
	if err != nil {
		return nil, err
	}
	var results []*tester.Result
	for tr := range ch {
		results = append(results, tr)
	}
	return results, ctx.Err()
}

func newResult(tr *tester.Result) Result {
	res := Result{
		Name:     tr.Package + "." + tr.Name,
		group:    tr.Package,
		Duration: Seconds(tr.Duration),
		Output:   string(tr.Output),
		Outcome:  Pass,
	}
	if tr.Location != nil {
		res.Pos = diag.Pos{File: tr.Location.File, Line: tr.Location.Row, Col: tr.Location.Col}
	}
	switch {
	case tr.Skip:
		res.Outcome = Skip
	case tr.Error != nil:
		res.Outcome = Error
		res.Message = tr.Error.Error()
	case tr.Fail:
		res.Outcome = Fail
		res.Message = "the test is not true"
		if failed := failedCases(tr.SubResults); len(failed) > 0 {
			res.Message = "not true for " + strings.Join(failed, ", ")
		}
	}
	return res
}

// failedCases names the failing leaves of a test with several cases.
func failedCases(all tester.SubResultMap) []string {
	var names []string
	for path, sub := range all.Iter {
		if sub.Fail && len(sub.SubResults) == 0 {
			names = append(names, strings.Join(path, "/"))
		}
	}
	return names
}

// explain runs failing tests again with a trace, which cannot be had together
// with coverage, and notes the expression that was not true.
func (r *runner) explain(ctx context.Context, set regoSet, results []Result) error {
	failing := map[diag.Pos]*Result{}
	var names []string
	for i := range results {
		if results[i].Outcome == Fail {
			failing[results[i].Pos] = &results[i]
			names = append(names, regexp.QuoteMeta(results[i].Name))
		}
	}
	if len(failing) == 0 {
		return nil
	}
	slices.Sort(names)
	only := "^(" + strings.Join(slices.Compact(names), "|") + ")$"
	traced, err := r.runOnce(ctx, set, func(t *tester.Runner) *tester.Runner {
		return t.Filter(only).EnableTracing(true)
	})
	if err != nil {
		return err
	}
	for _, tr := range traced {
		again := newResult(tr)
		if res := failing[again.Pos]; res != nil && again.Outcome == Fail {
			res.FailedAt = failedAt(tr.Trace)
		}
	}
	return nil
}

// failedAt finds the last expression that failed, as `opa test` does.
func failedAt(trace []*topdown.Event) *FailedAt {
	for _, e := range slices.Backward(trace) {
		expr, ok := e.Node.(*ast.Expr)
		if e.Op != topdown.FailOp || e.Location == nil || e.QueryID == 0 || !ok {
			continue
		}
		if _, every := expr.Terms.(*ast.Every); every {
			continue // what fails is an expression in its body
		}
		at := &FailedAt{
			Pos:        diag.Pos{File: e.Location.File, Line: e.Location.Row, Col: e.Location.Col},
			Expression: string(e.Location.Text),
		}
		var detail bytes.Buffer
		if err := topdown.PrettyEvent(&detail, e, topdown.PrettyEventOpts{PrettyVars: true}); err == nil {
			at.Detail = strings.TrimSpace(detail.String())
		}
		return at
	}
	return nil
}

// countTests counts tests whether or not a filter selects them.
func countTests(modules map[string]*ast.Module) int {
	n := 0
	for _, m := range modules {
		for _, rule := range m.Rules {
			if isTestRule(rule.Head.Ref()) {
				n++
			}
		}
	}
	return n
}

func isTestRule(ref ast.Ref) bool {
	for _, term := range ref.GroundPrefix() {
		var name string
		switch v := term.Value.(type) {
		case ast.Var:
			name = string(v)
		case ast.String:
			name = string(v)
		}
		if strings.HasPrefix(name, tester.TestPrefix) || strings.HasPrefix(name, tester.SkipTestPrefix) {
			return true
		}
	}
	return false
}

// since is the time a case took.
func since(start time.Time) Seconds { return Seconds(time.Since(start)) }

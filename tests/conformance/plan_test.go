package conformance

import (
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/test/cases"

	"github.com/westworld-charter/charter/internal/engine"
)

// planned asks the plan of a case. It answers as wanted, or not at all: then topdown is
// asked, which is right only where fallback says why.
func (r *report) planned(t *testing.T, tc cases.TestCase, query *engine.Query) {
	t.Helper()
	got, err := planAnswer(t, tc, query)
	name := strings.TrimPrefix(t.Name(), "TestConformance/")
	why, listed := fallbacks[name]
	if err != nil && !wantsError(tc) {
		r.fellBack[name] = why
		if !listed || !strings.Contains(err.Error(), string(why)) {
			t.Errorf("the plan gave up, and the list of fallbacks does not say so: %v", err)
		}
		return
	}
	if listed {
		t.Errorf("the plan answered (%v): the case must leave the list of fallbacks", err)
	}
	switch {
	case !wantsError(tc):
		if want := wanted(*tc.WantResult); want.Compare(got) != 0 {
			t.Errorf("the plan says %v\nwant %v", got, want)
		}
		r.answered++
	case err != nil:
		r.refused++
	case !tc.StrictError:
		t.Errorf("the plan says %v, want an error", got)
	default:
		r.lenient(t, tc, got)
	}
}

// lenient compares a plan with topdown without strict errors where a case wants one:
// decisions are made without, and plans know none.
func (r *report) lenient(t *testing.T, tc cases.TestCase, got ast.Set) {
	t.Helper()
	tc.StrictError = false
	query, err := engine.NewQuery(t.Context(), source(tc, ast.CapabilitiesForThisVersion()))
	if err != nil {
		t.Fatal(err)
	}
	results, err := query.Eval(t.Context(), input(tc))
	if err != nil {
		t.Errorf("the plan says %v, topdown fails: %v", got, err)
		return
	}
	if want := bindings(t, tc, results); want.Compare(got) != 0 {
		t.Errorf("the plan says %v, topdown without strict errors %v", got, want)
	}
	r.lenients++
}

func wantsError(tc cases.TestCase) bool { return tc.WantError != nil || tc.WantErrorCode != nil }

func planAnswer(t *testing.T, tc cases.TestCase, query *engine.Query) (ast.Set, error) {
	t.Helper()
	program, err := query.Plan(t.Context())
	if err != nil {
		return nil, err
	}
	results, err := query.Run(program).Eval(t.Context(), input(tc))
	if err != nil {
		return nil, err
	}
	as := make(rego.ResultSet, len(results))
	for i, result := range results {
		as[i].Bindings = rego.Vars{}
		result.Foreach(func(name, value *ast.Term) { as[i].Bindings[string(name.Value.(ast.String))] = value })
	}
	return bindings(t, tc, as), nil
}

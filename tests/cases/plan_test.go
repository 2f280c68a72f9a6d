package cases_test

import (
	"encoding/json"
	"maps"
	"reflect"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/engine"
	"github.com/westworld-charter/charter/internal/plan"
)

// TestCorpusByReference asks all of it of OPA's topdown, which decides what rules mean.
// The corpus itself is asked of the plan; a difference is a wrong evaluator.
func TestCorpusByReference(t *testing.T) {
	for _, tb := range allTables(t) {
		t.Run(tb.Path, func(t *testing.T) {
			t.Parallel()
			if why := tb.policy.Unplanned(); why != "" {
				t.Fatalf("there is no plan: %s", why)
			}
			reference := tb.policy.Reference()
			for _, c := range tb.Cases {
				want := eval(t, withState(t, reference, c.State), c.Input)
				got := eval(t, withState(t, tb.policy, c.State), c.Input)
				if !reflect.DeepEqual(got, want) {
					t.Errorf("%s: %s:\n got %v\nwant %v", c.Pos, c.Name, got, want)
				}
			}
		})
	}
}

// TestCorpusTheLongWayByPlan asks all of it of plans with the short way closed. A bundle
// with changed rules has no plan, so these are made here.
func TestCorpusTheLongWayByPlan(t *testing.T) {
	for _, tb := range allTables(t) {
		t.Run(tb.Path, func(t *testing.T) {
			t.Parallel()
			query, program, data := planTheLongWay(t, tb.bundle)
			for _, c := range tb.Cases {
				want := eval(t, withState(t, tb.policy, c.State), c.Input)
				with := maps.Clone(data)
				if c.State != nil {
					with["charter_state"] = exact(t, c.State)
				}
				over, err := query.WithData(t.Context(), with)
				if err != nil {
					t.Fatal(err)
				}
				results, err := over.Run(program).Eval(t.Context(), inputValue(t, c.Input))
				if err != nil || len(results) != 1 {
					t.Fatalf("%s: %s: %v %v", c.Pos, c.Name, results, err)
				}
				if got := plain(t, results[0].Get(ast.StringTerm("x")).Value); !reflect.DeepEqual(got, want) {
					t.Errorf("%s: %s:\n got %v\nwant %v", c.Pos, c.Name, got, want)
				}
			}
		})
	}
}

func planTheLongWay(t *testing.T, b *bundle.Bundle) (*engine.Query, *plan.Program, map[string]any) {
	t.Helper()
	src := engine.Source{Modules: map[string][]byte{}, Query: "x = data.charter.decision", Capabilities: engine.Capabilities()}
	for _, path := range b.Modules() {
		src.Modules[path], _ = b.File(path)
	}
	src.Modules["charter/plain/plain.rego"] = []byte(nothingIsPlain)
	text, _ := b.File(bundle.DataFile)
	src.Data = decode(t, text).(map[string]any)
	query, err := engine.NewQuery(t.Context(), src)
	if err != nil {
		t.Fatal(err)
	}
	program, err := query.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return query, program, src.Data
}

// exact is a value as JSON is decoded for rules.
func exact(t *testing.T, value any) any {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, text)
}

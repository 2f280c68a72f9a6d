package conformance

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/test/cases"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/open-policy-agent/opa/v1/util"

	"github.com/westworld-charter/charter/internal/engine"
)

func source(tc cases.TestCase, caps *ast.Capabilities) engine.Source {
	src := engine.Source{Modules: map[string][]byte{}, Query: tc.Query, Capabilities: caps, StrictErrors: tc.StrictError}
	for i, module := range tc.Modules {
		src.Modules[fmt.Sprintf("test-%d.rego", i)] = []byte(module)
	}
	if tc.Data != nil {
		src.Data = *tc.Data
	}
	return src
}

func input(tc cases.TestCase) ast.Value {
	switch {
	case tc.InputTerm != nil:
		return ast.MustParseTerm(*tc.InputTerm).Value
	case tc.Input != nil:
		return ast.MustInterfaceToValue(*tc.Input)
	default:
		return nil
	}
}

// compare judges an outcome as OPA's own test of these cases does.
func compare(t *testing.T, tc cases.TestCase, results rego.ResultSet, err error) {
	t.Helper()
	switch {
	case tc.WantError != nil || tc.WantErrorCode != nil:
		if err == nil {
			t.Fatal("no error")
		}
		if tc.WantError != nil && !strings.Contains(err.Error(), *tc.WantError) {
			t.Fatalf("error %q, want %q", err, *tc.WantError)
		}
		if tc.WantErrorCode != nil {
			if e, ok := errors.AsType[*topdown.Error](err); !ok || e.Code != *tc.WantErrorCode {
				t.Fatalf("error %v, want code %s", err, *tc.WantErrorCode)
			}
		}
	case err != nil:
		t.Fatal(err)
	case tc.WantResult == nil:
		t.Fatal("the case says nothing about what it wants")
	default:
		want, got := wanted(*tc.WantResult), bindings(t, tc, results)
		if want.Compare(got) != 0 {
			t.Fatalf("got %v\nwant %v", got, want)
		}
	}
}

func wanted(results []map[string]any) ast.Set {
	set := ast.NewSet()
	for _, result := range results {
		set.Add(ast.NewTerm(ast.MustInterfaceToValue(result)))
	}
	return set
}

func bindings(t *testing.T, tc cases.TestCase, results rego.ResultSet) ast.Set {
	t.Helper()
	set := ast.NewSet()
	for _, result := range results {
		object := ast.NewObject()
		for name, value := range result.Bindings {
			v, err := ast.JSON(value.(*ast.Term).Value)
			if err != nil {
				t.Fatal(err)
			}
			if tc.SortBindings {
				slices.SortFunc(v.([]any), util.Compare)
			}
			object.Insert(ast.StringTerm(name), ast.NewTerm(ast.MustInterfaceToValue(v)))
		}
		set.Add(ast.NewTerm(object))
	}
	return set
}

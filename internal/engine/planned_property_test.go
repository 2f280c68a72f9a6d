package engine_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"pgregory.net/rapid"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/engine"
)

// The plan of the library gives the document that OPA's topdown gives, whatever the
// charter, the state and the question, well-formed or not. CHARTER_LONG=1 asks a million
// questions.
func TestPlanIsReference(t *testing.T) {
	charters, questions := 8, 30
	if os.Getenv("CHARTER_LONG") != "" {
		charters, questions = 1000, 334
	}
	if err := errors.Join(flag.Set("rapid.checks", strconv.Itoa(charters)), flag.Set("rapid.shrinktime", "10s")); err != nil {
		t.Fatal(err)
	}
	allowed, asked, progress := 0, 0, t.Logf
	rapid.Check(t, func(t *rapid.T) {
		b := build(t, worldCharter(t))
		maybe(t, "large", 3, func() { b = large(t, b) })
		p, err := engine.Prepare(t.Context(), b, nil)
		if err != nil {
			t.Fatal(err)
		}
		if p.Unplanned() != "" {
			t.Fatalf("the library has no plan: %s", p.Unplanned())
		}
		for range 3 {
			if p, err = p.WithState(t.Context(), worldState(t)); err != nil {
				t.Fatal(err)
			}
			reference := p.Reference()
			for range questions {
				in := damaged(t, worldQuestion(t))
				want, wantErr := reference.Eval(t.Context(), in)
				got, gotErr := p.Eval(t.Context(), in)
				if (wantErr == nil) != (gotErr == nil) || wantErr == nil && (want.Compare(got) != 0 || want.String() != got.String()) {
					t.Fatalf("%v:\nreference %v %v\n     plan %v %v", in, want, wantErr, got, gotErr)
				}
				if asked++; asked%50_000 == 0 {
					progress("%d questions, %d allowed", asked, allowed)
				}
				if object, ok := got.(ast.Object); ok && object.Get(ast.StringTerm("allow")).Equal(ast.BooleanTerm(true)) {
					allowed++
				}
			}
		}
	})
	t.Logf("%d questions, %d allowed", asked, allowed)
	if allowed*50 < asked {
		t.Errorf("only %d of %d questions are allowed: the test says little", allowed, asked)
	}
}

// large is a bundle with so many names that its tables are looked into, not converted.
func large(t *rapid.T, b *bundle.Bundle) *bundle.Bundle {
	files := map[string][]byte{}
	for _, path := range b.Paths() {
		files[path], _ = b.File(path)
	}
	var data map[string]map[string]map[string]any
	if err := json.Unmarshal(files[bundle.DataFile], &data); err != nil {
		t.Fatal(err)
	}
	tables := data["charter"]["tables"]
	for _, name := range []string{"exact", "roles", "clauses", "forbidden"} {
		table, ok := tables[name].(object)
		if !ok {
			table = object{}
		}
		for i := range 1200 {
			table[fmt.Sprintf("pad_%d", i)] = object{}
		}
		tables[name] = table
	}
	text, err := json.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	files[bundle.DataFile] = text
	padded, err := bundle.New(files)
	if err != nil {
		t.Fatal(err)
	}
	return padded
}

// damaged is the input of a question; now and then with fields of wrong types, without
// some, with others, or no object at all.
func damaged(t *rapid.T, in decision.Input) ast.Value {
	object := map[string]any{"metric": in.Metric, "role": in.Role, "operation": in.Operation, "time": in.Time, "node": in.Node}
	for name, text := range map[string]string{"purpose": in.Purpose, "retention": in.Retention} {
		if text != "" {
			object[name] = text
		}
	}
	if in.Claims != nil {
		object["claims"] = in.Claims
	}
	if in.Labels != nil {
		object["labels"] = in.Labels
	}
	maybe(t, "damage", 3, func() {
		for range rapid.IntRange(1, 2).Draw(t, "damages") {
			name := one(t, "field", "metric", "role", "operation", "time", "node", "purpose", "retention", "claims", "labels", "extra", "")
			if object[name] = anything(t, 2); rapid.IntRange(0, 3).Draw(t, "leave out") == 0 {
				delete(object, name)
			}
		}
	})
	var input any = object
	maybe(t, "no object", 30, func() { input = anything(t, 2) })
	if rapid.IntRange(0, 60).Draw(t, "undefined") == 0 {
		return nil
	}
	return ast.MustInterfaceToValue(input)
}

// anything draws a JSON value.
func anything(t *rapid.T, depth int) any {
	kinds := 7
	if depth == 0 {
		kinds = 5
	}
	switch rapid.IntRange(0, kinds).Draw(t, "kind") {
	case 0:
		return nil
	case 1:
		return rapid.Bool().Draw(t, "bool")
	case 2:
		return rapid.SampledFrom([]float64{0, 1, -1, 0.5, 1e300}).Draw(t, "number")
	case 3:
		return one(t, "text", append([]string{"", "\x00", "1", "edge-1", "a\u0000b", "../..", "2026-02-30"}, worldMetrics...)...)
	case 4:
		return one(t, "word", "collect", "operator", "30d", "mtls", "2026-04-01T00:00:00Z", "operations")
	case 5:
		return []any{}
	case 6:
		list := []any{}
		for range rapid.IntRange(0, 3).Draw(t, "length") {
			list = append(list, anything(t, depth-1))
		}
		return list
	default:
		object := object{}
		for range rapid.IntRange(0, 3).Draw(t, "size") {
			object[one(t, "key", append([]string{"", "0"}, worldLabels...)...)] = anything(t, depth-1)
		}
		return object
	}
}

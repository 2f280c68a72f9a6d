package engine

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"pgregory.net/rapid"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/decision"
)

func viaJSON(t require, x any) ast.Value {
	text, err := json.Marshal(x)
	if err != nil {
		t.Fatal(err)
	}
	v, err := ast.ValueFromReader(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

type require interface{ Fatal(args ...any) }

// In process and over HTTP one question must be the same input.
func TestInputValueIsTheJSONOfTheInput(t *testing.T) {
	text, some := rapid.String(), rapid.StringN(1, -1, -1) // required fields are encoded even when empty
	rapid.Check(t, func(t *rapid.T) {
		in := decision.Input{
			Metric: some.Draw(t, "metric"), Role: some.Draw(t, "role"), Operation: some.Draw(t, "operation"),
			Node: text.Draw(t, "node"), Purpose: text.Draw(t, "purpose"), Retention: text.Draw(t, "retention"), Time: text.Draw(t, "time"),
			Labels: rapid.MapOfN(text, text, 0, 3).Draw(t, "labels"), Claims: rapid.SliceOfN(text, 0, 3).Draw(t, "claims"),
		}
		want := viaJSON(t, in)
		if got := newFields().value(in); got.Compare(want) != 0 {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

// Walking the document must lose nothing that a decoder of its JSON would find.
func TestAnswerIsTheDocument(t *testing.T) {
	texts := func(t *rapid.T, label string) []string {
		if s := rapid.SliceOfN(rapid.String(), 0, 3).Draw(t, label); len(s) > 0 {
			return s
		}
		return nil
	}
	var draw func(t *rapid.T, deep bool) decision.Decision
	draw = func(t *rapid.T, deep bool) decision.Decision {
		d := decision.Decision{
			Outcome: decision.Denied, Revision: "r", Clause: "c", Severity: rapid.String().Draw(t, "severity"),
			Mode: rapid.String().Draw(t, "mode"), Reasons: []decision.Reason{},
			Obligations: decision.Obligations{
				Retention: rapid.String().Draw(t, "retention"), DropLabels: texts(t, "drop"), HashLabels: texts(t, "hash"),
				ForbidLabels: texts(t, "forbid"), Rates: texts(t, "rates"),
			},
		}
		for range rapid.IntRange(0, 3).Draw(t, "reasons") {
			d.Reasons = append(d.Reasons, decision.Reason{
				Code: rapid.String().Draw(t, "code"), Clause: rapid.String().Draw(t, "clause"),
				Severity: rapid.String().Draw(t, "severity"), Message: rapid.String().Draw(t, "message"), Field: rapid.String().Draw(t, "field"),
			})
		}
		switch {
		case deep && rapid.Bool().Draw(t, "lifted"):
			original := draw(t, false)
			d.Allow, d.Enforced, d.WouldDeny = true, new(bool), &original
		case rapid.Bool().Draw(t, "allow"):
			d.Allow, d.Outcome = deep, map[bool]string{true: decision.Allowed, false: decision.Denied}[deep]
		}
		return d
	}
	rapid.Check(t, func(t *rapid.T) {
		want := draw(t, true)
		got, err := answer(viaJSON(t, want), "r")
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%v\n got %+v\nwant %+v", err, got, want)
		}
	})
}

// The library may collect labels in sets, which have an order of their own.
func TestAnswerReadsSets(t *testing.T) {
	v := ast.MustParseTerm(`{"obligations": {"drop_labels": {"b", "a"}}}`).Value
	if d, err := readDecision(v); err != nil || !slices.Equal(d.Obligations.DropLabels, []string{"a", "b"}) {
		t.Errorf("%+v, %v", d.Obligations, err)
	}
}

func catalogue(n int) *charter.Charter {
	clause := charter.Clause{ID: "c", Match: []string{"glob_*"}}
	for i := range n {
		clause.Match = append(clause.Match, fmt.Sprintf("service_%05d_requests_total", i))
	}
	return &charter.Charter{Metrics: []charter.Category{{Name: "m", Clauses: []charter.Clause{clause}}}}
}

func TestNearestName(t *testing.T) {
	n := newNames(catalogue(5000))
	for slip, want := range map[string]string{
		"service_00123_requests_totl":   "service_00123_requests_total", // at the end
		"sevice_04999_requests_total":   "service_04999_requests_total", // at the beginning
		"service_00000_requests_total_": "service_00000_requests_total",
		"glob_x":                        "",
		"":                              "",
		strings.Repeat("z", 512):        "",
	} {
		for range 2 { // found, and remembered
			if got := n.nearest(slip); got != want {
				t.Errorf("%q: %q, want %q", slip, got, want)
			}
		}
	}
	if newNames(catalogue(maxNames+1)).nearest("sevice_04999_requests_total") != "" {
		t.Error("a charter beyond the limit has an index all the same")
	}
	if newNames(catalogue(0)).nearest("x") != "" {
		t.Error("a suggestion out of nothing")
	}
}

func BenchmarkNearestName(b *testing.B) {
	for _, n := range []int{100, maxNames - 1} {
		names := newNames(catalogue(n))
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				names.search("service_00042_reqests_totl_x")
			}
		})
	}
}

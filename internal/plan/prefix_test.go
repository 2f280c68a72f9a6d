package plan_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
)

// wide is a module with enough prefixes for an index; more is added to it.
func wide(more string) string {
	var b strings.Builder
	b.WriteString("package t\n\n" + more + "\n\n")
	for i, prefix := range []string{"", "a", "ab", "abc", "abd", "b", "ü", "üb", `\u00fcc`, "a*", `a\u0000`, "node_", "node_cpu"} {
		fmt.Fprintf(&b, "many contains %d if startswith(input.s, \"%s\")\n\n", i, prefix)
	}
	return b.String()
}

// However bodies about prefixes are mixed with what an index must not stand for, and
// whatever the input is, the answer is that of topdown without its own index, which goes
// by prefixes even where startswith is replaced.
func TestPrefixes(t *testing.T) {
	modules := map[string]string{
		"alone":                "p := many",
		"twice the same":       "p := many\nmany contains 50 if startswith(input.s, \"a\")\nmany contains 51 if startswith(input.s, \"a\")",
		"further conditions":   "p := many\nmany contains x if {\n\tstartswith(input.s, \"ab\")\n\tsome x in input.l\n}",
		"a condition before":   "p := many\nmany contains 60 if {\n\tinput.l\n\tstartswith(input.s, \"ab\")\n}",
		"a failing condition":  "p := many\nmany contains x if {\n\tstartswith(input.s, \"a\")\n\tx := to_number(input.s)\n}",
		"its value":            "p := many\nmany contains x if {\n\tx := startswith(input.s, \"zzz\")\n}",
		"not":                  "p := many\nmany contains 61 if not startswith(input.s, \"a\")",
		"another field":        "p := many\nmany contains 62 if startswith(input.l, \"a\")",
		"the other way round":  "p := many\nmany contains 63 if startswith(\"abc\", input.s)",
		"input replaced":       "p := [x, y, many] if {\n\tx := many with input.s as \"ab\"\n\ty := many with input as 7\n}",
		"input replaced later": "p := [many, x] if x := many with input.s as \"b\"",
		"data replaced":        "p := [many, x] if x := many with data.d as 1",
		"startswith replaced":  "p := [many, x, y] if {\n\tx := many with startswith as endswith\n\ty := many with startswith as true\n}",
		"complete rules":       "default p := 0\n\np := 1 if startswith(input.s, \"a\")\np := 1 if startswith(input.s, \"ab\")\np := 1 if startswith(input.s, \"c\")\np := 1 if startswith(input.s, \"d\")\np := 1 if startswith(input.s, \"e\")\np := 1 if startswith(input.s, \"f\")\np := 1 if startswith(input.s, \"g\")\np := 1 if startswith(input.s, \"ü\")\np := 1 if startswith(input.s, \"h\")",
		"an index in an index": "p contains x if {\n\tstartswith(input.s, \"\")\n\tsome x in many\n}\n" + strings.Repeat("p contains x if {\n\tstartswith(input.s, \"a\")\n\tsome x in many\n}\n", 8),
		"asked often":          "p := [many | some _ in [1, 2, 3]]",
		"a rule of that name":  "p := many\nstartswith_(x, y) := false\nmany contains 64 if startswith_(input.s, \"a\")",
	}
	inputs := []string{
		`{}`, ``, `7`, `"abc"`, `["abc"]`, `{"s": null}`, `{"s": 7}`, `{"s": ["abc"]}`, `{"s": {"s": "abc"}}`, `{"s": ""}`, `{"s": "a"}`, `{"s": "ab"}`, `{"s": "abc"}`,
		`{"s": "abcd", "l": [1, 2]}`, `{"s": "abx", "l": "ab"}`, `{"s": "b"}`, `{"s": "ü"}`, `{"s": "über"}`, `{"s": "üc"}`, `{"s": "\u00c3"}`, `{"s": "a*b"}`, `{"s": "a\u0000b"}`,
		`{"s": "node_cpu_seconds"}`, `{"s": "Node_"}`, `{"s": "u\u0308b"}`, `{"s": "1"}`, `{"s", "l"}`, `{"l": {"s": "ab"}}`,
	}
	for name, more := range modules {
		t.Run(name, func(t *testing.T) {
			p, err := newPair(t.Context(), wide(more), "x = data.t.p", map[string]any{"d": map[string]any{}})
			if err != nil {
				t.Fatal(err)
			}
			if p.plan == nil {
				t.Fatal(p.linking)
			}
			for _, text := range inputs {
				input := inputOf(t, text)
				want, got := p.reference(t.Context(), input, rego.EvalRuleIndexing(false)), p.planned(t.Context(), input)
				if got.err != nil || differ(want, got) {
					t.Errorf("%s: got %v, want %v", text, got, want)
				}
			}
			broken := ast.NewObject(ast.Item(ast.StringTerm("s"), ast.StringTerm("\xc3"))) // half of ü
			if want, got := p.reference(t.Context(), broken, rego.EvalRuleIndexing(false)), p.planned(t.Context(), broken); differ(want, got) {
				t.Errorf("broken UTF-8: got %v, want %v", got, want)
			}
		})
	}
}

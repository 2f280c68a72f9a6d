package compile_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/westworld-charter/charter/internal/compile"
)

// lint compiles one module beside a library of rules and functions.
func lint(t *testing.T, text string) []string {
	t.Helper()
	library := `package lib
import rego.v1

default allowed := false
allowed if input.x == 1

default doc := {}
doc := {"ok": true} if input.x

sometimes if input.x == 1

default check(_) := false
check(x) if x > 1

partial_check(x) if x > 1

branches := 1 if { input.x } else := 2 if { input.y }

default branched := 0
branched := 1 if { input.x } else := 2 if { input.y }

set contains x if some x in input.xs

constant := {"a": 1}
`
	modules := map[string]*ast.Module{}
	for name, source := range map[string]string{"lib.rego": library, "m.rego": text} {
		m, err := ast.ParseModuleWithOpts(name, source, ast.ParserOptions{RegoVersion: ast.RegoV1, ProcessAnnotation: true})
		if err != nil {
			t.Fatal(err)
		}
		modules[name] = m
	}
	c := ast.NewCompiler()
	if c.Compile(modules); c.Failed() {
		t.Fatal(c.Errors)
	}
	var found []string
	for _, d := range compile.Lint(c) {
		if d.Code != "not_over_undefined" || d.Fix == "" || d.Pos.File != "m.rego" {
			t.Errorf("%+v", d)
		}
		found = append(found, fmt.Sprintf("%d:%d: %s", d.Pos.Line, d.Pos.Col, d.Message))
	}
	return found
}

// Negations of what is always defined are how denials are explained, and stay.
func TestLintAccepts(t *testing.T) {
	for name, body := range map[string]string{
		"rule with a default":              "not data.lib.allowed",
		"imported rule":                    "not lib.allowed",
		"own rule":                         "not own",
		"rule with else and a default":     "not lib.branched",
		"function with a default":          "x := input.x\n\tnot lib.check(x)",
		"function of a constant":           `not lib.check({"a": [1, "b", null, {true}]})`,
		"function of a rule":               "not lib.check(lib.doc)",
		"function of an iterated value":    "some x in input.xs\n\tnot lib.check(x)",
		"function of a comprehension":      "not lib.check([y | some y in input.xs])",
		"function of a function":           "not lib.check(lib.check(1))",
		"value of a rule":                  "a := lib.allowed\n\tnot a",
		"in every":                         "every x in input.xs { not lib.check(x) }",
		"in a comprehension":               "count({x | some x in input.xs; not lib.check(x)}) == 0",
		"with a constant":                  `not lib.allowed with input as {"x": 1}`,
		"with a variable":                  "some x in input.xs\n\tnot lib.allowed with input.x as x",
		"without negation":                 "input.x != 1\n\tlib.sometimes",
		"negation in the words only":       `input.x == "not"`,
		"function of a default and an own": "not both(lib.doc, own)",
	} {
		t.Run(name, func(t *testing.T) {
			if found := lint(t, module("", body)); len(found) > 0 {
				t.Error(found)
			}
		})
	}
}

func module(imports, body string) string {
	return "package m\nimport rego.v1\n" + imports + `import data.lib

default own := false
own if input.own

default both(_, _) := false
both(a, b) if a == b

deny if {
	` + body + `
}
`
}

// Each of these falls open under one or the other reading of negation when what
// it refers to is missing.
func TestLintRefuses(t *testing.T) {
	for name, c := range map[string]struct{ body, says string }{
		"input":                           {"not input.x", "input.x"},
		"input, dynamic":                  {"not input.roles[input.role]", "input.roles"},
		"data":                            {"not data.roles", "data.roles, which is no rule with a default"},
		"data, dynamic":                   {"not data.roles[input.role]", "data.roles"},
		"comparison of data":              {"not data.roles[input.role] >= 2", "built-in function"},
		"comparison of levels":            {"some e in input.entries\n\tnot data.roles[input.role] >= e.level", "built-in function"},
		"equality":                        {"not input.x == 1", "a comparison"},
		"unification":                     {"not input.x = 1", "a comparison"},
		"membership":                      {"not input.x in lib.set", "built-in function"},
		"built-in over input":             {`not startswith(input.x, "a")`, "built-in function startswith"},
		"built-in over a variable":        {`x := input.x` + "\n\t" + `not startswith(x, "a")`, "built-in function startswith"},
		"rule without a default":          {"not lib.sometimes", "data.lib.sometimes"},
		"rule with else, without default": {"not lib.branches", "data.lib.branches"},
		"constant rule":                   {"not lib.constant", "data.lib.constant"},
		"part of a rule with a default":   {"not lib.doc.ok", "data.lib.doc.ok"},
		"member of a set":                 {`not lib.set["a"]`, "data.lib.set"},
		"function without a default":      {"x := 1\n\tnot lib.partial_check(x)", "function data.lib.partial_check"},
		"function of input":               {"not lib.check(input.x)", "argument input.x"},
		"function of data":                {"not lib.check(data.roles[input.role])", "argument data.roles"},
		"function of a rule":              {"not lib.check(lib.sometimes)", "argument data.lib.sometimes"},
		"function of a nested reference":  {`not lib.check({"a": [input.x]})`, "argument"},
		"function of a set of references": {`not lib.check({input.x})`, "argument"},
		"function of a part":              {"x := input.x\n\tnot lib.check(x.y)", "argument"},
		"function of a built-in":          {"not lib.check(to_number(input.x))", "the result of to_number"},
		"function of a function":          {"not lib.check(lib.check(input.x))", "argument"},
		"function without default inside": {"not lib.check(lib.partial_check(1))", "the result of data.lib.partial_check"},
		"variable":                        {"x := input.x\n\tnot x", "variable x"},
		"iterated variable":               {"some x in input.xs\n\tnot x", "variable x"},
		"in every":                        {"every x in input.xs { not x.ok }", "x.ok"},
		"in a comprehension":              {"count([x | some x in input.xs; not x.ok]) > 0", "x.ok"},
		"in a nested comprehension":       {"xs := {y | ys := [z | some z in input.xs; not input.a]; some y in ys}\n\tcount(xs) == 0", "input.a"},
		"with a reference":                {"not lib.allowed with input as data.example", "a value given by with"},
		"with a rule without a default":   {"not lib.allowed with input as lib.sometimes", "a value given by with"},
		"constant":                        {"not false", "false"},
		"comprehension":                   {"not {x | some x in input.xs}", "{"},
	} {
		t.Run(name, func(t *testing.T) {
			text := module("", c.body)
			found := lint(t, text)
			if len(found) != 1 || !strings.Contains(found[0], c.says) {
				t.Fatalf("want one finding that says %q: %q", c.says, found)
			}
			var line, col int
			if _, err := fmt.Sscanf(found[0], "%d:%d:", &line, &col); err != nil {
				t.Fatal(err)
			}
			if source := strings.Split(text, "\n")[line-1]; !strings.Contains(source, "not ") {
				t.Errorf("points at %q", source)
			}
		})
	}
}

// rego.v2 evaluates arguments inside the negation; the same rule holds there.
func TestLintRegoV2(t *testing.T) {
	v2 := func(body string) string {
		return strings.Replace(module("", body), "import rego.v1", "import rego.v2", 1)
	}
	for _, body := range []string{"not lib.allowed", "some x in input.xs\n\tnot lib.check(x)", "not lib.check(lib.doc)", "not { lib.allowed; own }"} {
		if found := lint(t, v2(body)); len(found) > 0 {
			t.Errorf("%s: %q", body, found)
		}
	}
	for _, body := range []string{
		"not data.roles[input.role] >= 2", "not input.x", "not lib.check(input.x)", "not lib.sometimes", "not { lib.allowed; input.x }",
		"not { not input.x }", "x := input.x\n\tnot x == 1",
	} {
		if found := lint(t, v2(body)); len(found) == 0 {
			t.Errorf("%s passes", body)
		}
	}
}

// A negation in an else branch, in a function and in a rule's head is one too.
func TestLintLooksEverywhere(t *testing.T) {
	for name, text := range map[string]string{
		"else":          "a := 1 if { input.a } else := 2 if { not input.b }",
		"function":      "f(x) if { not input.b; x }",
		"function else": "f(x) := 1 if { x } else := 2 if { not x.y }",
		"head":          "a := {x | some x in input.xs; not x.y}",
		"key":           "a contains {x | some x in input.xs; not x.y}",
		"default":       "default a := false\na if not input.b",
		"test":          "test_a if not input.b",
	} {
		t.Run(name, func(t *testing.T) {
			if found := lint(t, "package m\nimport rego.v1\n"+text+"\n"); len(found) != 1 {
				t.Error(found)
			}
		})
	}
}

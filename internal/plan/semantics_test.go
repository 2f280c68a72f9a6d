package plan_test

import (
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
)

// semantics is what rules mean, written by hand: p of a module over data and an input.
// "-" is an undefined input or result, "fallback" that the plan gives up.
var semantics = []struct{ name, module, data, input, want string }{
	{"numbers are compared by value", `p := [1 == 1.0, {1, 1.0} == {1}, {1: "a"}[1.0], 10000000000000000000001 == 10000000000000000000000]`, "", `{}`, `[true, true, "a", false]`},
	{"big numbers keep their digits", `p := 12345678901234567890123456789`, "", `{}`, `12345678901234567890123456789`},
	{"keys that are no text", `p := {1: "a", [2]: "b", {"x"}: "c", null: "d"}[input.k]`, "", `{"k": [2]}`, `"b"`},
	{"sets of sets", `p := {{1, 2}, {2, 1}, set()}`, "", `{}`, `{set(), {1, 2}}`},
	{"a set is asked for elements", `p := {"a", "b"}[input.k]`, "", `{"k": "c"}`, `-`},
	{"an undefined reference", `p := input.a.b.c`, "", `{"a": {"b": 1}}`, `-`},
	{"false is not undefined", `p := x if { x := input.f }`, "", `{"f": false}`, `false`},
	{"false does not hold", `p if input.f`, "", `{"f": false}`, `-`},
	{"null holds", `p if input.n`, "", `{"n": null}`, `true`},
	{"undefined input", `p := "none" if not input`, "", `-`, `"none"`},
	{"undefined input has no fields", `p := "none" if not input.x`, "", `-`, `"none"`},
	{"a failing builtin is undefined", `p := to_number(input.x)`, "", `{"x": "no"}`, `-`},
	{"a failing builtin is false below not", `p if not to_number(input.x)`, "", `{"x": "no"}`, `true`},
	{"division by zero", `p := 1 / input.x`, "", `{"x": 0}`, `-`},

	{"every element", `p if every k, v in input.l { v > k }`, "", `{"l": [1, 2]}`, `true`},
	{"not every element", `p if every v in input.l { v > 1 }`, "", `{"l": [1, 2]}`, `-`},
	{"every element of nothing", `p if every v in input.l { v > 1 }`, "", `{"l": {}}`, `true`},
	{"every element of a scalar", `p if every v in input.l { v > 1 }`, "", `{"l": "abc"}`, `-`},
	{"every element of what is undefined", `p if every v in input.l { v > 1 }`, "", `{}`, `-`},
	{"every in every", `p if every r in input.l { every v in r { v == 1 } }`, "", `{"l": [[1], [], [1, 1]]}`, `true`},

	{"else", "p := 1 if input.x == 1\nelse := 2 if input.x == 2\nelse := 3", "", `{"x": 2}`, `2`},
	{"else of undefined", "p := 1 if input.x == 1\nelse := input.y if input.x == 2\nelse := 3", "", `{"x": 2}`, `3`},
	{"else gives false", "p := false if input.x\nelse := true", "", `{"x": 1}`, `false`},
	{"default", "default p := 7\np := 1 if input.x", "", `{}`, `7`},
	{"default is not for false", "default p := 7\np := false if input.x", "", `{"x": 1}`, `false`},
	{"default of a function", "p := [f(1), f(2)]\ndefault f(_) := 0\nf(x) := 5 if x == 1", "", `{}`, `[5, 0]`},
	{"arguments that do not fit", "p := [y | some x in input.l; y := f(x)]\nf([a, a]) := a\nf({\"k\": v}) := v\nf(7) := 8", "", `{"l": [[1, 1], [1, 2], {"k": 3}, {"k": 3, "l": 1}, 7, 8]}`, `[1, 3, 8]`},
	{"two values", "p := 1 if input.x\np := 2 if input.y", "", `{"x": 1, "y": 1}`, `fallback`},
	{"the same value twice", "p := 1 if input.x\np := 1.0 if input.y", "", `{"x": 1, "y": 1}`, `1`},
	{"a function with two values", "p := f(1)\nf(x) := x\nf(x) := x + 1", "", `{}`, `fallback`},

	{"a partial set", "p contains x if some x in input.l\np contains 9", "", `{"l": [1, 1, 2]}`, `{1, 2, 9}`},
	{"an empty partial set", "p contains x if some x in input.l", "", `{}`, `set()`},
	{"a partial object", "p[k] := v if some k, v in input.l", "", `{"l": ["a", "b"]}`, `{0: "a", 1: "b"}`},
	{"a key with two values", `p["a"] := v if some v in input.l`, "", `{"l": [1, 2]}`, `fallback`},
	{"heads that are references", "p.a[k].c := v if some k, v in input.l\np.b := 1", "", `{"l": {"x": 1, "y": 2}}`, `{"a": {"x": {"c": 1}, "y": {"c": 2}}, "b": 1}`},
	{"sets below a key", "p[k] contains v if {\n\tsome k, l in input.l\n\tsome v in l\n}", "", `{"l": {"x": [1, 2], "y": []}}`, `{"x": {1, 2}}`},
	{"more than a few members", `p := {k: 1 | some k in numbers.range(1, 40)}[33]`, "", `{}`, `1`},

	{"comprehensions see what is outside", `p := [[y | some y in input.l; y > x] | some x in input.l]`, "", `{"l": [1, 2, 3]}`, `[[2, 3], [3], []]`},
	{"an object comprehension with a conflict", `p := {k: v | some v in input.l; k := "a"}`, "", `{"l": [1, 2]}`, `fallback`},
	{"an array used while it grows", `p := [a, b] if { a := [x | some x in input.l]; b := array.concat(a, [x | some x in a]) }`, "", `{"l": [1, 2]}`, `[[1, 2], [1, 2, 1, 2]]`},
	{"walk", `p := {path | walk(input, [path, 1])}`, "", `{"a": [1, {"b": 1}], "c": 2}`, `{["a", 0], ["a", 1, "b"]}`},
	{"template strings", "p := $\"{input.a} and {input.b}\"", "", `{"a": 1}`, `"1 and <undefined>"`},

	{"with input", "p := [x, y, z] if { x := q with input as 7; y := q with input.a as 8; z := q }\nq := input", "", `{"a": 1, "b": 2}`, `[7, {"a": 8, "b": 2}, {"a": 1, "b": 2}]`},
	{"with below no object", "p := x if { x := q with input.a.b as 8 }\nq := input", "", `{"a": [1]}`, `{"a": {"b": 8}}`},
	{"with of undefined input", "p := x if { x := q with input.a as 8 }\nq := input", "", `-`, `{"a": 8}`},
	{"with of an undefined value", "p := x if { x := q with input as input.none }\nq := 1", "", `{}`, `-`},
	{"with ends", "p := [x, y] if { x := q with input as 1; y := input }\nq := input", "", `{"a": 1}`, `[1, {"a": 1}]`},
	{"with and memory", "p := [a, b, c] if { a := q; b := q with input.x as 2; c := q }\nq := input.x", "", `{"x": 1}`, `[1, 2, 1]`},
	{"with data", "p := [x, y] if { x := q with data.d.k as 2; y := q }\nq := data.d.k", `{"d": {"k": 1}}`, `{}`, `[2, 1]`},
	{"with data that rules give", "p := [x, y] if { x := q with data.t.r as 2; y := q }\nq := r\nr := 1", "", `{}`, `[2, 1]`},
	{"with a function", "p := [x, y, z] if { x := q with f as g; y := q with f as 9; z := q }\nq := f(1)\nf(x) := x\ng(x) := x + 1", "", `{}`, `[2, 9, 1]`},
	{"with a builtin", "p := [x, y] if { x := q with count as 9; y := q with count as f }\nq := count([1])\nf(_) := 3", "", `{}`, `[9, 3]`},
	{"with below not", "p if not q with input as {}\nq if input.a", "", `{"a": 1}`, `true`},

	{"not of a rule", "p if not q\nq if input.a", "", `{"a": 1}`, `-`},
	{"not of a call", "p if not f(input.a)\nf(x) if x > 1", "", `{"a": 1}`, `true`},
	{"not of an undefined argument", "p if not f(input.b)\nf(x) if x > 1", "", `{"a": 1}`, `-`},
	{"not of membership", `p if not input.a in {1, 2}`, "", `{"a": 3}`, `true`},
	{"not, with a body, in a loop", "import rego.v2\np contains i if { some i, k in input.l; not { some x in input.m; x == k } }", "", `{"l": ["u", "v", "u"], "m": ["u"]}`, `{1}`},
	{"or", "import rego.v2\np if (input.a or input.b)", "", `{"b": 1}`, `true`},
	{"neither", "import rego.v2\np if (input.a or input.b)", "", `{"b": false}`, `-`},
	{"and", "import rego.v2\np if (input.a and input.b)", "", `{"a": 1, "b": false}`, `-`},

	{"base documents", `p := [data.d.a.b, data.d.l[1]]`, `{"d": {"a": {"b": 1}, "l": [1, 2]}}`, `{}`, `[1, 2]`},
	{"base documents by variables", `p := {k: v | some k; v := data.d[k][input.k]}`, `{"d": {"a": {"b": 1}, "c": {"b": 2}, "e": {}}}`, `{"k": "b"}`, `{"a": 1, "c": 2}`},
	{"base and virtual documents", "p := data.t.m\nm.a := 1\nm.b.c := 2", `{"t": {"m": {"b": {"d": 3}, "e": 4}}}`, `{}`, `{"a": 1, "b": {"c": 2, "d": 3}, "e": 4}`},
	{"rules under variables", "p := [data.t.m[input.k], data.t.m[input.k].x]\nm.a := {\"x\": 1}\nm.b := {\"x\": 2}", "", `{"k": "b"}`, `[{"x": 2}, 2]`},
	{"rules or data under variables", "p := data.t.m[input.k].x\nm.a := {\"x\": 1}", `{"t": {"m": {"b": {"x": 2}}}}`, `{"k": "b"}`, `2`},
	{"keys with a zero byte", `p := [data.d.x.y, data.d["x\u0000y"]]`, `{"d": {"x": {"y": 1}, "x\u0000y": 2}}`, `{}`, `[1, 2]`},

	// What topdown alone knows.
	{"a text as index", `p := data.d["0"]`, `{"d": [7]}`, `{}`, `fallback`},
	{"a text as index, by a variable", `p := data.d[input.k]`, `{"d": [7]}`, `{"k": "0"}`, `fallback`},
	{"a number as key", `p := data.d[1]`, `{"d": {"1": 7}}`, `{}`, `fallback`},
	{"a text as index of the input, which might be data", `p := input.l["0"]`, "", `{"l": [7]}`, `fallback`},
	{"equal keys written twice", `p := {0: 1, data.d: 2}`, `{"d": 0}`, `{}`, `fallback`},
	{"not through rules and data", "p if not data.t.m[input.k].x\nm.a.x := true\nm.b := {\"y\": 1}", "", `{"k": "b"}`, `fallback`},
	{"not of a relation", `p if not walk(input, [["a"], 1])`, "", `{"a": 2}`, `fallback`},
	{"the time", `p := time.now_ns() > 0`, "", `{}`, `fallback`},
}

func TestSemantics(t *testing.T) {
	for _, c := range semantics {
		t.Run(c.name, func(t *testing.T) {
			p, err := newPair(t.Context(), "package t\n\n"+c.module, "x = data.t.p", dataOf(t, c.data))
			if err != nil {
				t.Fatal(err)
			}
			input := inputOf(t, strings.TrimPrefix(c.input, "-"))
			if p.plan == nil {
				if c.want != "fallback" {
					t.Fatal(p.linking)
				}
				return
			}
			want := outcome{}
			if c.want != "-" && c.want != "fallback" {
				want.value = ast.NewSet(ast.MustParseTerm(c.want))
			}
			for range 2 {
				got := p.planned(t.Context(), input)
				switch {
				case c.want == "fallback":
					if got.err == nil {
						t.Errorf("got %v, want that the plan gives up", got)
					}
				case got.err != nil || differ(want, got):
					t.Errorf("got %v, want %v", got, want)
				}
			}
			if reference := p.reference(t.Context(), input); c.want != "fallback" && differ(want, reference) {
				t.Errorf("topdown says %v, want %v", reference, want)
			}
		})
	}
}

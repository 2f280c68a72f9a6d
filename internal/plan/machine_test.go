package plan_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/types"
)

// Builtins of these tests alone: OPA keeps them for the process.
var registerBuiltins = sync.OnceFunc(func() {
	decl := types.NewFunction(types.Args(types.A), types.A)
	rego.RegisterBuiltin1(&rego.Function{Name: "plantest.panic", Decl: decl}, func(_ rego.BuiltinContext, a *ast.Term) (*ast.Term, error) {
		if a.Value.Compare(ast.String("boom")) == 0 {
			panic("boom")
		}
		return a, nil
	})
	rego.RegisterBuiltin1(&rego.Function{Name: "plantest.halt", Decl: decl}, func(_ rego.BuiltinContext, a *ast.Term) (*ast.Term, error) {
		if a.Value.Compare(ast.String("halt")) == 0 {
			return nil, rego.NewHaltError(errors.New("halted"))
		}
		return a, nil
	})
})

func mustPair(t testing.TB, module, data string) *pair {
	t.Helper()
	registerBuiltins()
	p, err := newPair(t.Context(), "package t\n\n"+module, "x = data.t.p", dataOf(t, data))
	if err != nil {
		t.Fatal(err)
	}
	if p.plan == nil {
		t.Fatal(p.linking)
	}
	return p
}

func (p *pair) want(t testing.TB, input, want string) {
	t.Helper()
	expected := outcome{}
	if want != "-" {
		expected.value = ast.NewSet(ast.MustParseTerm(want))
	}
	if got := p.planned(t.Context(), inputOf(t, input)); got.err != nil || differ(expected, got) {
		t.Errorf("%s: got %v, want %v", input, got, expected)
	}
}

// What an evaluation leaves behind when it fails in the middle of things must not be seen
// by the next one.
func TestAfterErrorsAndPanics(t *testing.T) {
	p := mustPair(t, `p := [a, b, c] if {
	a := q
	b := [y | some y in input.l]
	c := {y: 1 | some y in input.l; plantest.halt(y); plantest.panic(y)} with input.z as 1
}

q := input.x

q := input.y
`, "")
	good, want := `{"x": 1, "l": [1, 2]}`, `[1, [1, 2], {1: 1, 2: 1}]`
	for range 3 {
		p.want(t, good, want)
		if got := p.planned(t.Context(), inputOf(t, `{"x": 2, "y": 3, "l": [7]}`)); got.err == nil {
			t.Errorf("two values: %v", got)
		}
		p.want(t, good, want)
		if got := p.planned(t.Context(), inputOf(t, `{"x": 2, "l": [7, "halt", 8]}`)); got.err == nil || !strings.Contains(got.err.Error(), "halted") {
			t.Errorf("a builtin that halts: %v", got)
		}
		p.want(t, good, want)
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			p.planned(t.Context(), inputOf(t, `{"x": 2, "l": [7, "boom", 8]}`))
		}()
		p.want(t, good, want)
		p.want(t, `{"x": 1}`, `[1, [], {}]`)
		p.want(t, "", "-")
	}
}

// An end of the context is noticed wherever an evaluation is.
func TestCancellation(t *testing.T) {
	var calls strings.Builder
	calls.WriteString("p := f0(1)\n")
	for i := range 60 {
		fmt.Fprintf(&calls, "f%d(x) := f%d(x) + f%d(x + 1)\n", i, i+1, i+1)
	}
	calls.WriteString("f60(x) := x\n")
	cause := errors.New("no time left")
	for name, module := range map[string]string{
		"scans":    "p := count([1 | some i in numbers.range(1, 30000); some j in numbers.range(1, 30000); i == j])",
		"calls":    calls.String(),
		"builtins": "p := count(numbers.range(1, 1000000000))",
		"not":      "p if not q\nq if {\n\tsome i in numbers.range(1, 30000)\n\tsome j in numbers.range(1, 30000)\n\ti + j == 0\n}",
	} {
		t.Run(name, func(t *testing.T) {
			p := mustPair(t, module, "")
			ctx, cancel := context.WithTimeoutCause(t.Context(), 30*time.Millisecond, cause)
			defer cancel()
			done := make(chan outcome, 1)
			go func() { done <- p.planned(ctx, ast.NewObject()) }()
			select {
			case got := <-done:
				if !errors.Is(got.err, cause) {
					t.Errorf("got %v, want the cause", got)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("it does not end")
			}
			if got := p.planned(ctx, ast.NewObject()); !errors.Is(got.err, cause) {
				t.Errorf("a context that has ended: got %v, want the cause", got)
			}
		})
	}
}

// Frames of deep calls do not fit into the first stack; what was on it is still there.
func TestStackGrows(t *testing.T) {
	const depth = 300
	var b strings.Builder
	b.WriteString("p := [f0(input.n), f0(1), input.n]\n")
	for i := range depth {
		fmt.Fprintf(&b, "f%d(x) := [a, b, c, d][e] if {\n\ta := x + 1\n\tb := a * 2\n\tc := f%d(a)\n\td := [y | some y in [a, b]]\n\td[0] == a\n\te := 2\n}\n", i, i+1)
	}
	fmt.Fprintf(&b, "f%d(x) := x\n", depth)
	p := mustPair(t, b.String(), "")
	for n := range 4 {
		p.want(t, fmt.Sprintf(`{"n": %d}`, n), fmt.Sprintf("[%d, %d, %d]", n+depth, 1+depth, n))
	}
}

// One query serves everybody at once. Run with -race.
func TestConcurrentUse(t *testing.T) {
	p := mustPair(t, `p := {"l": l, "m": many, "d": data.d[input.k], "all": data.d, "c": {"b": 1, "a": [1, {"z": 2, "y": 1}]}, "w": w} if {
	l := [y | some y in input.l; not y in data.d.none]
	w := q with input.k as "b"
}

q[k] := v if some k, v in data.d

many contains x if {
	some x in input.l
	startswith(x, input.k)
}
`, `{"d": {"a": {"z": 1, "y": [1, 2]}, "b": {"x": {"k": {"b": 1, "a": 2}}}, "none": {"c": "c"}}}`)
	inputs := []string{`{"k": "a", "l": ["a", "b", "c"]}`, `{"k": "b", "l": []}`, `{"k": "none", "l": ["none", "non", 7]}`, `{}`}
	want := make([]outcome, len(inputs))
	for i, input := range inputs {
		if want[i] = p.reference(t.Context(), inputOf(t, input)); want[i].err != nil {
			t.Fatal(want[i].err)
		}
	}
	var workers sync.WaitGroup
	for w := range 8 {
		workers.Go(func() {
			for i := range 100 {
				n := (i + w) % len(inputs)
				got := p.planned(t.Context(), inputOf(t, inputs[n]))
				if got.err != nil || differ(want[n], got) {
					t.Errorf("%s: got %v, want %v", inputs[n], got, want[n])
					return
				}
				_ = got.String() // reads all of it, which results share
			}
		})
	}
	workers.Wait()
}

// Large objects of the base documents stay as they are in the data until all of them is
// wanted; whoever gets one must not notice.
func TestTables(t *testing.T) {
	table := map[string]any{}
	for i := range 1500 {
		table[fmt.Sprintf("r%d", i)] = map[string]any{"n": number(fmt.Sprint(i)), "l": []any{"x"}}
	}
	table["7"] = "seven"
	data := map[string]any{"d": map[string]any{"big": table, "same": table, "small": map[string]any{"a": number("1")}}, "t": map[string]any{"m": map[string]any{"base": table}}}
	for _, module := range []string{
		`p := data.d.big[input.k].n`,
		`p := data.d[input.b][input.k]`,
		`p := object.get(data.d.big, input.k, "none")`,
		`p := object.get(data.d.big, [input.k, "n"], "none")`,
		`p := object.get(data.d.big, ["none"], "none")`,
		`p := object.get(data.d[input.b], 7, "none")`,
		`p := object.get(data.d[input.b], "r2", input.none)`,
		`p := count(data.d.big)`,
		`p := count(data.d)`,
		`p := {k | some k, v in data.d.big; v.n in {3, 5}}`,
		`p if data.d.big == data.d.same`,
		`p if data.d.big != data.d.small`,
		`p := {"a": data.d.big}.a.r3`,
		`p := [data.d.big][0].r3`,
		`p := {data.d.big: 1}[data.d.same]`,
		`p := data.d.big in {data.d.same}`,
		`p := x.r9.n if x := data.d.big`,
		`p := f(data.d.big, "r4")` + "\nf(x, k) := x[k].n",
		`p := q.r5` + "\nq := data.d.big",
		`p := [x, y] if { x := count(q) with data.d.big.extra as 1; y := count(q) }` + "\nq := data.d.big",
		`p := x if { x := data.d.big.r3 with data.d.small as 1 }`,
		`p if every k, v in data.d.big { k; v }`,
		`p := is_object(data.d.big)`,
		`p if { {"a": a} = data.d.big; a }`,
		`p := object.union(data.d.big, {"x": 1}).x`,
		"p := [data.t.m.base.r3, data.t.m.own, count(data.t.m)]\nm.own := 1",
		"p := count(data.t.m.base)\nm.base.own := 1",
		`p := sprintf("%v", [data.d.small])`,
		`p := json.marshal(data.d.big) == json.marshal(data.d.same)`,
		`p := data.d.big["none"]`,
		`p := data.d.big[null]`,
	} {
		t.Run(module, func(t *testing.T) {
			p, err := newPair(t.Context(), "package t\n\n"+module, "x = data.t.p", data)
			if err != nil {
				t.Fatal(err)
			}
			if p.plan == nil {
				t.Fatal(p.linking)
			}
			for _, text := range []string{`{"k": "r7", "b": "big"}`, `{"k": "none", "b": "small"}`, `{"k": ["r7"], "b": "big"}`, `{}`} {
				input := inputOf(t, text)
				want, got := p.reference(t.Context(), input), p.planned(t.Context(), input)
				if got.err != nil || differ(want, got) {
					t.Errorf("%s: got %.200v, want %.200v", text, got, want)
				}
			}
		})
	}
}

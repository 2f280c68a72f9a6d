package plan_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"pgregory.net/rapid"
)

// tally says whether a differential test said anything.
type tally struct{ modules, compiled, linked, asked, answered, defined int }

// compareRandom draws a module, data and inputs, and asks both evaluators.
func compareRandom(t *rapid.T, n *tally) {
	n.modules++
	module, query := drawModule(t)
	data := map[string]any{"d": drawObject(t, 3), "c": constants}
	if rapid.IntRange(0, 4).Draw(t, "more data") == 0 {
		data["t"] = map[string]any{"z": drawJSON(t, 2), "tree": map[string]any{"ü": drawJSON(t, 2)}}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	p, err := newPair(ctx, module, query, data)
	if err != nil {
		return
	}
	n.compiled++
	if p.plan == nil {
		return
	}
	n.linked++
	for range 4 {
		var input ast.Value
		switch rapid.IntRange(0, 9).Draw(t, "input") {
		case 0: // undefined
		case 1:
			input = ast.MustInterfaceToValue(drawJSON(t, 2))
		default:
			object := drawObject(t, 3)
			object["s"] = rapid.SampledFrom(someTexts).Draw(t, "s")
			input = ast.MustInterfaceToValue(object)
		}
		compareOne(ctx, t, p, n, fmt.Sprintf("%s\n# query %s\n# data.d %v data.t %v\n", module, query, ast.MustInterfaceToValue(data["d"]), ast.MustInterfaceToValue(data["t"])), input)
	}
}

func compareOne(ctx context.Context, t *rapid.T, p *pair, n *tally, text string, input ast.Value) {
	want := p.reference(ctx, input)
	for range 2 { // the second time by a machine that has been used
		got := p.planned(ctx, input)
		if errors.Is(want.err, context.DeadlineExceeded) || ctx.Err() != nil {
			return
		}
		n.asked++
		if got.err == nil {
			n.answered++
			if got.value != nil {
				n.defined++
			}
		}
		if differ(want, got) {
			t.Fatalf("%s\n# input %v\n# topdown: %v\n# plan:    %v", text, input, want, got)
		}
	}
}

// Random modules, data and inputs give the same by both evaluators. The short form draws
// the same ones each time, because topdown of OPA 1.22.2 overflows its stack over one module
// in a hundred thousand. CHARTER_LONG=1 draws two hundred thousand others.
func TestPlanIsTopdown(t *testing.T) {
	drawing(t, 600)
	if os.Getenv("CHARTER_LONG") != "" {
		if err := errors.Join(flag.Set("rapid.checks", "200000"), flag.Set("rapid.seed", "0")); err != nil {
			t.Fatal(err)
		}
	}
	var n tally
	rapid.Check(t, func(t *rapid.T) { compareRandom(t, &n) })
	t.Logf("%+v", n)
	if n.compiled*5 < n.modules || n.linked*2 < n.compiled || n.answered*2 < n.asked || n.defined*4 < n.answered {
		t.Errorf("the test says little: %+v", n)
	}
}

// drawing has rapid draw the same n modules each time.
func drawing(t *testing.T, n int) {
	t.Helper()
	if err := errors.Join(flag.Set("rapid.checks", strconv.Itoa(n)), flag.Set("rapid.seed", "11"), flag.Set("rapid.shrinktime", "20s"), flag.Set("rapid.nofailfile", "true")); err != nil {
		t.Fatal(err)
	}
}

func FuzzPlanIsTopdown(f *testing.F) {
	var n tally
	f.Fuzz(rapid.MakeFuzz(func(t *rapid.T) { compareRandom(t, &n) }))
}

// Evaluations share nothing: whatever was asked between, and in whichever order, a query
// answers as one that was never asked before.
func TestNothingLeaksBetweenEvaluations(t *testing.T) {
	drawing(t, 60)
	rapid.Check(t, func(t *rapid.T) {
		module, query := drawModule(t)
		data := map[string]any{"d": drawObject(t, 3), "c": constants}
		used, err := newPair(t.Context(), module, query, data)
		if err != nil || used.plan == nil {
			return
		}
		inputs := make([]ast.Value, 3)
		for i := range inputs {
			inputs[i] = ast.MustInterfaceToValue(drawObject(t, 3))
		}
		for range 8 {
			input := inputs[rapid.IntRange(0, len(inputs)-1).Draw(t, "which")]
			fresh, err := newPair(t.Context(), module, query, data)
			if err != nil {
				t.Fatal(err)
			}
			want, got := fresh.planned(t.Context(), input), used.planned(t.Context(), input)
			if (want.err == nil) != (got.err == nil) || differ(want, got) {
				t.Fatalf("%s\n# input %v\n# fresh: %v\n# used:  %v", module, input, want, got)
			}
		}
	})
}

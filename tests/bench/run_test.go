package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/tests/bench/measure"
)

func TestGoals(t *testing.T) {
	for _, c := range []struct {
		goal  goal
		ratio float64
		text  string
		met   bool
	}{
		{atLeast(5), 5, ">= 5", true},
		{atLeast(5), 4.999, ">= 5", false},
		{atMost(1.3), 1.3, "<= 1.3", true},
		{atMost(1.3), 1.31, "<= 1.3", false},
		{atMost(0), 0, "<= 0", true},
		{atMost(0), 0.0002, "<= 0", false},
	} {
		if got := c.goal.met(c.ratio); got != c.met || c.goal.String() != c.text {
			t.Errorf("goal %v at %v: met %v, want %v", c.goal, c.ratio, got, c.met)
		}
	}
}

// Scripts read these fields.
func TestLine(t *testing.T) {
	r := measure.Result{A: measure.Sample{Nanos: 1_234_567.8}, B: measure.Sample{Nanos: 1000}, Low: 1, High: 2, Rounds: 5}
	text, err := json.Marshal(compared("cold_vs_rival", atLeast(2000), r))
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	for field, want := range map[string]any{
		"name": "cold_vs_rival", "ratio": 1235.0, "a": 1_234_568.0, "b": 1000.0, "rounds": 5.0, "goal_met": false, "unit": "ns CPU per question",
	} {
		if got[field] != want {
			t.Errorf("field %s is %v, want %v", field, got[field], want)
		}
	}
}

func TestRowNames(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range rows() {
		if seen[r.name] {
			t.Errorf("two rows are called %s", r.name)
		}
		seen[r.name] = true
	}
	for _, name := range []string{"cached_vs_cedar_resolved", "cold_flat_10_to_100k", "cached_vs_opa_run_http", "cold_vs_naive_rego_1k", "ledger_closed", "ledger_open"} {
		if !seen[name] {
			t.Errorf("there is no row %s", name)
		}
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{"-rounds", "-1"}, {"-entries", "9"}, {"-only", "("}, {"surplus"}, {"-unknown"}} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), args, &stdout, &stderr); code != 2 || stdout.Len() > 0 || stderr.Len() == 0 {
			t.Errorf("bench %s: exit code %d, said %q", strings.Join(args, " "), code, stderr.String())
		}
	}
}

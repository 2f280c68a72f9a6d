package statedoc_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/compile"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/engine"
	. "github.com/westworld-charter/charter/internal/statedoc"
)

const text = `
apiVersion: charter/v1
kind: Charter
metadata: {name: mesh, version: 1.0.0}
access_levels: [public]
roles: [{name: node_operator, collects: ["*"], reads: ["*"], exports: [public]}]
metrics:
  network: [{id: net.latency, match: [latency], access: public, operations: [collect, read, export]}]
`

func policy(t *testing.T) *engine.Policy {
	t.Helper()
	c, findings := charter.Parse("charter.yaml", []byte(text))
	if findings.HasErrors() {
		t.Fatal(findings)
	}
	b, err := compile.Build(c)
	if err != nil {
		t.Fatal(err)
	}
	p, err := engine.Prepare(t.Context(), b, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// times are what rows may have for one, and instants when they are asked about.
func times() []any {
	return []any{
		nil, "", "soon", 7, "2026-06-02", "2026-06-02T00:00:00Z", "2026-06-02T01:30:00+01:30", "2026-06-03T00:00:00.5Z", "2026-06-03T00:00:00.5", "2026-06-02 00:00:00Z",
		"2026-06-02t00:00:00z", "0001-01-01", "1677-01-01", "1900-01-01", "2261-12-31", "2262-12-31", "9999-12-31T00:00:00Z",
	}
}

func instants() []string {
	return []string{"", "1800-01-01T00:00:00Z", "2026-06-01T00:00:00Z", "2026-06-02T00:00:00Z", "2026-06-03T00:00:00.5Z", "2261-12-31T00:00:00Z"}
}

func row(t *rapid.T, fields map[string][]any) any {
	if rapid.IntRange(0, 9).Draw(t, "garbage") == 0 {
		return rapid.SampledFrom([]any{"suspended", []any{}, 1, true}).Draw(t, "row")
	}
	r := map[string]any{}
	for _, name := range []string{"state", "reason", "until", "export_until"} {
		if values := fields[name]; values != nil {
			if v := rapid.SampledFrom(values).Draw(t, name); v != nil {
				r[name] = v
			}
		}
	}
	return r
}

// permits asks the rules.
func permits(t *rapid.T, p *engine.Policy, section string, row any, operation string, at string) bool {
	with, err := p.WithState(t.Context(), map[string]any{section: map[string]any{"a": row}})
	if err != nil {
		t.Fatal(err)
	}
	d, err := with.Decide(t.Context(), decision.Input{Metric: "latency", Node: "a", Role: "node_operator", Operation: operation, Time: at})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range d.Reasons {
		if r.Clause == "standing" {
			return false
		}
	}
	return true
}

// The rules read a row as it is read here; a join is as strict as both, and what covers
// something permits nothing that it does not.
func TestStandingAgainstTheRules(t *testing.T) {
	p := policy(t)
	fields := map[string][]any{"state": {nil, "", "good", "warned", "suspended", "quarantined", "Good", "pardoned", 7}, "until": times(), "reason": {nil, "v1"}}
	rapid.Check(t, func(t *rapid.T) {
		x, y := row(t, fields), row(t, fields)
		a, b := ReadStanding(x), ReadStanding(y)
		joined, covers := a.Join(b).Row(), a.Covers(b)
		at := rapid.SampledFrom(instants()).Draw(t, "at")
		ask := func(row any) bool { return permits(t, p, StandingSection, row, decision.Collect, at) }
		first, second := ask(x), ask(y)
		if again := ask(a.Row()); again != first {
			t.Fatalf("%v permits %v at %s, and what was read of it, %v, %v", x, first, at, a.Row(), again)
		}
		if got := ask(joined); got != (first && second) {
			t.Fatalf("%v and %v permit %v and %v at %s, both together, %v, %v", x, y, first, second, at, joined, got)
		}
		if covers && first && !second {
			t.Fatalf("%v covers %v, and permits what it does not at %s", x, y, at)
		}
	})
}

func TestRevocationAgainstTheRules(t *testing.T) {
	p := policy(t)
	fields := map[string][]any{"reason": {nil, "legal"}, "until": times(), "export_until": times()}
	rapid.Check(t, func(t *rapid.T) {
		x, y := row(t, fields), row(t, fields)
		a, b := ReadRevocation(x), ReadRevocation(y)
		joined, covers := a.Join(b).Row(), a.Covers(b)
		at := rapid.SampledFrom(instants()).Draw(t, "at")
		for _, operation := range []string{decision.Collect, decision.Export} {
			ask := func(row any) bool { return permits(t, p, RevocationsSection, row, operation, at) }
			first, second := ask(x), ask(y)
			if again := ask(a.Row()); again != first {
				t.Fatalf("%s: %v permits %v at %s, and what was read of it, %v, %v", operation, x, first, at, a.Row(), again)
			}
			if got := ask(joined); got && !(first && second) {
				t.Fatalf("%s: %v and %v permit %v and %v at %s, both together, %v, more", operation, x, y, first, second, at, joined)
			}
			if covers && first && !second {
				t.Fatalf("%s: %v covers %v, and permits what it does not at %s", operation, x, y, at)
			}
		}
	})
}

func TestTime(t *testing.T) {
	for text, want := range map[string]string{
		"2026-06-02": "2026-06-02T00:00:00Z", "2026-06-02T01:30:00+01:30": "2026-06-02T00:00:00Z", "soon": "", "": "", "2262-01-01": "", "1677-12-31": "",
	} {
		at, ok := Time(text)
		if got := Text(at); got != want || ok != (want != "") {
			t.Errorf("%q is %s, want %s", text, got, want)
		}
	}
	if _, ok := Time(7); ok {
		t.Error("a number is a time")
	}
	if at, _ := Time("2026-06-02"); at.Location() != time.UTC {
		t.Error("not in UTC")
	}
}

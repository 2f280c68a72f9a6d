package engine

import (
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/compile"
	"github.com/westworld-charter/charter/internal/decision"
)

// Answers name the lines that people wrote, when these are known, else those of
// the charter in the bundle; hits of the cache and items of a batch, too.
func TestSources(t *testing.T) {
	p := compiled(t, nil)
	c, _ := charter.Load("testdata/cache.yaml")
	written, err := p.WithCharter(c)
	if err != nil {
		t.Fatal(err)
	}
	if written, err = written.WithState(t.Context(), doc{}); err != nil { // which must not forget them
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name                 string
		policy               *Policy
		latency, gps, serial string
	}{
		{"file", written, "testdata/cache.yaml:14", "testdata/cache.yaml:24", "testdata/cache.yaml:25"},
		{"bundle", p, "charter.yaml:" + lineIn(t, c, "net.latency"), "charter.yaml:" + lineIn(t, c, "privacy.location"), "charter.yaml:" + lineIn(t, c, "privacy.serial")},
	} {
		e := active(tc.policy, Options{})
		two := question("node_gps")
		two.Labels = map[string]string{"serial": "1"}
		for range 2 { // evaluated, then from the cache
			if d, _ := e.Decide(t.Context(), question("latency_p50")); d.Source != tc.latency || !d.Allow {
				t.Errorf("%s: %q: %+v", tc.name, d.Source, d)
			}
			d, _ := e.Decide(t.Context(), two)
			if len(d.Reasons) != 2 || d.Source != tc.gps || d.Reasons[0].Source != tc.gps || d.Reasons[1].Source != tc.serial {
				t.Errorf("%s: %+v", tc.name, d)
			}
			if all := e.DecideBatch(t.Context(), []decision.Input{two, two}); all[1].Source != tc.gps || all[1].Reasons[1].Source != tc.serial {
				t.Errorf("%s: batch: %+v", tc.name, all[1])
			}
			if d, _ := e.Decide(t.Context(), question("nothing")); d.Clause != decision.ClauseDefault || d.Source != "" || d.Reasons[0].Source != "" {
				t.Errorf("%s: a clause that is none: %+v", tc.name, d)
			}
		}
		if s := e.Stats(); s.Hits == 0 || s.Mismatches != 0 {
			t.Errorf("%s: %+v", tc.name, s)
		}
	}
	if _, err := p.WithCharter(other(t)); err == nil {
		t.Error("the places of another charter are accepted")
	}
}

// lineIn is the line of an entry in the charter of a bundle.
func lineIn(t *testing.T, c *charter.Charter, id string) string {
	t.Helper()
	b, err := compile.Build(c)
	if err != nil {
		t.Fatal(err)
	}
	flat, _ := b.File(compile.CharterPath)
	embedded, _ := charter.Parse("x", flat)
	pos, ok := embedded.Place(id)
	lines := strings.Split(string(flat), "\n")
	if !ok || !strings.Contains(lines[pos.Line-1], id) {
		t.Fatalf("%s at %v", id, pos)
	}
	return strings.TrimPrefix(pos.String()[:strings.LastIndex(pos.String(), ":")], "x:")
}

func other(t *testing.T) *charter.Charter {
	t.Helper()
	c, findings := charter.Load(filepath.Join("..", "..", "policies", "base", "charter.yaml"))
	if c == nil {
		t.Fatal(findings)
	}
	return c
}

// What a decision shares with others stays as it is.
func TestLocateDoesNotModify(t *testing.T) {
	p := compiled(t, nil)
	reason := decision.Reason{Code: decision.CodeForbiddenMetric, Clause: "privacy.location"}
	d := decision.Decision{Clause: "privacy.location", Reasons: []decision.Reason{reason}, WouldDeny: &decision.Decision{Clause: "net.latency", Reasons: []decision.Reason{reason}}}
	inner := *d.WouldDeny
	located := p.Locate(d)
	if located.Source == "" || located.Reasons[0].Source == "" || located.WouldDeny.Source == "" || located.WouldDeny.Reasons[0].Source != located.Source {
		t.Errorf("%+v", located)
	}
	if d.Source != "" || !slices.Equal(d.Reasons, []decision.Reason{reason}) || !reflect.DeepEqual(*d.WouldDeny, inner) || inner.Reasons[0].Source != "" {
		t.Errorf("modified: %+v", d)
	}
}

// An inspection reads what decides, state included, and says when there is
// nothing.
func TestInspect(t *testing.T) {
	p := compiled(t, doc{"standing": doc{"edge-1": doc{"state": "suspended"}}})
	i, err := p.Inspect(t.Context(), "data.charter.standing.clear")
	if err != nil {
		t.Fatal(err)
	}
	for node, want := range map[string]bool{"edge-1": false, "edge-2": true} {
		got := !want
		if err := i.Eval(t.Context(), with(func(in *decision.Input) { in.Node = node }), &got); err != nil || got != want {
			t.Errorf("%s: %t, %v", node, got, err)
		}
	}
	if i, err = p.Inspect(t.Context(), "data.charter.nothing"); err != nil {
		t.Fatal(err)
	}
	var got any
	if err := i.Eval(t.Context(), question("latency_p50"), &got); err != ErrUndefined { //nolint:errorlint // exactly that
		t.Errorf("%v, %v", got, err)
	}
	if _, err := p.Inspect(t.Context(), "http.send({})"); err == nil {
		t.Error("an inspection has builtins that bundles do not have")
	}
}

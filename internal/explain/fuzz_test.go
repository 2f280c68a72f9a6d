package explain_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/explain"
)

// Whatever is asked: there is an explanation of bounded size, it agrees with the
// decision, and what it suggests is allowed.
func FuzzExplain(f *testing.F) {
	f.Add("node_network_up", "edge-1", "public", "read", "billing", "61d", "client_ip,geo_lat", "mtls")
	f.Add("gps_fix", "", "auditor", "read", "", "", "", "seat")
	f.Add("a\xff", "edge-1", "ghost", "steal", "x", "0d", "\x00", strings.Repeat("c", 600))
	f.Add("shadow_x", "edge-13", "responder", "export", "operations", "999999y", "serial,latitude,user", "")
	e := active(f, object{"standing": object{"edge-8": object{"state": "suspended"}}})
	x := explainer(e)
	f.Fuzz(func(t *testing.T, metric, node, role, operation, purpose, retention, names, claims string) {
		in := decision.Input{Metric: metric, Node: node, Role: role, Operation: operation, Purpose: purpose, Retention: retention, Time: "2026-06-01"}
		if in.Labels = labels(strings.Split(names, ",")...); len(in.Labels) > decision.MaxLabels {
			t.Skip()
		}
		if in.Claims = strings.Split(claims, ","); len(in.Claims) > decision.MaxClaims {
			t.Skip()
		}
		d, err := e.Decide(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		got, err := x.Explain(t.Context(), in, d, nil)
		if err != nil {
			t.Fatal(err)
		}
		unmet := slices.ContainsFunc(got.Steps, func(s explain.Step) bool { return !s.Met })
		if unmet == (d.Outcome == decision.Allowed) || got.Search != nil && got.Search.Evaluations > explain.MaxEvaluations {
			t.Errorf("%+v: %+v", d, got)
		}
		if got.Change != nil {
			if after, err := e.Decide(t.Context(), got.Change.Apply(in)); err != nil || after.Outcome != decision.Allowed {
				t.Errorf("%+v is not allowed: %+v", got.Change, after)
			}
		}
		question, _ := json.Marshal(in)
		if text, err := json.Marshal(got); err != nil || len(text) > 16<<10+8*len(question) {
			t.Errorf("%d bytes for %d: %v", len(text), len(question), err)
		}
	})
}

func BenchmarkExplain(b *testing.B) {
	e := active(b, nil)
	x := explainer(e)
	for name, in := range map[string]decision.Input{
		"allowed": ask(func(*decision.Input) {}),
		"one":     ask(func(in *decision.Input) { in.Claims = nil }),
		"none":    ask(func(in *decision.Input) { in.Node = "lone" }),
	} {
		b.Run(name, func(b *testing.B) {
			d, err := e.Decide(b.Context(), in)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if _, err := x.Explain(b.Context(), in, d, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

package engine

import (
	"testing"

	"github.com/westworld-charter/charter/internal/decision"
)

// What is said about one node by name is kept apart from all others, and ends when
// it says so.
func TestMentionedNodes(t *testing.T) {
	p := compiled(t, doc{
		"standing": doc{
			"edge-2": doc{"state": "suspended", "until": "2026-04-01"},
			"edge-3": doc{"state": "suspended", "until": "2026-05-01T00:00:00Z"},
			"edge-4": doc{"state": "warned"},
		},
		"revocations": doc{
			"edge-2": doc{"until": "2026-05-01"},
			"edge-9": doc{"export_until": "2026-04-01", "until": "2026-05-01"},
		},
		"overrides": doc{"o-1": doc{"clauses": []any{"net.latency"}, "nodes": []any{"edge-6"}, "until": "2026-04-01"}},
	})
	e := active(p, Options{})
	for _, tc := range []struct {
		node, time, outcome string
	}{
		{"edge-2", "2026-03-01", decision.Suspended},
		{"edge-2", "2026-04-01", decision.Denied}, // revoked
		{"edge-2", "2026-05-01", decision.Allowed},
		{"edge-3", "2026-03-01", decision.Suspended},
		{"edge-3", "2026-04-30T23:59:59Z", decision.Suspended},
		{"edge-3", "2026-05-01", decision.Allowed},
		{"edge-4", "2026-03-01", decision.Allowed},
		{"edge-6", "2026-03-01", decision.Allowed},
		{"edge-13", "2026-03-01", decision.Denied}, // by the charter
	} {
		for range 2 {
			before := e.Stats()
			d, err := e.Decide(t.Context(), with(func(in *decision.Input) { in.Node, in.Time = tc.node, tc.time }))
			if err != nil || d.Outcome != tc.outcome {
				t.Errorf("%s at %s: %s, %v", tc.node, tc.time, d.Outcome, err)
			}
			if after := e.Stats(); after.Bypassed != before.Bypassed {
				t.Errorf("%s at %s is not cached", tc.node, tc.time)
			}
		}
	}
}

// A revoked node exports until its window ends, and again when its revocation does;
// the answers of these times are kept apart.
func TestMentionedWindow(t *testing.T) {
	e := active(compiled(t, doc{"revocations": doc{
		"edge-9": doc{"export_until": "2026-04-01", "until": "2026-05-01"},
		"edge-8": doc{"export_until": "soon"},
	}}), Options{})
	for range 2 {
		for _, tc := range []struct {
			node, time, outcome string
			cached              bool
		}{
			{"edge-9", "2026-03-31T23:59:59.999999999Z", decision.Allowed, true},
			{"edge-9", "2026-04-01T00:00:00Z", decision.Denied, true},
			{"edge-9", "2026-04-30", decision.Denied, true},
			{"edge-9", "2026-05-01", decision.Allowed, true},
			{"edge-8", "2026-03-01", decision.Denied, false},
		} {
			before := e.Stats()
			d, err := e.Decide(t.Context(), decision.Input{Metric: "own", Role: "exporter", Operation: decision.Export, Node: tc.node, Time: tc.time})
			if err != nil || d.Outcome != tc.outcome {
				t.Errorf("%s at %s: %s, %v", tc.node, tc.time, d.Outcome, err)
			}
			if after := e.Stats(); (after.Bypassed == before.Bypassed) != tc.cached {
				t.Errorf("%s at %s: cached is not %v", tc.node, tc.time, tc.cached)
			}
		}
	}
}

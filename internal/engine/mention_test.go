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
		"revocations": doc{"edge-2": doc{"until": "2026-05-01"}},
		"overrides":   doc{"o-1": doc{"clauses": []any{"net.latency"}, "nodes": []any{"edge-6"}, "until": "2026-04-01"}},
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

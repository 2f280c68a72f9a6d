package metrics_test

import (
	"context"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/decision"
)

// What counting adds to every decision, and to every forbidden one.
func BenchmarkDecided(b *testing.B) {
	m := used()
	in := &decision.Input{Metric: "latency_p50", Node: "edge-1", Operation: decision.Collect}
	for name, d := range map[string]decision.Decision{
		"allowed": {Allow: true, Outcome: decision.Allowed, Mode: decision.Enforce}, "forbidden": {Outcome: decision.Forbidden, Mode: decision.Enforce},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				m.Decided(context.Background(), in, &d, 40*time.Microsecond)
			}
		})
	}
}

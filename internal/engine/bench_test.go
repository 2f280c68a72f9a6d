package engine_test

import (
	"fmt"
	"testing"

	"github.com/westworld-charter/charter/internal/engine"
)

// The cost of a decision must not grow with the charter: compare the sizes of
// one kind, not absolute times.
func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{10, 1000, 100_000} {
		p := mini{exact: n, globs: min(n, 1000)}.policy(b, nil)
		for kind, metric := range map[string]string{"exact": "m_7", "glob": "g_7_x", "unknown": "speed"} {
			b.Run(fmt.Sprintf("%s/n=%d", kind, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := p.Decide(b.Context(), ask(metric)); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkPrepare(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		bundle := mini{exact: n, globs: 1000}.bundle(b)
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := engine.Prepare(b.Context(), bundle, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkWithState(b *testing.B) {
	p := mini{exact: 100_000, globs: 1000}.policy(b, nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.WithState(b.Context(), map[string]any{"sequence": 1}); err != nil {
			b.Fatal(err)
		}
	}
}

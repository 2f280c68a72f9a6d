package rollout

import (
	"testing"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/engine"
)

// Without a candidate a hit of the cache must cost what it costs in the engine.
func TestNoCandidateCostsNothing(t *testing.T) {
	e := engine.NewWith(engine.Options{VerifyEvery: -1}) // a hit in 1,024 would be evaluated, too
	e.Swap(edited(t))
	r, in := New(e, Options{}), collect("load", "n1")
	in.Labels = map[string]string{"cpu": "0"}
	bare := testing.AllocsPerRun(1000, func() { _, _ = e.Decide(t.Context(), in) })
	through := testing.AllocsPerRun(1000, func() { _, _ = r.Decide(t.Context(), in) })
	if through > bare {
		t.Errorf("%g allocations, and %g in the engine alone", through, bare)
	}
	if err := r.Offer(widened(t), 0); err != nil {
		t.Fatal(err)
	}
	if err := r.Stop(Stop{Code: Operator}); err != nil {
		t.Fatal(err)
	}
	if stopped := testing.AllocsPerRun(1000, func() { _, _ = r.Decide(t.Context(), in) }); stopped > bare {
		t.Errorf("%g allocations after a candidate, and %g before", stopped, bare)
	}
	r.Close()
	if n := testing.AllocsPerRun(1000, func() { decision.Bucket(digestA, "edge-1") }); n > 0 {
		t.Errorf("%g allocations to find out who answers", n)
	}
}

func BenchmarkDecide(b *testing.B) {
	e := engine.NewWith(engine.Options{VerifyEvery: -1})
	e.Swap(edited(b))
	r, in := New(e, Options{Engine: engine.Options{VerifyEvery: -1}}), collect("load", "n1")
	b.Cleanup(r.Close)
	ctx := b.Context()
	b.Run("engine alone", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = e.Decide(ctx, in)
		}
	})
	through := func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = r.Decide(ctx, in)
		}
	}
	b.Run("no candidate", through)
	for name, percent := range map[string]int{"shadow": 0, "canary": 100} {
		if err := r.Offer(widened(b), percent); err != nil {
			b.Fatal(err)
		}
		b.Run(name, through)
	}
}

package engine

import (
	"context"
	"fmt"
	"testing"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/space"
)

func BenchmarkCache(b *testing.B) {
	ask := func(o Options, edit func(*decision.Input)) func(*testing.B) {
		return func(b *testing.B) {
			s := active(compiled(b, nil), o).active.Load()
			in := question("node_cpu_seconds_total")
			in.Labels = map[string]string{"cpu": "0", "mode": "idle"}
			edit(&in)
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := s.decide(b.Context(), &in); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	b.Run("hit", ask(Options{VerifyEvery: -1}, func(*decision.Input) {}))
	b.Run("hit, verified by the way", ask(Options{}, func(*decision.Input) {}))
	b.Run("hit of a question that is not remembered", func(b *testing.B) {
		s, in := active(compiled(b, nil), Options{VerifyEvery: -1}).active.Load(), question("node_cpu_seconds_total")
		b.ReportAllocs()
		for b.Loop() {
			k, _ := s.key(&in)
			if _, err := s.recall(b.Context(), k, &in); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("off", ask(Options{CacheSize: -1}, func(*decision.Input) {}))
	b.Run("bypass", ask(Options{}, func(in *decision.Input) { in.Node = "edge-13" }))
	b.Run("miss", func(b *testing.B) {
		s := active(compiled(b, nil), Options{}).active.Load()
		in := question("node_cpu_seconds_total")
		k, _ := s.key(&in)
		b.ReportAllocs()
		for b.Loop() {
			s.answers.Invalidate(k)
			if _, _, err := s.decide(b.Context(), &in); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("key", func(b *testing.B) {
		y, in := compiled(b, nil).keys, question("node_cpu_seconds_total")
		b.ReportAllocs()
		for b.Loop() {
			y.key(&in)
		}
	})
	b.Run("parallel hits", func(b *testing.B) {
		s := active(compiled(b, nil), Options{VerifyEvery: -1}).active.Load()
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				in := question([...]string{"node_cpu_x", "latency_p50", "node_load", "aa_x"}[i%4])
				_, _, _ = s.decide(context.Background(), &in)
			}
		})
	})
	b.Run("engine", func(b *testing.B) {
		e, in := active(compiled(b, nil), Options{}), question("node_cpu_x")
		b.ReportAllocs()
		for b.Loop() {
			_, _ = e.Decide(b.Context(), in)
		}
	})
}

func BenchmarkBatch(b *testing.B) {
	p := compiled(b, nil)
	questions := make([]decision.Input, 1000)
	for i := range questions {
		questions[i] = question([...]string{"node_cpu_%d", "aa_%d", "latency_p%d", "gps_%d"}[i%4])
		questions[i].Metric = fmt.Sprintf(questions[i].Metric, i)
	}
	for name, o := range map[string]Options{"cached": {}, "off": {CacheSize: -1}} {
		b.Run(name, func(b *testing.B) {
			e := active(p, o)
			b.ReportAllocs()
			for b.Loop() {
				e.DecideBatch(b.Context(), questions)
			}
		})
	}
}

// Finding the class of a name that is not remembered, among 1,000 globs.
func BenchmarkClass(b *testing.B) {
	c := &classes{table: map[string]any{}, memo: newMemo[uint32](memoSize)}
	var globs []space.Glob
	for i := range 1000 {
		glob, err := space.ParseGlob(fmt.Sprintf("family_%d_*", i))
		if err != nil {
			b.Fatal(err)
		}
		globs = append(globs, glob)
		c.rows = append(c.rows, uint32(i))
		c.table[fmt.Sprintf("metric_%d", i)] = map[string]any{"only": "net.a", "clauses": map[string]any{"net.a": true}}
	}
	c.globs = space.NewIndex(globs)
	for _, name := range []string{"family_77_x", "metric_77", "unknown_metric_name_total"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.resolve(name)
			}
		})
	}
	b.Run("remembered", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c.of("family_77_x")
		}
	})
}

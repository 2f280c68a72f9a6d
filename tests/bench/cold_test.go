package main

import (
	"testing"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/engine"
	"github.com/westworld-charter/charter/tests/bench/measure"
	"github.com/westworld-charter/charter/tests/bench/rival"
	"github.com/westworld-charter/charter/tests/bench/workload"
)

// BenchmarkCold is for profiles: what each kind of answer costs without a cache.
func BenchmarkCold(b *testing.B) {
	s := workload.New(1000)
	c, err := rival.NewCharter(b.Context(), s)
	if err != nil {
		b.Fatal(err)
	}
	kinds := map[string][]decision.Input{}
	for _, in := range s.Uniform(2000) {
		d, err := c.Policy.Decide(b.Context(), in)
		if err != nil {
			b.Fatal(err)
		}
		kind := d.Outcome
		if d.Allow {
			kind += "_" + in.Operation
		}
		kinds[kind] = append(kinds[kind], in)
	}
	for kind, questions := range kinds {
		b.Run(kind, func(b *testing.B) { repeat(b, asking(c.Cold, questions), len(questions)) })
	}
}

// BenchmarkHit is the same for answers from the cache. Unknown metrics stand
// apart: the engine looks for what they were meant to be.
func BenchmarkHit(b *testing.B) {
	s := workload.New(1000)
	c, err := rival.NewCharter(b.Context(), s)
	if err != nil {
		b.Fatal(err)
	}
	e := engine.New()
	e.Swap(c.Policy)
	known, unknown := []decision.Input{}, []decision.Input{}
	for _, in := range s.Scrape() {
		d, err := e.Decide(b.Context(), in)
		if err != nil {
			b.Fatal(err)
		}
		switch d.Outcome {
		case decision.UnknownMetric:
			unknown = append(unknown, in)
		case decision.Allowed:
			known = append(known, in)
		}
	}
	b.Run("known", func(b *testing.B) { repeat(b, asking(deciding(e), known), len(known)) })
	b.Run("unknown", func(b *testing.B) { repeat(b, asking(deciding(e), unknown), len(unknown)) })
}

// repeat asks the questions of a side in turn.
func repeat(b *testing.B, side measure.Side, n int) {
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if err := side.Ask(b.Context(), i%n); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

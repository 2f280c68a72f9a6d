package main

import (
	"context"
	"slices"

	"github.com/westworld-charter/charter/tests/bench/measure"
	"github.com/westworld-charter/charter/tests/bench/rival"
	"github.com/westworld-charter/charter/tests/bench/workload"
)

// row is one comparison. It gives one line, sometimes more.
type row struct {
	name    string
	short   bool // part of the short run
	measure func(ctx context.Context, b *bench) ([]line, error)
}

// rows returns all comparisons in the order in which they are made, those that
// share a charter together: the large charter comes last, and the ledger, which
// needs none, before any takes memory. Goals hold for one run on one machine.
func rows() []row {
	return slices.Concat(ledgerRows(), inProcess(), cachedRows(), httpRows(), largeRows())
}

// inProcess compares without the cache and without HTTP.
func inProcess() []row {
	perMetric := plain(rival.CedarPerMetric)
	like := plain(rival.CedarLike)
	resolved := plain(rival.CedarResolved)
	casbin := plain(rival.Casbin)
	return []row{
		cold("cold_vs_naive_rego_10", 10, goal{}, false, naive),
		cold("cold_vs_naive_rego_1k", 1000, atLeast(200), true, naive),
		cold("cold_vs_raw_query", 1000, goal{}, true, raw),
		cold("cold_vs_cedar_per_metric_1k", 1000, atLeast(5), true, perMetric),
		cold("cold_vs_cedar_entities_like", 1000, atLeast(3), true, like),
		// At most eight times slower.
		cold("cold_vs_cedar_resolved", 1000, atLeast(0.125), true, resolved),
		cold("cold_vs_casbin_1k", 1000, atLeast(20), true, casbin),
	}
}

// largeRows are about 100,000 metrics.
func largeRows() []row {
	perMetric := plain(rival.CedarPerMetric)
	like := plain(rival.CedarLike)
	resolved := plain(rival.CedarResolved)
	casbin := plain(rival.Casbin)
	return []row{
		{"cold_flat_10_to_100k", true, flat},
		{"load_activate_100k", true, loadActivate},
		{"hit_rate_uniform", true, hitRateUniform},
		cold("cold_vs_naive_rego_100k", 100_000, atLeast(2500), false, naive),
		cold("cold_vs_cedar_per_metric_100k", 100_000, atLeast(1000), false, perMetric),
		cold("cold_vs_cedar_entities_like_100k", 100_000, goal{}, false, like),
		cold("cold_vs_cedar_resolved_100k", 100_000, goal{}, false, resolved),
		cold("cold_vs_casbin_100k", 100_000, atLeast(1000), false, casbin),
	}
}

// maker builds a rival for a subject.
type maker func(ctx context.Context, s *subject) (rival.Decider, error)

func plain(f func(*workload.Spec) (rival.Decider, error)) maker {
	return func(_ context.Context, s *subject) (rival.Decider, error) { return f(s.spec) }
}

func naive(ctx context.Context, s *subject) (rival.Decider, error) { return rival.Naive(ctx, s.spec) }

func raw(ctx context.Context, s *subject) (rival.Decider, error) { return rival.Raw(ctx, s.Bundle) }

// cold compares a rival with our engine without its cache, on the uniform
// workload.
func cold(name string, n int, g goal, short bool, rivalOf maker) row {
	return row{name, short, func(ctx context.Context, b *bench) ([]line, error) {
		s, err := b.subject(ctx, n)
		if err != nil {
			return nil, err
		}
		d, err := rivalOf(ctx, s)
		if err != nil {
			return nil, err
		}
		if err := rival.Agree(ctx, s.uniform[:measure.Block], s.Cold, d); err != nil {
			return nil, err
		}
		result, err := measure.Compare(ctx, b.plan(len(s.uniform)), asking(d, s.uniform), asking(s.Cold, s.uniform))
		if err != nil {
			return nil, err
		}
		l := compared(name, g, result)
		l.Note = s.note()
		return []line{l}, nil
	}}
}

// flat compares our engine over 100,000 metrics with itself over 10: the size of
// a charter should not show.
func flat(ctx context.Context, b *bench) ([]line, error) {
	small, err := b.subject(ctx, 10)
	if err != nil {
		return nil, err
	}
	large, err := b.subject(ctx, 100_000)
	if err != nil {
		return nil, err
	}
	result, err := measure.Compare(ctx, b.plan(questions), asking(large.Cold, large.uniform), asking(small.Cold, small.uniform))
	if err != nil {
		return nil, err
	}
	cpu := compared("cold_flat_10_to_100k", atMost(1.3), result)
	cpu.Note = large.note()
	allocs := line{
		Name: "cold_flat_allocs_10_to_100k", Ratio: round(result.A.Allocs / result.B.Allocs),
		A: round(result.A.Allocs), B: round(result.B.Allocs), Rounds: result.Rounds, Unit: "allocations per question", Note: large.note(),
	}.judged(atMost(1.05))
	return []line{cpu, allocs}, nil
}

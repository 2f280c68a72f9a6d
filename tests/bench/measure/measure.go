// Package measure compares what two things cost, side by side.
//
// Call [Compare] with two sides. It runs them in turn, A B A B, so that whatever
// disturbs the machine disturbs both, and reports medians over the rounds.
// Costs are CPU time of a process, not time on the wall: machines are shared,
// and a process that waits for its turn has not become more expensive.
package measure

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"
)

// Block is the number of questions that are asked together: one of each kind in
// the proportions of the workload. Sides ask whole blocks, so that a slow side
// that asks few and a fast one that asks many ask the same mixture.
const Block = 20

// Side is one of two things that are compared.
type Side struct {
	// Ask asks question i of the workload. Its cost is what is measured.
	Ask func(ctx context.Context, i int) error
	// CPU is the clock of the process that does the work.
	CPU Clock
	// Each is how many questions one call of Ask answers; 0 is 1.
	Each int
	// Steps is how many calls make a block; 0 is Block.
	Steps int
	// Warm is how many calls are made before the first round and not measured.
	Warm int
}

// Plan says how long to measure.
type Plan struct {
	Rounds int           // of each side
	Target time.Duration // CPU time that one round of one side should take at least
	// Questions is how many there are; the index given to Ask stays below.
	Questions int
}

// Sample is the cost of one question in one round.
type Sample struct {
	Nanos  float64 // CPU time in nanoseconds
	Allocs float64 // heap allocations of this process
}

// Result holds the medians of both sides. Low and High are the least and the
// greatest ratio of costs, A over B, of any single round.
type Result struct {
	A, B      Sample
	Low, High float64
	Rounds    int
}

// Ratio is the cost of A as a multiple of that of B.
func (r Result) Ratio() float64 { return r.A.Nanos / r.B.Nanos }

// Compare measures both sides in turn.
func Compare(ctx context.Context, p Plan, a, b Side) (Result, error) {
	runA, err := newRun(ctx, p, a)
	if err != nil {
		return Result{}, err
	}
	runB, err := newRun(ctx, p, b)
	if err != nil {
		return Result{}, err
	}
	for range p.Rounds {
		for _, r := range []*run{runA, runB} {
			if err := r.round(ctx); err != nil {
				return Result{}, err
			}
		}
	}
	return summarize(runA.samples, runB.samples), nil
}

func summarize(a, b []Sample) Result {
	ratios := make([]float64, min(len(a), len(b)))
	for i := range ratios {
		ratios[i] = a[i].Nanos / b[i].Nanos
	}
	return Result{A: median(a), B: median(b), Low: slices.Min(ratios), High: slices.Max(ratios), Rounds: len(ratios)}
}

func median(samples []Sample) Sample {
	nanos, allocs := make([]float64, len(samples)), make([]float64, len(samples))
	for i, s := range samples {
		nanos[i], allocs[i] = s.Nanos, s.Allocs
	}
	return Sample{Median(nanos), Median(allocs)}
}

// Median returns the middle value, the mean of the two middle ones of an even
// number, and 0 of none. It leaves values as they are.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	half := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[half]
	}
	return (sorted[half-1] + sorted[half]) / 2
}

// run is one side under way.
type run struct {
	Side
	plan    Plan
	blocks  int // per round
	next    int // question
	samples []Sample
}

// newRun finds out how many blocks fill a round.
func newRun(ctx context.Context, p Plan, s Side) (*run, error) {
	r := &run{Side: s, plan: p, blocks: 1}
	r.Each, r.Steps = max(r.Each, 1), max(r.Steps, 0)
	if r.Steps == 0 {
		r.Steps = Block
	}
	for range r.Warm {
		if err := r.ask(ctx); err != nil {
			return nil, err
		}
	}
	for {
		spent, err := r.blocksCPU(ctx)
		if err != nil {
			return nil, err
		}
		if spent*2 >= p.Target {
			return r, nil
		}
		grow := min(max(float64(p.Target)/float64(max(spent, time.Microsecond)), 2), 20)
		r.blocks = int(float64(r.blocks) * grow)
	}
}

func (r *run) ask(ctx context.Context) error {
	if err := r.Ask(ctx, r.next); err != nil {
		return fmt.Errorf("question %d: %w", r.next, err)
	}
	r.next = (r.next + r.Each) % r.plan.Questions
	return nil
}

func (r *run) blocksCPU(ctx context.Context) (time.Duration, error) {
	start, err := r.CPU()
	if err != nil {
		return 0, err
	}
	for range r.blocks * r.Steps {
		if err := r.ask(ctx); err != nil {
			return 0, err
		}
	}
	end, err := r.CPU()
	return end - start, err
}

// round starts with a clean heap, so that no side pays for garbage of the other.
func (r *run) round(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	spent, err := r.blocksCPU(ctx)
	if err != nil {
		return err
	}
	runtime.ReadMemStats(&after)
	asked := float64(r.blocks * r.Steps * r.Each)
	r.samples = append(r.samples, Sample{
		Nanos:  float64(spent.Nanoseconds()) / asked,
		Allocs: float64(after.Mallocs-before.Mallocs) / asked,
	})
	return nil
}

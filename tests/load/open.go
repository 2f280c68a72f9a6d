package main

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// workers bounds the questions under way. When all wait for answers, questions
// start late, and their latency counts from when they were due all the same.
const workers = 512

// target asks question i and judges the answer.
type target interface {
	ask(ctx context.Context, i int) verdict
}

// verdict is what became of one question. Both are "" when all is well.
type verdict struct {
	wrong   string // what is wrong with the answer
	trouble string // why there is no answer
}

// result is what was measured. Lists are sorted when the load is over.
type result struct {
	latency []time.Duration // from when a question was due to its answer
	late    []time.Duration // from when it was due to when it was sent
	reloads []time.Duration
	wrong   int
	failed  int
	sample  string  // the first wrong answer
	trouble string  // the first error
	cores   float64 // that the server kept busy, its start included
}

// flood asks rate questions a second for a time.
func flood(ctx context.Context, t target, rate int, duration time.Duration) *result {
	total := int(duration.Seconds() * float64(rate))
	r := &result{latency: make([]time.Duration, total), late: make([]time.Duration, total)}
	var next atomic.Int64
	var mu sync.Mutex // guards the counts of r
	var all sync.WaitGroup
	start := time.Now()
	for range min(workers, total) {
		all.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= total {
					return
				}
				due := start.Add(time.Duration(i) * time.Second / time.Duration(rate))
				if !until(ctx, due) {
					return
				}
				r.late[i] = time.Since(due)
				v := t.ask(ctx, i)
				r.latency[i] = time.Since(due)
				if v != (verdict{}) {
					mu.Lock()
					r.blame(v)
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	slices.Sort(r.latency)
	slices.Sort(r.late)
	return r
}

func (r *result) blame(v verdict) {
	if v.wrong != "" {
		if r.wrong++; r.wrong == 1 {
			r.sample = v.wrong
		}
	}
	if v.trouble != "" {
		if r.failed++; r.failed == 1 {
			r.trouble = v.trouble
		}
	}
}

// until waits for a time; false when ctx ended before.
func until(ctx context.Context, due time.Time) bool {
	wait := time.Until(due)
	if wait <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// quantile is the smallest of the sorted values that the share q of all does not
// exceed; 0 of none.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(q*float64(len(sorted))+0.999999) - 1
	return sorted[min(max(rank, 0), len(sorted)-1)]
}

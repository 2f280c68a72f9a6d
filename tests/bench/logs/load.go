package logs

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Plan says how to load a log.
type Plan struct {
	First int // the number of the first entry
	// Warm comes before Span and is not counted: what a log does behind its back,
	// it does all the time in Span.
	Warm, Span time.Duration
}

// Closed has writers append, each one entry after the other. Rate is how many
// entries a second were acknowledged within the span.
func Closed(ctx context.Context, l Log, p Plan, writers int) (acks []Ack, rate float64, err error) {
	type tally struct {
		acks    []Ack
		counted int
		err     error
	}
	tallies := make([]tally, writers)
	end := p.Warm + p.Span
	var next atomic.Int64
	next.Store(int64(p.First))
	begin := time.Now()
	var group sync.WaitGroup
	for i := range tallies {
		t := &tallies[i]
		group.Go(func() {
			for time.Since(begin) < end {
				n := int(next.Add(1)) - 1
				index, err := l.Append(ctx, Entry(n))
				if err != nil {
					t.err = err
					return
				}
				t.acks = append(t.acks, Ack{index, n})
				if at := time.Since(begin); at > p.Warm && at <= end {
					t.counted++
				}
			}
		})
	}
	group.Wait()
	counted := 0
	for _, t := range tallies {
		acks, counted, err = append(acks, t.acks...), counted+t.counted, errors.Join(err, t.err)
	}
	return acks, float64(counted) / p.Span.Seconds(), err
}

// Open appends an entry each interval, whether or not the ones before are
// acknowledged. Latencies of the span are from when an entry was due until it was
// acknowledged, in milliseconds: a log that falls behind cannot hide it.
func Open(ctx context.Context, l Log, p Plan, interval time.Duration) (acks []Ack, latencies []float64, err error) {
	count, skip := int((p.Warm+p.Span)/interval), int(p.Warm/interval)
	acks, latencies = make([]Ack, count), make([]float64, count)
	errs := make([]error, count)
	begin := time.Now()
	var group sync.WaitGroup
	for i := range count {
		due := begin.Add(time.Duration(i) * interval)
		if wait := time.Until(due); wait > 0 {
			time.Sleep(wait)
		}
		group.Go(func() {
			n := p.First + i
			index, err := l.Append(ctx, Entry(n))
			latencies[i] = float64(time.Since(due).Nanoseconds()) / 1e6
			acks[i], errs[i] = Ack{index, n}, err
		})
	}
	group.Wait()
	return acks, latencies[skip:], errors.Join(errs...)
}

// Percentile returns the least of the values that at least percent of them do
// not exceed; 0 of none. It leaves values as they are.
func Percentile(values []float64, percent float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	rank := int(math.Ceil(percent / 100 * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

package app

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/fleet"
	decisionapi "github.com/westworld-charter/charter/internal/httpapi/decision"
	"github.com/westworld-charter/charter/internal/metrics"
)

const (
	// observedWindow is how long a duration counts at least, and twice that at most.
	observedWindow = 2 * time.Minute
	// durations have this many classes, each 2^(1/4) times as long as the one before,
	// from a microsecond on: 19 % is how exact a percentile is.
	durationClasses = 128
)

// observed counts what a node decides, for its reports, and passes it on.
type observed struct {
	*metrics.Metrics

	total, denied, forbidden, errors atomic.Uint64

	mu        sync.Mutex
	now, past [durationClasses]uint64 // of this window and the one before; guarded by mu
	began     time.Time               // of this window; guarded by mu
}

// Decided implements [decisionapi.Observer].
func (o *observed) Decided(ctx context.Context, in *decision.Input, d *decision.Decision, took time.Duration) {
	o.Metrics.Decided(ctx, in, d, took)
	if in == nil || d.Outcome == decision.InvalidRequest {
		return // no question
	}
	o.total.Add(1)
	if !d.Allow {
		o.denied.Add(1)
		if d.Outcome == decision.Forbidden {
			o.forbidden.Add(1)
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.turn(time.Now())
	o.now[durationClass(took)]++
}

// Served implements [decisionapi.Observer].
func (o *observed) Served(ctx context.Context, route, method string, status int, took time.Duration) {
	o.Metrics.Served(ctx, route, method, status, took)
	if status >= 500 && route != "/health" {
		o.errors.Add(1)
	}
}

// turn begins another window when this one is over. It needs mu.
func (o *observed) turn(now time.Time) {
	switch age := now.Sub(o.began); {
	case age < observedWindow:
		return
	case age < 2*observedWindow:
		o.past = o.now
	default:
		o.past = [durationClasses]uint64{}
	}
	o.now, o.began = [durationClasses]uint64{}, now
}

// decisions are the counts of a report.
func (o *observed) decisions() fleet.Decisions {
	// In this order the larger counts are read last.
	d := fleet.Decisions{Forbidden: o.forbidden.Load()}
	d.Denied = o.denied.Load()
	d.Total, d.Errors = o.total.Load(), o.errors.Load()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.turn(time.Now())
	d.P99 = o.percentile(0.99)
	return d
}

// percentile is the upper end of the class below which that share is, in seconds; 0
// when there is nothing. It needs mu.
func (o *observed) percentile(share float64) float64 {
	var all uint64
	for i := range o.now {
		all += o.now[i] + o.past[i]
	}
	var seen uint64
	for i := range o.now {
		if seen += o.now[i] + o.past[i]; all > 0 && float64(seen) >= share*float64(all) {
			return math.Exp2(float64(i)/4) * 1e-6
		}
	}
	return 0
}

func durationClass(d time.Duration) int {
	if d <= time.Microsecond {
		return 0
	}
	return min(int(math.Ceil(4*math.Log2(d.Seconds()*1e6))), durationClasses-1)
}

// observer is who is told of decisions and answers.
func (s *Server) observer() decisionapi.Observer {
	if s.program.node {
		return s.observed
	}
	return s.metrics
}

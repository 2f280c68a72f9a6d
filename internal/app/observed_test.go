package app

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/metrics"
)

// A report counts what was decided, and says how long it took lately.
func TestObserved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &observed{Metrics: metrics.New(metrics.Build{})}
		in := &decision.Input{Operation: decision.Collect}
		decide := func(outcome string, took time.Duration) {
			o.Decided(t.Context(), in, &decision.Decision{Allow: outcome == decision.Allowed, Outcome: outcome, Mode: decision.Enforce}, took)
		}
		if d := o.decisions(); d.Total != 0 || d.P99 != 0 {
			t.Errorf("before anything was asked: %+v", d)
		}
		for range 98 {
			decide(decision.Allowed, 100*time.Microsecond)
		}
		decide(decision.Forbidden, 20*time.Millisecond)
		decide(decision.Denied, 20*time.Millisecond)
		o.Decided(t.Context(), nil, &decision.Decision{Outcome: decision.InvalidRequest}, 0)
		o.Served(t.Context(), "/v1/check", "POST", 503, time.Millisecond)
		o.Served(t.Context(), "/health", "GET", 503, time.Millisecond)
		d := o.decisions()
		if d.Total != 100 || d.Denied != 2 || d.Forbidden != 1 || d.Errors != 1 || d.P99 < 0.020 || d.P99 > 0.024 {
			t.Errorf("%+v", d)
		}
		<-time.After(observedWindow)
		decide(decision.Allowed, time.Nanosecond)
		if d := o.decisions(); d.Total != 101 || d.P99 < 0.020 {
			t.Errorf("durations of a moment ago do not count: %+v", d)
		}
		<-time.After(2 * observedWindow)
		decide(decision.Allowed, time.Hour)
		if d := o.decisions(); d.P99 < 3600 || d.P99 > 4300 {
			t.Errorf("what is long past counts: %+v", d)
		}
	})
}

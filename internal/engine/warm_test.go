package engine

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/westworld-charter/charter/internal/decision"
)

// After a reload questions that come all the time must not wait for evaluations, and
// no answer may be that of the policy before.
func TestWarm(t *testing.T) { synctest.Test(t, testWarm) }

func testWarm(t *testing.T) {
	p := compiled(t, nil)
	e := active(p, Options{VerifyEvery: -1})
	in := question("latency_p50")
	in.Labels = map[string]string{"cpu": "secret", "mode": ""}
	ask := func() decision.Decision {
		d, err := e.Decide(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	in.Time = time.Now().UTC().Format(time.RFC3339) // the cache is warmed for questions of today
	ask()
	for _, kept := range e.recent.list() {
		if kept.Labels["cpu"] == "secret" || kept.Labels["mode"] != "" {
			t.Errorf("the value of a label is kept: %v", kept.Labels)
		}
	}
	held, err := p.WithState(t.Context(), doc{"standing": doc{"edge-1": doc{"state": "suspended"}}})
	if err != nil {
		t.Fatal(err)
	}
	e.Warm(t.Context(), held)
	if e.Current() != p || !ask().Allow {
		t.Fatal("warming put a policy in force")
	}
	before := e.Stats()
	if e.Swap(held) != p || e.Stats().Entries != 1 {
		t.Fatalf("the cache is not warm: %+v", e.Stats())
	}
	if d := ask(); d.Allow || d.Outcome != decision.Suspended {
		t.Errorf("an answer outlived its state: %+v", d)
	}
	if after := e.Stats(); after.Misses != before.Misses || after.Hits != before.Hits+1 {
		t.Errorf("a question waited for its evaluation: %+v, then %+v", before, after)
	}

	// What was warmed is for that policy alone.
	e.Warm(t.Context(), held)
	e.Swap(p)
	if !ask().Allow || e.Stats().Misses != before.Misses+1 {
		t.Errorf("the cache of another policy was used: %+v", e.Stats())
	}
	e.Swap(held)
	if e.Stats().Entries != 0 {
		t.Error("a warm cache was used that is older than the last swap")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	e.Warm(ended, p)
	if e.Swap(p) != held || !ask().Allow {
		t.Error("without time to warm it, the policy was not put in force")
	}
}

// Whatever is asked, little is kept of it.
func TestRecentIsBounded(t *testing.T) {
	var r recent
	for i := range 3 * maxRecent {
		r.add(&decision.Input{Metric: fmt.Sprint(i)})
	}
	if kept := r.list(); len(kept) != maxRecent {
		t.Errorf("%d questions are kept", len(kept))
	}
}

package engine_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/engine"
)

func TestEngine(t *testing.T) {
	e := engine.New()
	got, err := e.Decide(t.Context(), ask("latency_p50"))
	if err != nil || got.Allow || got.Outcome != decision.NoPolicy || got.DecisionID == "" {
		t.Errorf("without a policy: %+v, %v", got, err)
	}
	first, second := mini{}.policy(t, nil), mini{version: "1.1.0"}.policy(t, nil)
	if e.Swap(first) != nil || e.Swap(second) != first || e.Current() != second {
		t.Error("Swap does not hand back the policy before")
	}
	got, err = e.Decide(t.Context(), ask("latency_p50"))
	if err != nil || !got.Allow || got.Revision != second.Revision() || got.DecisionID == "" || got.Suggestion != "" {
		t.Errorf("with a policy: %+v, %v", got, err)
	}
	if e.Swap(nil) != second || e.Current() != nil {
		t.Error("the policy was not unloaded")
	}
}

func TestDecisionIDs(t *testing.T) {
	e := engine.New()
	var ids []string
	for range 100 {
		d, _ := e.Decide(t.Context(), decision.Input{})
		ids = append(ids, d.DecisionID)
	}
	for _, id := range ids {
		if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(id) {
			t.Fatalf("%s is no UUID of version 7", id)
		}
	}
	if ids[0][:8] > ids[99][:8] {
		t.Error("ids do not follow time")
	}
	slices.Sort(ids)
	if len(slices.Compact(ids)) != 100 {
		t.Error("two decisions have one id")
	}
}

// A typing mistake should cost its author a second, not a search.
func TestSuggestion(t *testing.T) {
	e := engine.New()
	e.Swap(mini{}.policy(t, nil))
	for metric, want := range map[string]string{
		"latency_p51":        "did you mean latency_p50?",
		"latncy_p95":         "did you mean latency_p95?",
		"Latency_P95":        "did you mean latency_p95?",
		"speed_of_vehicle_7": "",
		"latitude_":          "", // forbidden names are never suggested
	} {
		got, err := e.Decide(t.Context(), ask(metric))
		if err != nil || got.Outcome != decision.UnknownMetric || got.Suggestion != want {
			t.Errorf("%s: %q, want %q (%v)", metric, got.Suggestion, want, err)
		}
	}
}

// While policies change, every answer must be that of one of them: revision and
// obligations of two would be a decision that nobody voted for.
func TestSwapUnderLoad(t *testing.T) {
	e := engine.New()
	policies := make([]*engine.Policy, 5)
	retention := map[string]string{} // by revision
	for i := range policies {
		m := mini{version: fmt.Sprintf("1.%d.0", i), retention: fmt.Sprintf("%dd", 10+i)}
		policies[i] = m.policy(t, nil)
		retention[policies[i].Revision()] = m.retention
	}
	e.Swap(policies[0])
	done := make(chan struct{})
	var workers, swapper sync.WaitGroup
	swapper.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
				p := policies[i%len(policies)]
				if fresh, err := p.WithState(t.Context(), map[string]any{"sequence": i}); err == nil {
					e.Swap(fresh)
				} else {
					t.Error(err)
				}
			}
		}
	})
	var mu sync.Mutex
	seen := map[string]bool{}
	for range 8 {
		workers.Go(func() {
			mine := map[string]bool{}
			for range 300 {
				d, err := e.Decide(t.Context(), ask("latency_p95"))
				want, known := retention[d.Revision]
				if err != nil || !known || !d.Allow || d.Obligations.Retention != want {
					t.Errorf("torn answer: %+v, %v", d, err)
				}
				mine[d.Revision] = true
			}
			mu.Lock()
			defer mu.Unlock()
			for r := range mine {
				seen[r] = true
			}
		})
	}
	workers.Wait()
	close(done)
	swapper.Wait()
	if len(seen) < 2 {
		t.Errorf("only %d revision answered: nothing was swapped", len(seen))
	}
}

// One policy, many goroutines, and state that is read lazily.
func TestConcurrentDecisionsAgree(t *testing.T) {
	p := mini{exact: 50, globs: 50}.policy(t, map[string]any{"standing": map[string]any{"edge-1": map[string]any{"state": "good"}}})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 200 {
				n := (g*31 + i) % 60
				d, err := p.Decide(t.Context(), ask(fmt.Sprintf("m_%d", n)))
				if err != nil || d.Allow != (n < 50) {
					t.Errorf("m_%d: %+v, %v", n, d, err)
				}
				d, err = p.Decide(t.Context(), ask(fmt.Sprintf("g_%d_%s", n, strings.Repeat("x", i%5))))
				if err != nil || d.Allow != (n < 50) {
					t.Errorf("g_%d: %+v, %v", n, d, err)
				}
			}
		})
	}
	wg.Wait()
}

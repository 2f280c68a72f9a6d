package app

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/audit"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/ledger"
)

// Violations at a rate of a thousand a second, of as many nodes: none is lost, and who
// asks for what is allowed is served as well as while the same denials have no
// consequences, and nodes elsewhere are told of all of them. CHARTER_LONG=1 lasts ten seconds and judges what a busy machine would
// spoil: that no answer was given before its consequences, and the latency.
func TestViolationsSlowNobody(t *testing.T) {
	seconds := 1
	if os.Getenv("CHARTER_LONG") != "" {
		seconds = 10
	}
	text := read(t, example1) + "escalation: [{level: 1, at: 1, within: 30d, action: suspend, for: 24h}]\n"
	o := selfAsserted(put(t, filepath.Join(t.TempDir(), "charter.yaml"), text))
	o.StateBundle = stateKey(t)
	s := recording(t, o)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = s.enforce(ctx) })
	running.Go(func() { _ = s.keeper.auditor.Run(ctx) })
	running.Go(func() { s.states.run(ctx) })
	defer running.Wait()
	defer stop()
	calm := s.burst(t, "token", seconds)
	stormy := s.burst(t, "cert", seconds)
	st := s.enforcer.Stats()
	t.Logf("%d violations in %d s; p99 of others %s, without consequences %s, ratio %.2f; %d swaps", st.Violations, seconds, stormy, calm, stormy.Seconds()/calm.Seconds(), st.Swaps)
	if want := 1000 * seconds; st.Violations != want || st.Standings["suspended"] != want || seconds == 10 && st.Late > 0 {
		t.Errorf("%+v", st)
	}
	until(t, "that nodes elsewhere are told of all of them", func() bool {
		told, _ := s.states.offered(t)
		standing, _ := told.Document()["standing"].(map[string]any)
		return len(standing) == 1000*seconds
	})
	entries := 0
	for _, err := range s.keeper.relay.Find(t.Context(), ledger.Filter{Kinds: []ledger.Kind{ledger.Violation}}) {
		if err != nil {
			t.Fatal(err)
		}
		entries++
	}
	if entries != 1000*seconds {
		t.Errorf("%d entries", entries)
	}
	if seconds == 10 && stormy.Seconds() > 1.5*calm.Seconds() && stormy > 2*time.Millisecond {
		t.Errorf("p99 of others is %s, without consequences %s", stormy, calm)
	}
}

// burst has a thousand nodes a second ask for what is forbidden, with a kind of
// identity, and returns the 99th percentile of what others wait meanwhile.
func (s *serving) burst(t *testing.T, kind string, seconds int) time.Duration {
	t.Helper()
	now := time.Now().UTC().Format(time.RFC3339)
	ask := func(principal, node, metric string) string {
		in := decision.Input{Metric: metric, Node: node, Role: "node_operator", Operation: decision.Collect, Claims: []string{"mtls"}, Time: now}
		d, err := s.keeper.auditor.Decide(audit.WithCaller(t.Context(), audit.Caller{Principal: principal}), in)
		if err != nil {
			t.Error(err)
		}
		return d.Outcome
	}
	var all sync.WaitGroup
	over := make(chan struct{})
	var took []time.Duration
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(2 * time.Millisecond)
		defer ticker.Stop()
		for i := 0; ; i++ {
			select {
			case <-over:
				return
			case <-ticker.C:
			}
			start := time.Now()
			if got := ask("cert:edge-9", "edge-9", "latency_p50"); got != decision.Allowed {
				t.Errorf("a node that did nothing: %s", got)
			}
			took = append(took, time.Since(start))
		}
	}()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for i := range 100 * seconds {
		<-ticker.C
		for j := range 10 {
			all.Go(func() {
				node := fmt.Sprintf("node-%d-%d", i, j)
				if got := ask(kind+":"+node, node, "gps_location"); got != decision.Forbidden {
					t.Errorf("%s: %s", node, got)
				}
			})
		}
	}
	all.Wait()
	close(over)
	<-done
	slices.Sort(took)
	return took[len(took)*99/100]
}

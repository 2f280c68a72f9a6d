// Package cache_test measures how often a decision need not be evaluated: the
// share of hits on a shipped charter, for questions with habits and without.
package cache_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/compile"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/engine"
	"github.com/westworld-charter/charter/internal/exposition"
	"github.com/westworld-charter/charter/tests/internal/judge"
)

func production(t *testing.T) *engine.Policy {
	t.Helper()
	c, findings := charter.Load(filepath.Join(judge.Root(t), "policies", "production", "charter.yaml"))
	if c == nil {
		t.Fatal(findings)
	}
	b, err := compile.Build(c)
	if err != nil {
		t.Fatal(err)
	}
	p, err := engine.Prepare(t.Context(), b, nil)
	if err != nil || p.Uncached() != "" {
		t.Fatal(err, p.Uncached())
	}
	return p
}

// scrape is what an operator's collector asks about the exposition of
// node_exporter, series by series.
func scrape(t *testing.T) []decision.Input {
	t.Helper()
	series, err := exposition.Open(t.Context(), judge.NodeExporterExposition(t), exposition.Options{})
	if err != nil {
		t.Fatal(err)
	}
	questions := make([]decision.Input, len(series))
	for i, s := range series {
		questions[i] = decision.Input{
			Metric: s.Metric, Labels: s.Labels, Node: "edge-1", Role: "node_operator", Operation: decision.Collect,
			Claims: []string{"mtls", "owns_node"}, Time: "2026-06-01T00:00:00Z",
		}
	}
	return questions
}

// uniform draws questions without any habit: names that are chartered or not,
// many nodes, all roles, operations and purposes.
func uniform(p *engine.Policy, n int) []decision.Input {
	random := rand.New(rand.NewPCG(1, 2))
	names := []string{"nothing_known", "node_cpu_seconds_total", "node_filesystem_avail_bytes", "http_requests_total"}
	for _, clause := range p.Charter().AllClauses() {
		names = append(names, clause.Match...) // of a glob, its text is a name that it matches
	}
	pick := func(from []string) string { return from[random.IntN(len(from))] }
	var roles []string
	for i := range p.Charter().Roles {
		roles = append(roles, p.Charter().Roles[i].Name)
	}
	questions := make([]decision.Input, n)
	for i := range questions {
		in := decision.Input{
			Metric: pick(names), Node: fmt.Sprintf("node-%d", random.IntN(1000)), Role: pick(roles), Operation: pick(decision.Operations()),
			Purpose: pick(append([]string{""}, p.Charter().Purposes...)), Time: fmt.Sprintf("2026-06-%02dT00:00:00Z", 1+random.IntN(28)),
			Labels: map[string]string{pick([]string{"cpu", "mode", "device", "instance", "job"}): "v"},
		}
		if random.IntN(2) == 0 {
			in.Claims = []string{"mtls", "owns_node", "two_factor", "service_approval", "committee_seat", "dao_approval"}[:random.IntN(7)]
		}
		questions[i] = in
	}
	return questions
}

// The hit rates that docs/design/cache.md states, from cold.
func TestHitRates(t *testing.T) {
	p := production(t)
	series := scrape(t)
	for _, tc := range []struct {
		name      string
		questions []decision.Input
		rounds    int
		want      float64
	}{
		{"one scrape", series, 1, 0.95},
		{"ten scrapes", series, 10, 0.99},
		{"uniform", uniform(p, 3000), 1, 0.1},
	} {
		e := engine.New()
		e.Swap(p)
		for range tc.rounds {
			for i := range tc.questions {
				if _, err := e.Decide(t.Context(), tc.questions[i]); err != nil {
					t.Fatal(err)
				}
			}
		}
		s := e.Stats()
		rate := float64(s.Hits) / float64(s.Hits+s.Misses+s.Bypassed)
		t.Logf("%s: %.1f %% of %d hits, %d evaluated and kept, %d bypassed", tc.name, 100*rate, tc.rounds*len(tc.questions), s.Misses, s.Bypassed)
		if rate < tc.want || s.Mismatches > 0 {
			t.Errorf("%s: hit rate %.3f, want at least %.2f; %d mismatches", tc.name, rate, tc.want, s.Mismatches)
		}
	}
}

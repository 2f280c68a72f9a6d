package monitoring

import (
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/committee"
	"github.com/westworld-charter/charter/internal/committee/committeetest"
	"github.com/westworld-charter/charter/internal/dashboard"
	"github.com/westworld-charter/charter/tests/internal/fetch"
	"github.com/westworld-charter/charter/tests/internal/poll"
)

// incidents brings about what rules and dashboards ask for and what happens in no
// ordinary day: a report and its investigation, data access revoked, an override.
func (s *stack) incidents(t *testing.T) {
	report := s.people(t, "POST", "/v1/violations", `{"type": "exploitation", "node": "edge-9", "description": "it sells what it collects"}`)
	opened := s.people(t, "POST", "/v1/investigations", fmt.Sprintf(`{"violation": %q}`, id(t, report, "id")))
	s.people(t, "POST", "/v1/investigations/"+id(t, opened, "id")+"/resolve", `{"outcome": "unfounded", "text": "it does not"}`)
	s.people(t, "POST", "/v1/revocations", `{"node": "edge-8", "reason": "legal"}`)
	s.people(t, "POST", "/v1/overrides", s.signed(t))
	// A series is seen to grow when it was seen before.
	poll.Until(t, "Prometheus has seen them", func() error {
		for _, expr := range []string{
			`charter_emergency_override_active == 1`, `charter_nodes_revoked == 1`, `charter_investigation_outcomes_total{outcome="unfounded"} == 1`,
			`charter_data_revocation_events_total{node="edge-8"}`, `charter_violation_reports_total{violation_type="exploitation"} == 1`,
			`ALERTS{alertname="EmergencyOverrideActive", alertstate="firing"}`, `charter_ledger_witnessed_size > 0`,
		} {
			if err := s.has(t.Context(), expr); err != nil {
				return err
			}
		}
		return nil
	})
}

// signed is an override that the committee has signed.
func (s *stack) signed(t *testing.T) string {
	t.Helper()
	now := time.Now().UTC().Truncate(time.Second)
	request := committeetest.Sign(t, now, committee.Request{
		Kind: committee.Override, Charter: "mesh", Clauses: []string{"net.latency"}, Retention: "60d", From: now, Until: now.Add(30 * time.Minute),
	}, s.members[:2]...)
	text, err := request.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// comparisons decide whether an alert fires; with bool they return data either way.
var comparisons = regexp.MustCompile(` (>=|<=|==|>|<) `)

// Rules that ask for metrics which are not there answer nothing for ever, and nobody
// notices. So each is asked here, and must answer: an alert that does not fire is asked what
// it compares.
func (s *stack) everyRule(t *testing.T) {
	s.traffic(t)
	var asks []asked
	for _, r := range rules(t) {
		expr := shorten(r.Expr)
		if r.Alert != "" {
			expr = comparisons.ReplaceAllString(expr, " $1 bool ")
		}
		// What is rare has an answer when it happens: at some time in this test.
		asks = append(asks, asked{r.Alert + r.Record, "max_over_time((" + expr + ")[5m:1s])"})
	}
	for _, r := range rules(t) {
		if r.Record != "" {
			asks = append(asks, asked{"recorded " + r.Record, "max_over_time(" + r.Record + "[5m])"})
		}
	}
	s.answer(t, asks)
}

// everyPanel asks for what the dashboards show.
func (s *stack) everyPanel(t *testing.T) {
	s.traffic(t)
	var asks []asked
	for name, d := range dashboard.All() {
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				expr := strings.NewReplacer("$job", "charter", "$__rate_interval", "30s").Replace(target.Expr)
				asks = append(asks, asked{fmt.Sprintf("%s, panel %q, %s", name, p.Title, target.RefID), expr})
			}
		}
	}
	if len(asks) < 80 {
		t.Errorf("only %d expressions are asked", len(asks))
	}
	s.answer(t, asks)
}

// asked is an expression with where it stands.
type asked struct{ what, expr string }

// answer waits until every expression has returned data, each at some time.
func (s *stack) answer(t *testing.T, open []asked) {
	t.Helper()
	poll.Until(t, "there are data", func() error {
		var left []asked
		var errs []error
		for _, a := range open {
			if err := s.has(t.Context(), a.expr); err != nil {
				left, errs = append(left, a), append(errs, fmt.Errorf("%s: %w", a.what, err))
			}
		}
		open = left
		return errors.Join(errs...)
	})
}

// traffic has a node of its own ask all the time until the test ends: rates and
// percentiles of nothing are no numbers.
func (s *stack) traffic(t *testing.T) {
	t.Helper()
	node := "edge-" + strings.ToLower(rand.Text()[:6])
	pair, _, _ := s.ca.issue(t, node, node)
	client, ctx := s.ca.Client(t, pair), t.Context() // which ends before what is cleaned up
	var asking sync.WaitGroup
	asking.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			metric := []string{"latency_p50", "home_location"}[i%2]
			body := fmt.Sprintf(`{"metric":%q,"node":%q,"role":"node_operator","operation":"collect"}`, metric, node)
			if _, err := fetch.Text(ctx, client, "POST", s.url+"/v1/check", body); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
			// An agent whose uploads are refused.
			_, _ = fetch.Text(ctx, client, "POST", s.url+"/status", "garbage")
		}
	})
	t.Cleanup(asking.Wait)
}

package monitoring

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/tests/internal/fetch"
	"github.com/westworld-charter/charter/tests/internal/poll"
)

// A node tries to collect location data: it is denied, which is in the ledger and
// counted, an alert fires, the right people are told once, and once when it is over. While
// the charter has expired they are not told of lesser violations. Then everything
// else happens that rules and dashboards ask for, and each of them has an answer.
func TestEndToEnd(t *testing.T) {
	t.Parallel() // it waits most of the time
	s := newStack(t)
	t.Run("denied, recorded, counted, alerted", s.critical)
	t.Run("a stale policy inhibits", s.stale)
	t.Run("a warning reaches its receivers", s.warning)
	t.Run("resolutions are sent", s.resolved)
	t.Run("alerts are in the ledger", s.recorded)
	t.Run("incidents", s.incidents)
	s.follow(t) // until the end
	t.Run("every rule has data", s.everyRule)
	t.Run("every panel has data", s.everyPanel)
}

func (s *stack) critical(t *testing.T) {
	if a := s.collect(t, "edge-7", "latency_p50"); !a.Allow {
		t.Fatalf("%+v", a)
	}
	if a := s.collect(t, "edge-7", "home_location"); a.Allow || a.Outcome != "forbidden" || a.Clause != "privacy.location" {
		t.Fatalf("%+v", a)
	}
	if text := s.people(t, "GET", "/v1/violations?node=edge-7", ""); strings.Count(text, `"privacy.location"`) != 1 {
		t.Errorf("the violation is not known: %s", text)
	}
	if text := s.people(t, "GET", "/v1/ledger/entries?kind=denial", ""); !strings.Contains(text, "home_location") {
		t.Errorf("the denial is not in the ledger: %s", text)
	}
	text, err := fetch.Text(t.Context(), s.public, "GET", s.url+"/metrics", "", fetch.Bearer(scrapeToken)...)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`charter_violations_total{node="edge-7",severity="critical",violation_type="silent_collection"} 1`,
		`charter_forbidden_metric_attempts_total{metric="*_location*",node="edge-7",status="blocked"} 1`,
		`metric_access_denied_total{outcome="forbidden"} 1`,
	} {
		if !strings.Contains(text, line) {
			t.Errorf("/metrics has no %s", line)
		}
	}
	s.told(t, "CriticalViolationDetected", "firing", "pager", "slack #charter-critical")
	for _, m := range s.inbox.about("CriticalViolationDetected") {
		if !strings.Contains(m.text, "edge-7") {
			t.Errorf("%s was not told which node: %s", m.to, m.text)
		}
	}
	poll.Until(t, "the committee is told by the server itself", func() error {
		for _, m := range s.inbox.all() {
			if m.to == "committee" && strings.Contains(m.text, "edge-7") {
				return nil
			}
		}
		return fmt.Errorf("%+v", s.inbox.all())
	})
}

// told waits until exactly these have one message about an alert.
func (s *stack) told(t *testing.T, alert, status string, want ...string) {
	t.Helper()
	poll.Until(t, alert+" is told", func() error {
		var got []string
		for _, m := range s.inbox.about(alert) {
			if m.status == status {
				got = append(got, m.to)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			return fmt.Errorf("%s: %v were told, want %v; all: %+v", status, got, want, s.inbox.all())
		}
		return nil
	})
}

func (s *stack) stale(t *testing.T) {
	s.charter(t, expired)
	s.told(t, "PolicyStale", "firing", "pager", "slack #charter-critical")
	if a := s.collect(t, "edge-8", "latency_p50"); a.Allow || a.Outcome != "stale_policy" {
		t.Fatalf("%+v", a)
	}
	if a := s.collect(t, "edge-8", "device_id"); a.Allow || a.Outcome != "forbidden" {
		t.Fatalf("%+v", a)
	}
	poll.Until(t, "the lesser violation is suppressed", func() error { return s.suppressed(t.Context(), "ViolationDetected", true) })
	poll.Until(t, "the lesser violation is over", func() error {
		list, err := s.query(t.Context(), `ALERTS{alertname="ViolationDetected"}`)
		if err == nil && len(list) > 0 {
			err = fmt.Errorf("%v", list)
		}
		return err
	})
	s.charter(t, lasting)
	s.told(t, "PolicyStale", "resolved", "pager", "slack #charter-critical")
	if told := s.inbox.about("ViolationDetected"); len(told) > 0 {
		t.Errorf("while the policy was stale, somebody was told: %+v", told)
	}
}

func (s *stack) warning(t *testing.T) {
	if a := s.collect(t, "edge-9", "device_id"); a.Allow || a.Outcome != "forbidden" {
		t.Fatalf("%+v", a)
	}
	s.told(t, "ViolationDetected", "firing", "mail security@example.org", "slack #charter-security")
}

func (s *stack) resolved(t *testing.T) {
	s.told(t, "CriticalViolationDetected", "resolved", "pager", "slack #charter-critical")
	s.told(t, "ViolationDetected", "resolved", "mail security@example.org", "slack #charter-security")
	// Everybody was told once; of anything else, nothing but what a slow machine
	// does to service levels.
	counts := map[string]int{}
	server := map[string]bool{}
	for _, a := range alerts(t) {
		server[a.Alert] = a.Labels["scope"] == "server"
	}
	for _, m := range s.inbox.all() {
		if m.to != "committee" && !server[m.alert] {
			counts[m.to+" "+m.alert+" "+m.status]++
		}
	}
	if len(counts) != 12 {
		t.Errorf("%v", counts)
	}
	for what, n := range counts {
		if n != 1 {
			t.Errorf("%s: %d messages", what, n)
		}
	}
}

func (s *stack) recorded(t *testing.T) {
	poll.Until(t, "Alertmanager has told the server", func() error {
		text := s.people(t, "GET", "/v1/ledger/entries?kind=alert", "")
		for _, status := range []string{"firing", "resolved"} {
			found := false
			for line := range strings.Lines(text) {
				found = found || strings.Contains(line, "CriticalViolationDetected") && strings.Contains(line, status)
			}
			if !found {
				return fmt.Errorf("no entry says that CriticalViolationDetected is %s: %.500s", status, text)
			}
		}
		return nil
	})
	// An exemplar leads from the metric to the trace of the request.
	poll.Until(t, "Prometheus has exemplars", func() error {
		text, err := fetch.Get(t.Context(), s.prometheus+"/api/v1/query_exemplars?start=0&end=9999999999&query=charter_metric_validation_latency_seconds_bucket")
		if err == nil && !strings.Contains(text, "trace_id") {
			err = fmt.Errorf("%s", text)
		}
		return err
	})
}

// id is a member of an object in JSON.
func id(t *testing.T, text, name string) string {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal([]byte(text), &object); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	value, _ := object[name].(string)
	if value == "" {
		t.Fatalf("no %s in %s", name, text)
	}
	return value
}

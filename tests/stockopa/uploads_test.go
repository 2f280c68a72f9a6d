package stockopa

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/tests/internal/fetch"
	"github.com/westworld-charter/charter/tests/internal/poll"
)

// tally is what is recorded, or was decided, by metric, node and outcome.
type tally map[string]int

func (t tally) add(metric, node, outcome string, n int) {
	t[strings.Join([]string{metric, node, outcome}, " ")] += n
}

// recorded counts what the agent uploaded by what is in the ledger.
func recorded(t *testing.T, s *server) tally {
	t.Helper()
	all := tally{}
	for _, e := range s.entries(ledger.Denial, ledger.Allowance, ledger.WindowClose, ledger.Conflict) {
		switch {
		case e.Kind == ledger.Conflict:
			t.Errorf("a conflict: %+v", e)
		case e.Principal == "audit":
			t.Errorf("an own window: %+v", e)
		case e.Principal != "opa:token:agent":
			t.Errorf("principal %s", e.Principal)
		case e.Kind == ledger.Denial:
			all.add(e.Metric, e.Node, e.Outcome, 1)
		default:
			var w ledger.Window
			if err := json.Unmarshal(e.Data, &w); err != nil {
				t.Fatal(err)
			}
			for _, c := range w.Counts {
				all.add(c.Metric, c.Node, c.Outcome, int(c.Count))
			}
		}
	}
	return all
}

// ask puts n questions to the agent and counts its answers.
func ask(t *testing.T, a *agent, n int, into tally) {
	t.Helper()
	for i := range n {
		metric := []string{"latency_p50", "cpu_usage_percent", "gps_position", "no_such_metric"}[i%4]
		d := a.decide(t, map[string]any{
			"metric": metric, "node": "edge-1", "role": "node_operator", "operation": "collect", "claims": []string{"owns_node", "mtls"}, "time": moment,
			"labels": map[string]string{"instance": fmt.Sprintf("secret-%d", i)},
		})
		outcome, _ := d["outcome"].(string)
		into.add(metric, "edge-1", outcome, 1)
	}
}

func equal(t *testing.T, s *server, want tally) func() error {
	return func() error {
		got := recorded(t, s)
		for key, n := range want {
			if got[key] != n {
				return fmt.Errorf("%s: %d are recorded, there were %d", key, got[key], n)
			}
		}
		if len(got) != len(want) {
			return fmt.Errorf("recorded are %v, there were %v", got, want)
		}
		return nil
	}
}

// What an agent decides is in the ledger, exactly, without the values of labels.
func TestDecisionsAreRecorded(t *testing.T) {
	s := serve(t)
	a := follow(t, s, s.url)
	want := tally{}
	ask(t, a, 200, want)
	// Another node's question is the agent's to answer, and not to report.
	a.decide(t, map[string]any{"metric": "gps_position", "node": "edge-2", "role": "node_operator", "operation": "collect", "time": moment})
	want.add("gps_position", "edge-2", decision.Denied, 1)
	poll.Until(t, "everything is recorded", equal(t, s, want))
	for _, e := range s.entries(ledger.Denial) {
		text, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "secret") || !slices.Contains(e.Labels, "instance") && e.Node == "edge-1" || !strings.Contains(string(e.Data), `"reported"`) {
			t.Fatalf("%s", text)
		}
		if e.Node == "edge-2" && e.Reasons[0].Code != "node_mismatch" {
			t.Errorf("%s", text)
		}
	}
	// A hundred forbidden attempts that somebody put to the agent are no incident.
	if list := s.entries(ledger.Violation, ledger.Standing); len(list) > 0 {
		t.Errorf("what an agent reports has consequences: %+v", list)
	}
	if body, err := fetch.Get(t.Context(), s.url+"/v1/nodes/edge-1", fetch.Bearer(auditToken)...); err != nil || !strings.Contains(body, `"good"`) {
		t.Errorf("%v: %s", err, body)
	}
}

// status is in the ledger when it changes.
func TestStatusIsRecorded(t *testing.T) {
	s := serve(t)
	a := follow(t, s, s.url)
	revision := a.revision()
	poll.Until(t, "the status is recorded", func() error {
		list := s.entries(ledger.Instance)
		for _, e := range list {
			if e.Revision == revision && e.Node == "edge-1" && e.Principal == "opa:token:agent" {
				return nil
			}
		}
		return fmt.Errorf("%+v", list)
	})
}

// lossy hands requests on and loses some of the answers to uploads: the agent cannot
// know that they were taken.
func lossy(t *testing.T, to string, lost *atomic.Int64) string {
	t.Helper()
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ModifyResponse = func(r *http.Response) error {
		if r.Request.Method == http.MethodPost && rand.IntN(4) == 0 {
			lost.Add(1)
			return errors.New("lost on the way")
		}
		return nil
	}
	proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	proxy.ErrorLog = nil
	proxy.FlushInterval = -1
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	return server.URL
}

// Answers are lost, the server is killed in the middle and comes back: what the agent
// decided is recorded once.
func TestNothingIsLostAndNothingTwice(t *testing.T) {
	s := serve(t)
	var lost atomic.Int64
	a := follow(t, s, lossy(t, s.url, &lost), "upload_size_limit_bytes: 65536", "upload_size_limit_bytes: 8192")
	want := tally{}
	for range 2 {
		ask(t, a, 200, want)
		s.Kill()
		ask(t, a, 100, want) // while there is nobody to tell
		s.start()
	}
	ask(t, a, 200, want)
	poll.Until(t, "everything is recorded", equal(t, s, want))
	poll.Until(t, "answers were lost", func() error {
		if lost.Load() < 2 {
			return fmt.Errorf("%d", lost.Load())
		}
		return nil
	})
	if err := equal(t, s, want)(); err != nil {
		t.Error(err)
	}
}

// An agent that has no room for what it decided says so, and so does the ledger.
func TestDroppedDecisionsAreAGap(t *testing.T) {
	s := serve(t)
	a := follow(t, s, s.url, "upload_size_limit_bytes: 65536", "upload_size_limit_bytes: 1024, buffer_size_limit_bytes: 2048",
		"long_polling_timeout_seconds: 60, min_delay_seconds: 5, max_delay_seconds: 30", "min_delay_seconds: 1, max_delay_seconds: 1")
	s.Kill()
	ask(t, a, 300, tally{})
	s.start()
	poll.Until(t, "the ledger has a gap", func() error {
		for _, e := range s.entries(ledger.Gap) {
			if e.Node == "edge-1" && e.Principal == "opa:token:agent" && strings.Contains(string(e.Data), `"dropped"`) {
				return nil
			}
		}
		return errors.New("there is none")
	})
}

// An upload that is not what OPA sends is refused as a whole.
func TestRefusedUploads(t *testing.T) {
	s := serve(t)
	for name, c := range map[string]struct {
		path, token, body string
		status            int
		code              string
	}{
		"no proof":       {"/logs", "", "[]", 401, "unauthenticated"},
		"another scope":  {"/logs", auditToken, "[]", 403, "insufficient_scope"},
		"not JSON":       {"/logs", uploadToken, "[{", 400, "invalid_request"},
		"not a list":     {"/logs", uploadToken, "{}", 400, "invalid_request"},
		"not a status":   {"/status", uploadToken, "[]", 400, "invalid_request"},
		"too large":      {"/logs", uploadToken, "[" + strings.Repeat(" ", 2<<20) + "]", 413, "body_too_large"},
		"with partition": {"/logs/eu", uploadToken, "[]", 200, ""},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		if c.token != "" {
			r.Header.Set("Authorization", "Bearer "+c.token)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != c.status || !strings.Contains(string(body), c.code) {
			t.Errorf("%s: %d %s %v", name, res.StatusCode, body, err)
		}
	}
}

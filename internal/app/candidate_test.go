package app

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/rollout"
	"github.com/westworld-charter/charter/internal/wire"
)

const narrower = "testdata/narrower.yaml" // without latency_p50

// trying serves narrower and tries a copy of the wider example beside it.
func trying(t *testing.T, percent int) (s *serving, candidate string) {
	t.Helper()
	candidate = put(t, filepath.Join(t.TempDir(), "candidate.yaml"), read(t, example1))
	o := selfAsserted(narrower)
	o.Diagnostics = "127.0.0.1:0"
	o.Candidate.Path, o.Candidate.Percent = candidate, percent
	o.Candidate.StopCount, o.Candidate.StopRate = 3, 0.5
	return tried(t, o), candidate
}

func tried(t *testing.T, o Options) *serving {
	t.Helper()
	s := offered(t, o)
	t.Cleanup(s.rollout.Close)
	return s
}

func (s *serving) candidateIs(t *testing.T, state string) candidateStatus {
	t.Helper()
	var got candidateStatus
	_, body := fetch(t, s.diag+"/v1/candidate")
	if err := json.Unmarshal([]byte(body), &got); err != nil || got.State != state {
		t.Errorf("candidate %s, want state %s (%v)", body, state, err)
	}
	return got
}

// compared waits until n questions were compared.
func (s *serving) compared(t *testing.T, n uint64) rollout.Stats {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		got, sum := s.rollout.Stats(), uint64(0)
		for _, c := range got.Counts {
			sum += c
		}
		if sum >= n || time.Now().After(deadline) {
			if sum != n {
				t.Errorf("%d compared, want %d", sum, n)
			}
			return got
		}
		<-time.After(time.Millisecond)
	}
}

func from(node string) string { return strings.Replace(collect, "edge-1", node, 1) }

func TestCandidateInShadow(t *testing.T) {
	s, _ := trying(t, 0)
	for i := range 5 {
		if _, body := ask(t, s.url+"/v1/check", from(fmt.Sprintf("edge-%d", i))); decided(t, body).Allow || !strings.HasPrefix(decided(t, body).Revision, "example-2") {
			t.Errorf("%s", body)
		}
	}
	ask(t, s.url+"/v1/check/batch", `{"items":[`+collect+`,`+strings.Replace(collect, "p50", "p95", 1)+`]}`)
	if n := s.compared(t, 7).Counts[rollout.Widened]; n != 6 {
		t.Errorf("%d widened, want 6", n)
	}
	got := s.candidateIs(t, "shadow")
	if got.Candidate.Counts["widened"] != 6 || got.Candidate.Counts["none"] != 1 || len(got.Candidate.Differences) != 5 || !strings.HasPrefix(got.Active, "example-2") {
		t.Errorf("%+v", got)
	}
	if status, code, _ := s.health(t); status != http.StatusOK || code != "" {
		t.Errorf("%d %q", status, code)
	}
	if _, body := fetch(t, s.diag+"/metrics"); !strings.Contains(body, "\ncharter_candidate_decisions_total{difference=\"widened\"} 6\n") || !strings.Contains(body, "\ncharter_candidate_stopped 0\n") {
		t.Error("/metrics does not tell of the differences")
	}
}

// A stopped candidate stays out whatever is polled, until its file changes or
// somebody asks for a reload.
func TestCandidateStopsAndComesBack(t *testing.T) {
	s, path := trying(t, 100)
	stop := func() {
		t.Helper()
		for i := range 5 {
			_, body := ask(t, s.url+"/v1/check", collect)
			if d := decided(t, body); d.Allow != (i < 2) || strings.HasPrefix(d.Revision, "example-1") != d.Allow {
				t.Errorf("question %d: %s", i, body)
			}
		}
		if got := s.candidateIs(t, "stopped"); got.Candidate.Stopped.Code != rollout.ThresholdReached {
			t.Errorf("%+v", got.Candidate.Stopped)
		}
		if status, code, _ := s.health(t); status != http.StatusOK || code != codeCandidateStopped {
			t.Errorf("%d %q", status, code)
		}
	}
	back := func() {
		t.Helper()
		if got := s.candidateIs(t, "canary"); got.Candidate.Percent != 100 || got.Candidate.Counts["widened"] != 0 {
			t.Errorf("%+v", got.Candidate)
		}
		if _, code, _ := s.health(t); code != "" {
			t.Errorf("still degraded: %q", code)
		}
	}
	stop()
	if log := s.journal.String(); strings.Count(log, "candidate stopped; the active policy answers all nodes") != 1 || !strings.Contains(log, "3 of 3 questions compared") {
		t.Errorf("%s", log)
	}
	s.twice(t)
	s.candidateIs(t, "stopped")
	put(t, path, strings.Replace(read(t, path), "latency_p95", "latency_p99", 1))
	s.twice(t)
	back()
	stop()
	if status, body := ask(t, s.diag+"/v1/reload", ""); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	back()
}

// A candidate that cannot be loaded concerns nobody but operators.
func TestBadCandidate(t *testing.T) {
	s, path := trying(t, 100)
	good := read(t, path)
	before := s.candidateIs(t, "canary").Candidate.Revision
	put(t, path, "metrics: [")
	s.twice(t)
	if status, code, revision := s.health(t); status != http.StatusOK || code != codeInvalidCandidate || !strings.HasPrefix(revision, "example-2") {
		t.Errorf("%d %q %s", status, code, revision)
	}
	if got := s.candidateIs(t, "canary").Candidate.Revision; got != before {
		t.Errorf("the candidate of before is gone: %s", got)
	}
	if _, body := fetch(t, s.diag+"/metrics"); !strings.Contains(body, "\ncharter_policy_degraded 0\n") || strings.Contains(body, `charter_policy_loads_total{result="failure"} 1`) {
		t.Error("a bad candidate looks like a bad policy")
	}
	put(t, path, good)
	s.twice(t)
	if _, code, _ := s.health(t); code != "" {
		t.Errorf("mended, and %q", code)
	}
	for name, bad := range map[string]string{"none": filepath.Join(t.TempDir(), "none.yaml"), "tampered": tampered(t), "broken": put(t, filepath.Join(t.TempDir(), "b.tar.gz"), "x")} {
		o := selfAsserted(example1)
		o.Candidate.Path, o.Candidate.Percent = bad, 100
		s := tried(t, o)
		if _, code, _ := s.health(t); code != codeInvalidCandidate {
			t.Errorf("%s: %q", name, code)
		}
		if _, body := ask(t, s.url+"/v1/check", collect); !decided(t, body).Allow {
			t.Errorf("%s: %s", name, body)
		}
	}
}

func TestCandidateIsABundle(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "unpacked")
	if err := bundled(t, example1).WriteDir(dir); err != nil {
		t.Fatal(err)
	}
	o := selfAsserted(narrower)
	o.Candidate.Path, o.Candidate.Percent = dir, 100
	if _, body := ask(t, tried(t, o).url+"/v1/check", collect); !decided(t, body).Allow {
		t.Errorf("%s", body)
	}
}

// Standings are known to both policies at the same time.
func TestCandidateHasTheState(t *testing.T) {
	state := put(t, filepath.Join(t.TempDir(), "state.json"), `{"standing":{"edge-1":{"state":"quarantined"}}}`)
	o := selfAsserted(example1)
	o.State, o.Candidate.Path, o.Candidate.Percent, o.Candidate.StopCount = state, example1, 100, 1
	s := tried(t, o)
	for i, want := range []string{decision.Quarantined, decision.Allowed, decision.Quarantined} {
		if _, body := ask(t, s.url+"/v1/check", collect); decided(t, body).Outcome != want {
			t.Errorf("look %d: %s, want %s", i, body, want)
		}
		put(t, state, []string{"{}", `{"standing":{"edge-1":{"state":"quarantined"}}}`, "{}"}[i])
		s.twice(t)
	}
	if got := s.compared(t, 3); got.Counts[rollout.None] != 3 {
		t.Errorf("%+v", got)
	}
}

func TestCandidateAPI(t *testing.T) {
	s, _ := trying(t, 0)
	for _, c := range []struct {
		body   string
		status int
		want   string
	}{
		{`{"percent": 100}`, 200, `"state": "canary"`},
		{`{"percent": 101}`, 400, `"location":"percent"`},
		{`{"percent": -1}`, 400, "invalid_request"},
		{`{"percent": 1.5}`, 400, "invalid_request"},
		{`{"percent": "1"}`, 400, "invalid_request"},
		{`{"percent": 1, "stop": true}`, 400, "must be one of"},
		{`{"stop": false}`, 400, "must be one of"},
		{`{"percent": 1, "promote": false}`, 400, "must be one of"},
		{`{"stopp": true}`, 400, "stopp"},
		{`{}`, 400, "must be one of"},
		{``, 400, "ends too early"},
		{`null`, 400, "must be one of"},
		{`{"stop": true}{}`, 400, "not JSON at byte 14"},
		{`{"percent": 1` + strings.Repeat(" ", maxChange) + `}`, 413, wire.CodeBodyTooLarge},
		{`{"percent": 0}`, 200, `"state": "shadow"`},
		{`{"stop": true}`, 200, `"state": "stopped"`},
		{`{"percent": 1}`, 409, codeCandidateStopped},
		{`{"stop": true}`, 409, codeCandidateStopped},
		{`{"promote": true}`, 409, codeCandidateStopped},
	} {
		if status, body := ask(t, s.diag+"/v1/candidate", c.body); status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%.40s: %d %s, want %d %s", c.body, status, body, c.status, c.want)
		}
	}
	if _, code, _ := s.health(t); code != "" {
		t.Errorf("somebody stopped the candidate on purpose, and the server is degraded: %q", code)
	}
	if status, _ := ask(t, s.url+"/v1/candidate", `{"stop": true}`); status != http.StatusNotFound {
		t.Errorf("beside the questions: %d", status)
	}
	o := unrecorded()
	o.Charter, o.Diagnostics = example1, "127.0.0.1:0"
	o.TokenFile = put(t, filepath.Join(t.TempDir(), "tokens.yaml"), tokenFile())
	s = tried(t, o)
	for token, want := range map[string]int{"": 401, nodeToken: 403, adminToken: 409} {
		headers := []string{}
		if token != "" {
			headers = []string{"Authorization", "Bearer " + token}
		}
		if status, body := send(t, &http.Client{}, "POST", s.diag+"/v1/candidate", `{"promote": true}`, headers...); status != want {
			t.Errorf("token %.4q: %d %s, want %d", token, status, body, want)
		}
	}
}

// A promotion outlives a new state document, and ends with the next reload that
// is asked for.
func TestPromotion(t *testing.T) {
	state := put(t, filepath.Join(t.TempDir(), "state.json"), "{}")
	o := selfAsserted(narrower)
	o.State, o.Candidate.Path, o.Diagnostics = state, example1, "127.0.0.1:0"
	s := tried(t, o)
	status, body := ask(t, s.diag+"/v1/candidate", `{"promote": true}`)
	if status != http.StatusOK || !strings.Contains(body, "a reload") || !strings.Contains(body, `"active": "example-1`) || !strings.Contains(body, `"candidate": null`) {
		t.Errorf("%d %s", status, body)
	}
	promoted := func(want bool) {
		t.Helper()
		if _, body := ask(t, s.url+"/v1/check", from("edge-9")); decided(t, body).Allow != want {
			t.Errorf("%s, want the candidate's answer: %t", body, want)
		}
		if _, _, revision := s.health(t); strings.HasPrefix(revision, "example-1") != want {
			t.Errorf("revision %s", revision)
		}
	}
	promoted(true)
	if _, body := fetch(t, s.diag+"/metrics"); !strings.Contains(body, `charter_policy_info{charter="example",revision="example-1`) {
		t.Error("/metrics names the policy of before")
	}
	put(t, state, `{"standing":{"edge-1":{"state":"quarantined"}}}`)
	s.twice(t)
	promoted(true)
	if _, body := ask(t, s.url+"/v1/check", collect); decided(t, body).Outcome != decision.Quarantined {
		t.Errorf("a promoted policy does not hear of a quarantine: %s", body)
	}
	if _, err := s.Reload(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	promoted(false)
	s.candidateIs(t, "shadow")
	if s.promoted {
		t.Error("promoted for ever")
	}
}

// While candidates come, go and break, every question is answered by the policy
// that it names, and the active one never changes.
func TestCandidateReloadUnderLoad(t *testing.T) {
	s, path := trying(t, 50)
	wide := read(t, path)
	other := strings.Replace(wide, "1.0.0", "3.0.0", 1)
	active := s.engine.Current()
	var load sync.WaitGroup
	var stop atomic.Bool
	var byCandidate atomic.Int64
	for g := range 4 {
		load.Go(func() {
			for i := 0; !stop.Load(); i++ {
				status, body := ask(t, s.url+"/v1/check", from(fmt.Sprintf("edge-%d", g*1000+i%50)))
				d := decided(t, body)
				if status != http.StatusOK || d.Allow == (d.Revision == active.Revision()) {
					t.Errorf("%d %s", status, body)
				}
				if d.Allow {
					byCandidate.Add(1)
				}
			}
		})
	}
	for i := range 18 {
		replace(t, path, []string{other, "metrics: [", wide}[i%3])
		if _, err := s.Reload(t.Context(), "test"); (err != nil) != (i%3 == 1) {
			t.Errorf("reload %d: %v", i, err)
		}
		if s.engine.Current() != active {
			t.Error("a candidate replaced the active policy")
		}
	}
	stop.Store(true)
	load.Wait()
	if byCandidate.Load() == 0 {
		t.Error("no candidate answered anybody")
	}
}

func TestCandidateSettings(t *testing.T) {
	o, err := (sources{}).configure("--charter", "a", "--candidate", "b.tar.gz", "--candidate-percent", "5", "--candidate-stop-on", "widened, narrowed", "--candidate-sample", "1", "--candidate-stop-rate", "0.25")
	if err != nil {
		t.Fatal(err)
	}
	r := o.rollout(nil)
	if r.Skip != 99 || len(r.Threshold.Kinds) != 2 || r.Threshold.Rate != 0.25 || r.Threshold.Count != 10 || r.Threshold.Window != 5*time.Minute || o.asPolicy().Bundle != "b.tar.gz" || o.asPolicy().Charter != "" {
		t.Errorf("%+v %+v", r, o.asPolicy())
	}
	for _, c := range [][2]string{
		{"--candidate-percent=101", "0 to 100"},
		{"--candidate-percent=1", "needs --candidate"},
		{"--candidate-stop-rate=1.1", "0 to 1"},
		{"--candidate-stop-rate=NaN", "0 to 1"},
		{"--candidate-stop-on=wider", "narrowed"},
		{"--candidate-stop-on=none", "narrowed"},
		{"--candidate=oci://x/y", "only a charter"},
		{"--candidate-stop-window=0s", "duration"},
	} {
		if _, err := (sources{}).configure("--charter", "a", c[0]); err == nil || !strings.Contains(err.Error(), c[1]) {
			t.Errorf("%s: %v", c[0], err)
		}
	}
}

package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/engine"
)

// journal is a log that can be read while it is written.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// serving is a server whose handlers are reached over loopback.
type serving struct {
	*Server
	url, diag string
	journal   *journal
}

// offered makes a server from options; it neither listens nor watches.
func offered(t *testing.T, o Options) *serving {
	t.Helper()
	j := &journal{}
	s, err := New(t.Context(), server(), o, slog.New(slog.NewJSONHandler(j, nil)))
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(s.handler)
	t.Cleanup(web.Close)
	out := &serving{Server: s, url: web.URL, journal: j}
	if s.diagnostics != nil {
		diagnostics := httptest.NewServer(s.diagnostics)
		t.Cleanup(diagnostics.Close)
		out.diag = diagnostics.URL
	}
	return out
}

// twice polls as often as a change needs to be believed.
func (s *serving) twice(t *testing.T) {
	t.Helper()
	s.poll(t.Context(), time.Now())
	s.poll(t.Context(), time.Now())
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func put(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// replace puts a file in place at once, as careful editors do.
func replace(t *testing.T, path, text string) {
	t.Helper()
	if err := os.Rename(put(t, path+".next", text), path); err != nil {
		t.Fatal(err)
	}
}

func selfAsserted(charter string) Options {
	o := unrecorded()
	o.Charter, o.InsecureSelfAsserted = charter, true
	return o
}

// health reads /health and the gauge that goes with it.
func (s *serving) health(t *testing.T) (status int, code, revision string) {
	t.Helper()
	status, body := fetch(t, s.url+"/health")
	var h struct {
		Revision string
		Degraded struct {
			Code, Message string
			Since         time.Time
		}
	}
	if err := json.Unmarshal([]byte(body), &h); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	if h.Degraded.Code != "" && (h.Degraded.Message == "" || h.Degraded.Since.IsZero()) {
		t.Errorf("degraded, and nobody can tell why or since when: %s", body)
	}
	return status, h.Degraded.Code, h.Revision
}

func (s *serving) hasMetric(t *testing.T, line string) {
	t.Helper()
	if _, body := fetch(t, s.url+"/metrics"); !strings.Contains(body, "\n"+line+"\n") {
		t.Errorf("/metrics lacks %s", line)
	}
}

func TestWatchFollowsTheCharterAndWhatItExtends(t *testing.T) {
	dir := t.TempDir()
	base := put(t, filepath.Join(dir, "base", "charter.yaml"), read(t, example1))
	path := put(t, filepath.Join(dir, "mine", "charter.yaml"), "apiVersion: charter/v1\nkind: Charter\nmetadata: {name: mine, version: 1.0.0}\nextends: ../base/charter.yaml\n")
	s := offered(t, selfAsserted(path))
	_, _, before := s.health(t)
	s.twice(t)
	if _, _, now := s.health(t); now != before {
		t.Errorf("nothing changed, and the revision went from %s to %s", before, now)
	}
	put(t, base, strings.Replace(read(t, base), "latency_p95", "latency_p99", 1))
	s.poll(t.Context(), time.Now())
	if _, _, now := s.health(t); now != before {
		t.Error("a change is believed at the first sight of it: it could be half written")
	}
	s.poll(t.Context(), time.Now())
	status, code, after := s.health(t)
	if status != http.StatusOK || code != "" || after == before {
		t.Errorf("after a change of the base: %d %s %s\n%s", status, code, after, s.journal)
	}
	if _, body := ask(t, s.url+"/v1/check", strings.Replace(collect, "p50", "p99", 1)); !decided(t, body).Allow || decided(t, body).Revision != after {
		t.Errorf("the new charter does not decide: %s", body)
	}
	s.hasMetric(t, `charter_policy_loads_total{result="success"} 2`)
}

// The file on disk can be anything; what answers stays, and everybody can see
// that it is the older one.
func TestBadCharterKeepsTheOldOne(t *testing.T) {
	good := read(t, example1)
	path := put(t, filepath.Join(t.TempDir(), "charter.yaml"), good)
	s := offered(t, selfAsserted(path))
	_, _, before := s.health(t)
	s.hasMetric(t, "charter_policy_degraded 0")

	put(t, path, strings.Replace(good, "retention: 30d", "retension: 30d", 1))
	s.twice(t)
	status, code, now := s.health(t)
	if status != http.StatusOK || code != CodeInvalidCharter || now != before {
		t.Errorf("with a bad charter: %d %q %s", status, code, now)
	}
	if strings.Contains(s.faults.gravest().Message, path) {
		t.Error("/health tells everybody where the charter lies")
	}
	if got, body := ask(t, s.url+"/v1/check", collect); got != http.StatusOK || !decided(t, body).Allow {
		t.Errorf("the old charter no longer decides: %d %s", got, body)
	}
	s.hasMetric(t, "charter_policy_degraded 1")
	s.hasMetric(t, `charter_policy_loads_total{result="failure"} 1`)
	if log := s.journal.String(); !strings.Contains(log, "retension") || !strings.Contains(log, path+":11:") {
		t.Errorf("the log does not say what is wrong and where:\n%s", log)
	}
	since := s.faults.gravest().Since
	s.twice(t) // the same bad file is not tried again and again
	s.hasMetric(t, `charter_policy_loads_total{result="failure"} 1`)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	s.twice(t)
	if got := s.faults.gravest(); got == nil || !got.Since.Equal(since) {
		t.Errorf("degraded since %v, want since the first failure %v", got, since)
	}
	put(t, path, good)
	s.twice(t)
	if status, code, now = s.health(t); status != http.StatusOK || code != "" || now != before {
		t.Errorf("mended: %d %q %s", status, code, now)
	}
	s.hasMetric(t, "charter_policy_degraded 0")
}

// Half of a charter can be a valid charter, with half of its prohibitions.
func TestHalfWrittenCharterIsNotServed(t *testing.T) {
	whole := read(t, example1)
	half := whole[:strings.Index(whole, "forbidden:")] // and the node groups are missing, too
	half = strings.Replace(half, `, nodes: ["group:edge"]`, "", 1)
	path := put(t, filepath.Join(t.TempDir(), "charter.yaml"), whole)
	s := offered(t, selfAsserted(path))
	first := s.engine.Current()
	put(t, path, half)
	s.poll(t.Context(), time.Now())
	longer := strings.Replace(whole, "latency_p95", "latency_p99", 1)
	put(t, path, longer)
	s.poll(t.Context(), time.Now())
	if s.engine.Current() != first {
		t.Fatal("something that was being written is served")
	}
	s.poll(t.Context(), time.Now())
	if s.engine.Current() == first {
		t.Fatal("what was written in full is not served")
	}
	if _, body := ask(t, s.url+"/v1/check", strings.Replace(collect, "latency_p50", "home_location", 1)); decided(t, body).Outcome != decision.Forbidden {
		t.Errorf("%s", body)
	}
	if strings.Contains(s.journal.String(), `"level":"ERROR"`) {
		t.Errorf("%s", s.journal)
	}
}

func TestStateIsFollowed(t *testing.T) {
	state := put(t, filepath.Join(t.TempDir(), "state.json"), "{}")
	o := selfAsserted(example1)
	o.State = state
	s := offered(t, o)
	put(t, state, `{"standing":{"edge-1":{"state":"quarantined"}}}`)
	s.twice(t)
	if _, body := ask(t, s.url+"/v1/check", collect); decided(t, body).Outcome != decision.Quarantined {
		t.Errorf("a quarantine that everybody but this server knows of: %s", body)
	}
	put(t, state, `{"standing":`)
	s.twice(t)
	if _, code, _ := s.health(t); code != CodeInvalidState {
		t.Errorf("code %q", code)
	}
	if _, body := ask(t, s.url+"/v1/check", collect); decided(t, body).Outcome != decision.Quarantined {
		t.Errorf("a state that cannot be read lifts a quarantine: %s", body)
	}
	put(t, state, "{}")
	s.twice(t)
	if _, body := ask(t, s.url+"/v1/check", collect); !decided(t, body).Allow {
		t.Errorf("%s", body)
	}
}

// While two charters that disagree replace each other all the time, every
// question is answered, and every answer is that of the revision it names.
func TestReloadUnderLoad(t *testing.T) {
	wide, narrow := read(t, example1), read(t, "testdata/narrower.yaml")
	path := put(t, filepath.Join(t.TempDir(), "charter.yaml"), wide)
	s := offered(t, selfAsserted(path))
	stop := make(chan struct{})
	var load sync.WaitGroup
	seen := make([]map[string]int, 4)
	for i := range seen {
		seen[i] = map[string]int{}
		load.Go(func() {
			for {
				status, body := ask(t, s.url+"/v1/check", collect)
				d := decided(t, body)
				want := decision.Allowed
				if strings.HasPrefix(d.Revision, "example-2.0.0+") {
					want = decision.UnknownMetric
				}
				if status != http.StatusOK || d.Outcome != want {
					t.Errorf("%d %s", status, body)
				}
				seen[i][d.Revision]++
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for i := range 24 {
		text := wide
		switch i % 3 {
		case 0:
			text = narrow
		case 1:
			text = "metrics: [" // does not load and must change nothing
		}
		replace(t, path, text)
		_, err := s.Reload(t.Context(), "test")
		if (err != nil) != (i%3 == 1) {
			t.Errorf("reload %d: %v", i, err)
		}
	}
	close(stop)
	load.Wait()
	revisions := map[string]int{}
	for _, m := range seen {
		maps.Copy(revisions, m)
	}
	if len(revisions) != 2 {
		t.Errorf("the load saw %v: nothing was swapped under it", revisions)
	}
}

func TestReloadOverHTTP(t *testing.T) {
	good := read(t, example1)
	path := put(t, filepath.Join(t.TempDir(), "charter.yaml"), good)
	s := offered(t, selfAsserted(path))
	var done Reloaded
	status, body := ask(t, s.url+"/v1/reload", "")
	if err := json.Unmarshal([]byte(body), &done); err != nil || status != http.StatusOK || done.Changed || done.Revision == "" || done.Revision != done.Previous {
		t.Errorf("unchanged: %d %s", status, body)
	}
	put(t, path, strings.Replace(good, "latency_p95", "latency_p99", 1))
	status, body = ask(t, s.url+"/v1/reload", "")
	if err := json.Unmarshal([]byte(body), &done); err != nil || status != http.StatusOK || !done.Changed || done.Revision == done.Previous {
		t.Errorf("changed: %d %s", status, body)
	}
	put(t, path, strings.Replace(good, "retention: 30d", "retension: 30d", 1))
	status, body = ask(t, s.url+"/v1/reload", "")
	if status != http.StatusUnprocessableEntity || !strings.Contains(body, CodeInvalidCharter) || !strings.Contains(body, path+":11:") {
		t.Errorf("broken: %d %s", status, body)
	}
	if status, _ = fetch(t, s.url+"/v1/reload"); status != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", status)
	}
	o := unrecorded()
	o.Charter = example1
	if status, body = ask(t, offered(t, o).url+"/v1/reload", ""); status != http.StatusUnauthorized {
		t.Errorf("without proof of identity: %d %s", status, body)
	}
}

func TestHangupReloads(t *testing.T) {
	good := read(t, example1)
	path := put(t, filepath.Join(t.TempDir(), "charter.yaml"), good)
	p := launch(t, "--charter", path, "--insecure-self-asserted", "--watch", "0")
	put(t, path, strings.Replace(good, "latency_p95", "latency_p99", 1))
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	p.await(t, "policy active")
	if _, body := ask(t, p.url+"/v1/check", strings.Replace(collect, "p50", "p99", 1)); !decided(t, body).Allow {
		t.Errorf("%s", body)
	}
	put(t, path, "kind: [")
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	p.await(t, "not loaded; what was loaded before stays in force")
	if status, body := fetch(t, p.url+"/health"); status != http.StatusOK || !strings.Contains(body, `"degraded":{"code":"invalid_charter"`) {
		t.Errorf("%d %s", status, body)
	}
	if code, _ := p.stop(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

// The interval is the one that was asked for, and watching ends with the server.
func TestWatchInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := put(t, filepath.Join(t.TempDir(), "file"), "1")
		var loads atomic.Int32
		p := &part{name: "part", seen: stamps{}}
		p.seen.note(path)
		p.load = func(_ context.Context, from stamps) error {
			loads.Add(1)
			from.note(path)
			return nil
		}
		s := &Server{log: slog.New(slog.DiscardHandler), parts: []*part{p}}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { s.watch(ctx, 2*time.Second); close(done) }()
		put(t, path, "2")
		<-time.After(3 * time.Second)
		synctest.Wait()
		if n := loads.Load(); n != 0 {
			t.Errorf("%d loads after one look", n)
		}
		<-time.After(2 * time.Second)
		synctest.Wait()
		if n := loads.Load(); n != 1 {
			t.Errorf("%d loads after two looks, want 1", n)
		}
		<-time.After(time.Minute)
		synctest.Wait()
		if n := loads.Load(); n != 1 {
			t.Errorf("%d loads although nothing changed any more", n)
		}
		stop()
		<-done
	})
}

// A wrong answer of the cache is a defect that somebody must hear of; labels are
// nobody's business.
func TestCacheFailureIsTold(t *testing.T) {
	s := offered(t, selfAsserted(example1))
	s.cacheFailed(engine.Mismatch{Input: decision.Input{Metric: "m", Labels: map[string]string{"latitude": "47.1"}}})
	if status, code, _ := s.health(t); status != http.StatusOK || code != codeCacheMismatch {
		t.Errorf("%d %q", status, code)
	}
	if log := s.journal.String(); !strings.Contains(log, "cache and plan are off") || strings.Contains(log, "47.1") || strings.Contains(log, "latitude") {
		t.Errorf("%s", log)
	}
	s.hasMetric(t, "charter_cache_enabled 1")
	o := selfAsserted(example1)
	o.Cache = 0
	offered(t, o).hasMetric(t, "charter_cache_enabled 0")
}

// A server that is told to stop in the middle of a reload is not degraded.
func TestStoppingIsNoFailure(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := &Server{log: slog.New(slog.DiscardHandler)}
	p := &part{name: partPolicy, load: func(context.Context, stamps) error {
		cancel()
		return ctx.Err()
	}}
	if err := s.reloadPart(ctx, p, "test"); !errors.Is(err, context.Canceled) || s.faults.gravest() != nil {
		t.Errorf("%v, degraded %v", err, s.faults.gravest())
	}
}

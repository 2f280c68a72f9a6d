package decisionapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/decision"
	decisionapi "github.com/westworld-charter/charter/internal/httpapi/decision"
	"github.com/westworld-charter/charter/internal/wire"
)

// fake is a service around the real handler: a Decider whose answer the test
// chooses, and a record of everything the handler reported.
type fake struct {
	decide func(ctx context.Context, in decision.Input) (decision.Decision, error)
	status decisionapi.Status

	mu      sync.Mutex
	asked   []decision.Input
	decided []string
	served  []string
	log     bytes.Buffer
}

func (f *fake) Decide(ctx context.Context, in decision.Input) (decision.Decision, error) {
	f.mu.Lock()
	f.asked = append(f.asked, in)
	f.mu.Unlock()
	if f.decide != nil {
		return f.decide(ctx, in)
	}
	return decision.Decision{
		Allow: true, Outcome: decision.Allowed, DecisionID: "d-1", Revision: "r-1", Clause: "net.latency",
		Severity: "none", Reasons: []decision.Reason{}, Mode: decision.Enforce,
	}, nil
}

func (f *fake) Status() decisionapi.Status { return f.status }

func (f *fake) Decided(_ context.Context, in *decision.Input, d *decision.Decision, _ time.Duration) {
	operation := ""
	if in != nil {
		operation = in.Operation
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.decided = append(f.decided, d.Outcome+" "+operation)
}

func (f *fake) Served(_ context.Context, route, method string, status int, _ time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.served = append(f.served, strings.Join([]string{method, route, http.StatusText(status)}, " "))
}

// Write collects the log; the handler may write from many goroutines.
func (f *fake) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.log.Write(p)
}

func (f *fake) logged() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.log.String()
}

var noon = time.Date(2026, 6, 1, 14, 0, 0, 123456789, time.FixedZone("CEST", 2*60*60))

// start serves f on loopback until the test ends.
func start(t *testing.T, f *fake, change ...func(*decisionapi.Options)) string {
	t.Helper()
	if f.status == (decisionapi.Status{}) {
		f.status = decisionapi.Status{Charter: "development", Revision: "r-1"}
	}
	o := decisionapi.Options{
		Decider: f, Reporter: f, Observer: f, InsecureSelfAsserted: true,
		Log:     slog.New(slog.NewJSONHandler(f, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Now:     func() time.Time { return noon },
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "up 1\n") }),
	}
	for _, c := range change {
		c(&o)
	}
	h, err := decisionapi.New(o)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// answer is a response with its body read.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) fault(t *testing.T) wire.Error {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(a.body))
	dec.DisallowUnknownFields()
	var e struct {
		Code, Message *string
		Errors        *[]wire.Problem
	}
	if err := dec.Decode(&e); err != nil || e.Code == nil || e.Message == nil || e.Errors == nil {
		t.Fatalf("status %d has no error shape: %v: %s", a.status, err, a.body)
	}
	if got := a.header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %q", got)
	}
	return wire.Error{Code: *e.Code, Message: *e.Message, Errors: *e.Errors}
}

func do(t *testing.T, r *http.Request) answer {
	t.Helper()
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // the body was read
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(body)}
}

func request(t *testing.T, method, url, body string, header ...string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

func post(t *testing.T, url, body string, header ...string) answer {
	t.Helper()
	return do(t, request(t, http.MethodPost, url, body, header...))
}

func get(t *testing.T, url string, header ...string) answer {
	t.Helper()
	return do(t, request(t, http.MethodGet, url, "", header...))
}

const question = `{"metric":"latency_p50","node":"edge-1","role":"node_operator","operation":"collect","claims":["mtls"]}`

func TestNewWantsItsParts(t *testing.T) {
	f := &fake{}
	for name, o := range map[string]decisionapi.Options{
		"nothing":          {},
		"no reporter":      {Decider: f},
		"no decider":       {Reporter: f},
		"negative limit":   {Decider: f, Reporter: f, MaxBody: -1},
		"negative timeout": {Decider: f, Reporter: f, DecideTimeout: -1},
	} {
		if _, err := decisionapi.New(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	h, err := decisionapi.New(decisionapi.Options{Decider: f, Reporter: f, InsecureSelfAsserted: true})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(h)
	defer s.Close()
	if got := post(t, s.URL+"/v1/check", question); got.status != http.StatusOK {
		t.Errorf("with defaults only: %d %s", got.status, got.body)
	}
	if got := get(t, s.URL+"/metrics"); got.status != http.StatusNotFound {
		t.Errorf("/metrics without a handler: %d", got.status)
	}
}

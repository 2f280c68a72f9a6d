package decisionapi_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/internal/decision"
	decisionapi "github.com/westworld-charter/charter/internal/httpapi/decision"
)

func TestErrorShapeOfTheRouter(t *testing.T) {
	f := &fake{}
	base := start(t, f)
	for _, c := range []struct {
		method, path string
		status       int
		code, allow  string
	}{
		{http.MethodGet, "/nowhere", http.StatusNotFound, "not_found", ""},
		{http.MethodPost, "/v1/check/", http.StatusNotFound, "not_found", ""},
		{http.MethodGet, "/v1", http.StatusNotFound, "not_found", ""},
		{http.MethodGet, "/v1/check", http.StatusMethodNotAllowed, "method_not_allowed", "OPTIONS, POST"},
		{http.MethodPut, "/v1/data/charter/decision", http.StatusMethodNotAllowed, "method_not_allowed", "OPTIONS, GET, POST"},
		{http.MethodPost, "/health", http.StatusMethodNotAllowed, "method_not_allowed", "OPTIONS, GET, HEAD"},
		{"BREW", "/v1/check", http.StatusMethodNotAllowed, "method_not_allowed", "OPTIONS, POST"},
	} {
		got := do(t, request(t, c.method, base+c.path, ""))
		if e := got.fault(t); got.status != c.status || e.Code != c.code || e.Message == "" {
			t.Errorf("%s %s: %d %s", c.method, c.path, got.status, got.body)
		}
		if allow := got.header.Get("Allow"); allow != c.allow {
			t.Errorf("%s %s: Allow %q, want %q", c.method, c.path, allow, c.allow)
		}
	}
	if !slices.Contains(f.served, "GET unmatched Not Found") {
		t.Errorf("a path of the caller's choice was counted as a route: %q", f.served)
	}
}

func TestOptionsAndHead(t *testing.T) {
	base := start(t, &fake{})
	if got := do(t, request(t, http.MethodOptions, base+"/v1/check", "")); got.status != http.StatusNoContent || got.header.Get("Allow") == "" {
		t.Errorf("OPTIONS: %d %v", got.status, got.header)
	}
	for _, path := range []string{"/", "/health", "/metrics"} {
		if got := do(t, request(t, http.MethodHead, base+path, "")); got.status != http.StatusOK || got.body != "" {
			t.Errorf("HEAD %s: %d %q", path, got.status, got.body)
		}
	}
}

func TestMediaTypes(t *testing.T) {
	base := start(t, &fake{})
	for _, c := range []struct {
		header, value string
		status        int
	}{
		{"Content-Type", "application/json", http.StatusOK},
		{"Content-Type", "application/json; charset=UTF-8", http.StatusOK},
		{"Content-Type", "application/vnd.example+json", http.StatusOK},
		{"Content-Type", "application/x-www-form-urlencoded", http.StatusOK}, // curl -d
		{"X-Nothing", "", http.StatusOK},
		{"Content-Encoding", "identity", http.StatusOK},
		{"Content-Type", "application/json; charset=utf-16", http.StatusUnsupportedMediaType},
		{"Content-Type", "multipart/form-data; boundary=x", http.StatusUnsupportedMediaType},
		{"Content-Type", "text/plain", http.StatusUnsupportedMediaType},
		{"Content-Type", "application/yaml", http.StatusUnsupportedMediaType},
		{"Content-Type", ";;", http.StatusUnsupportedMediaType},
		{"Content-Encoding", "br", http.StatusUnsupportedMediaType},
	} {
		got := post(t, base+"/v1/check", question, c.header, c.value)
		if got.status != c.status {
			t.Errorf("%s %s: %d %s", c.header, c.value, got.status, got.body)
		}
		if c.status >= 400 && got.fault(t).Code != "unsupported_media_type" {
			t.Errorf("%s: %s", c.value, got.body)
		}
	}
}

func TestBodyLimits(t *testing.T) {
	f := &fake{}
	base := start(t, f)
	fits := question + strings.Repeat(" ", 64<<10-len(question))
	if got := post(t, base+"/v1/check", fits); got.status != http.StatusOK {
		t.Errorf("64 KiB: %d %s", got.status, got.body)
	}
	asked := len(f.asked)
	for _, path := range []string{"/v1/check", "/v1/data/charter/decision"} {
		if got := post(t, base+path, fits+" "); got.status != http.StatusRequestEntityTooLarge || got.fault(t).Code != "body_too_large" {
			t.Errorf("%s with 64 KiB + 1: %d %s", path, got.status, got.body)
		}
	}
	// A body without a declared length is cut at the same place.
	r := request(t, http.MethodPost, base+"/v1/check", "")
	r.Body = io.NopCloser(io.MultiReader(strings.NewReader(fits), strings.NewReader(" ")))
	r.ContentLength = -1
	if got := do(t, r); got.status != http.StatusRequestEntityTooLarge {
		t.Errorf("chunked: %d", got.status)
	}
	if got := do(t, request(t, http.MethodGet, base+"/health", strings.Repeat("x", 1<<20+1))); got.status != http.StatusRequestEntityTooLarge {
		t.Errorf("1 MiB where no body belongs: %d", got.status)
	}
	if len(f.asked) != asked {
		t.Error("an oversize question was decided")
	}
}

func TestBodyThatBreaksOff(t *testing.T) {
	f := &fake{}
	h, err := decisionapi.New(decisionapi.Options{Decider: f, Reporter: f, InsecureSelfAsserted: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		err    error
		status int
		code   string
	}{
		{io.ErrUnexpectedEOF, http.StatusBadRequest, decision.InvalidRequest},
		{timeoutError{}, http.StatusRequestTimeout, "request_timeout"},
	} {
		r := httptest.NewRequest(http.MethodPost, "http://localhost/v1/check", broken{c.err})
		r.RemoteAddr = "127.0.0.1:4000"
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if e := (answer{w.Code, w.Header(), w.Body.String()}).fault(t); w.Code != c.status || e.Code != c.code {
			t.Errorf("%v: %d %s", c.err, w.Code, w.Body)
		}
	}
}

func TestHealth(t *testing.T) {
	f := &fake{}
	base := start(t, f)
	for _, query := range []string{"", "?bundles", "?bundles=true", "?plugins"} {
		if got := get(t, base+"/health"+query); got.status != http.StatusOK || got.body != `{"charter":"development","revision":"r-1"}`+"\n" {
			t.Errorf("%q: %d %s", query, got.status, got.body)
		}
	}
	f.status = decisionapi.Status{Code: "no_policy", Message: "no policy is active"}
	got := get(t, base+"/health?bundles")
	if e := got.fault(t); got.status != http.StatusServiceUnavailable || e.Code != "no_policy" || e.Message != "no policy is active" {
		t.Errorf("%d %s", got.status, got.body)
	}
}

func TestIndexNamesTheEndpoints(t *testing.T) {
	base := start(t, &fake{})
	got := get(t, base+"/")
	for _, path := range []string{"/v1/check", "/v1/data/charter/decision", "/health", "/metrics"} {
		if !strings.Contains(got.body, path) {
			t.Errorf("%s is not listed", path)
		}
	}
	if got := get(t, base+"/metrics"); got.body != "up 1\n" {
		t.Errorf("/metrics: %d %s", got.status, got.body)
	}
}

func TestRequestID(t *testing.T) {
	f := &fake{}
	base := start(t, f)
	if got := post(t, base+"/v1/check", question, "X-Request-Id", "trace-7:a/b"); got.header.Get("X-Request-Id") != "trace-7:a/b" {
		t.Errorf("a plain id was not taken over: %v", got.header)
	}
	if !strings.Contains(f.logged(), `"request_id":"trace-7:a/b"`) {
		t.Errorf("the id is not in the log: %s", f.logged())
	}
	seen := map[string]bool{}
	for _, given := range []string{"", "two words", "quote\"", strings.Repeat("x", 200), ""} {
		id := post(t, base+"/v1/check", question, "X-Request-Id", given).header.Get("X-Request-Id")
		if id == "" || id == given || seen[id] {
			t.Errorf("%q became %q", given, id)
		}
		seen[id] = true
	}
}

// Label values are what the charter protects; the log must never hold them.
func TestAccessLog(t *testing.T) {
	f := &fake{}
	base := start(t, f)
	body := strings.Replace(question, "{", `{"labels":{"client_ip":"198.51.100.7"},`, 1)
	post(t, base+"/v1/check?token=hidden", body)
	post(t, base+"/v1/check", strings.Replace(body, `{"client_ip":"198.51.100.7"}`, `{},"198.51.100.7":"x"`, 1)) // a value as a field name
	post(t, base+"/nowhere/"+strings.Repeat("x", 500), body)
	get(t, base+"/health")
	log := f.logged()
	for _, secret := range []string{"198.51.100.7", "hidden"} {
		if strings.Contains(log, secret) {
			t.Errorf("%s is in the log:\n%s", secret, log)
		}
	}
	lines := strings.Split(strings.TrimSpace(log), "\n")
	var first struct {
		Level, Msg, Route, Metric, Outcome, Clause, Revision string
		DecisionID                                           string `json:"decision_id"`
		Status                                               int
	}
	if err := json.Unmarshal([]byte(lines[0]), &first); err != nil {
		t.Fatal(err)
	}
	if first.Route != "/v1/check" || first.Status != 200 || first.Metric != "latency_p50" || first.DecisionID != "d-1" || first.Clause != "net.latency" {
		t.Errorf("%+v", first)
	}
	if !strings.Contains(lines[1], `"code":"invalid_request"`) || !strings.Contains(lines[2], `"route":"unmatched"`) || len(lines[2]) > 600 {
		t.Errorf("%s\n%s", lines[1], lines[2])
	}
	if !strings.Contains(lines[3], `"level":"DEBUG"`) {
		t.Errorf("probes drown the log: %s", lines[3])
	}
}

// An answer that panics half-way is cut off, so that no client takes the first
// half for the whole.
func TestPanicInMidAnswer(t *testing.T) {
	for _, p := range []any{"boom", http.ErrAbortHandler} {
		f := &fake{}
		base := start(t, f, func(o *decisionapi.Options) {
			o.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, "half")
				_ = http.NewResponseController(w).Flush()
				panic(p)
			})
		})
		res, err := http.DefaultTransport.RoundTrip(request(t, http.MethodGet, base+"/metrics", ""))
		if err != nil {
			continue // cut off before the first byte arrived: also an error
		}
		if body, err := io.ReadAll(res.Body); err == nil {
			t.Errorf("%v: looks complete: %q", p, body)
		}
		_ = res.Body.Close()
	}
}

type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }

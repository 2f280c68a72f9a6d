package app

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// receiver is an OpenTelemetry collector that keeps what it gets.
type receiver struct {
	*httptest.Server

	mu       sync.Mutex
	spans    []*tracepb.Span   // guarded by mu
	resource map[string]string // guarded by mu
	raw      bytes.Buffer      // every body; guarded by mu
	headers  []http.Header     // guarded by mu
}

func receive(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{resource: map[string]string{}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		in := io.Reader(q.Body)
		if q.Header.Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(q.Body)
			if err != nil {
				t.Error(err)
				return
			}
			in = z
		}
		body, err := io.ReadAll(in)
		if err != nil {
			t.Error(err)
		}
		var request collector.ExportTraceServiceRequest
		if err := proto.Unmarshal(body, &request); err != nil || q.URL.Path != "/v1/traces" || q.Header.Get("Content-Type") != "application/x-protobuf" {
			t.Errorf("%s %v: %v", q.URL.Path, q.Header, err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.raw.Write(body)
		r.headers = append(r.headers, q.Header)
		for _, rs := range request.GetResourceSpans() {
			for _, a := range rs.GetResource().GetAttributes() {
				r.resource[a.GetKey()] = a.GetValue().GetStringValue()
			}
			for _, scope := range rs.GetScopeSpans() {
				r.spans = append(r.spans, scope.GetSpans()...)
			}
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(r.Close)
	return r
}

// named returns the spans with a name.
func (r *receiver) named(name string) []*tracepb.Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.spans), func(s *tracepb.Span) bool { return s.GetName() != name })
}

// only returns the one span with a name.
func (r *receiver) only(t *testing.T, name string) *tracepb.Span {
	t.Helper()
	found := r.named(name)
	if len(found) != 1 {
		var names []string
		for _, s := range r.spans {
			names = append(names, s.GetName())
		}
		t.Fatalf("%d spans %q, want 1; all: %q", len(found), name, names)
	}
	return found[0]
}

func attributes(list []*common.KeyValue) map[string]any {
	out := map[string]any{}
	for _, a := range list {
		switch v := a.GetValue().GetValue().(type) {
		case *common.AnyValue_StringValue:
			out[a.GetKey()] = v.StringValue
		case *common.AnyValue_IntValue:
			out[a.GetKey()] = v.IntValue
		case *common.AnyValue_BoolValue:
			out[a.GetKey()] = v.BoolValue
		}
	}
	return out
}

// wants checks some attributes of a span.
func wants(t *testing.T, s *tracepb.Span, want map[string]any) {
	t.Helper()
	got := attributes(s.GetAttributes())
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s: %s is %v, want %v", s.GetName(), name, got[name], value)
		}
	}
}

// logged waits for the nth line about a request to a route.
func (s *serving) logged(t *testing.T, route string, n int) map[string]any {
	t.Helper()
	deadline, tick := time.After(10*time.Second), time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		seen := 0
		for line := range strings.Lines(s.journal.String()) {
			var entry map[string]any
			if json.Unmarshal([]byte(line), &entry) == nil && entry["msg"] == "request" && entry["route"] == route {
				if seen++; seen == n {
					return entry
				}
			}
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("no line %d about %s", n, route)
		}
	}
}

const (
	parentTrace = "0af7651916cd43dd8448eb211c80319c"
	parentSpan  = "b7ad6b7169203331"
)

func TestSpansReachACollector(t *testing.T) {
	r := receive(t)
	o := unrecorded()
	o.Charter, o.Tracing.Endpoint = example1, r.URL
	o.TokenFile = put(t, filepath.Join(t.TempDir(), "tokens.yaml"), tokenFile())
	s := offered(t, o)
	ask := func(path, body string, header ...string) string {
		status, answer := send(t, &http.Client{}, "POST", s.url+path, body, append(header, "Authorization", "Bearer "+gatewayToken)...)
		if status != http.StatusOK {
			t.Fatalf("%s: %d %s", path, status, answer)
		}
		return answer
	}
	secret := strings.Replace(collect, `"metric"`, `"labels":{"instance":"s3cret-value"},"metric"`, 1)
	ask("/v1/check?pretty&s3cret-query=1", secret, "Traceparent", "00-"+parentTrace+"-"+parentSpan+"-01", "Tracestate", "vendor=1", "X-Request-Id", "s3cret-id", "User-Agent", "s3cret-agent")
	ask("/v1/data/charter/decision", `{"input":`+secret+`}`, "Traceparent", "00-"+strings.ToUpper(parentTrace)+"-"+parentSpan+"-01")
	ask("/v1/check/batch", `{"items":[`+collect+`,`+collect+`]}`)
	if status, _ := send(t, &http.Client{}, "GET", s.url+"/s3cret/path", ""); status != http.StatusNotFound {
		t.Error(status)
	}
	if status, _ := send(t, &http.Client{}, "POST", s.url+"/v1/check", collect, "Traceparent", "00-"+strings.Repeat("1", 32)+"-"+parentSpan+"-00", "Authorization", "Bearer "+gatewayToken); status != http.StatusOK {
		t.Error(status)
	}
	if status, _ := fetch(t, s.url+"/health"); status != http.StatusOK {
		t.Error(status)
	}
	if _, err := s.Reload(t.Context(), "SIGHUP"); err != nil {
		t.Fatal(err)
	}
	s.stopTracing(t.Context())

	request := r.only(t, "POST /v1/check")
	if hex.EncodeToString(request.GetTraceId()) != parentTrace || hex.EncodeToString(request.GetParentSpanId()) != parentSpan || request.GetTraceState() != "vendor=1" ||
		request.GetKind() != tracepb.Span_SPAN_KIND_SERVER || request.GetStatus().GetCode() != tracepb.Status_STATUS_CODE_UNSET {
		t.Errorf("%v", request)
	}
	wants(t, request, map[string]any{"http.request.method": "POST", "http.route": "/v1/check", "url.scheme": "http", "url.path": "/v1/check", "http.response.status_code": int64(200)})
	var decision *tracepb.Span
	for _, d := range r.named("decide") {
		if bytes.Equal(d.GetParentSpanId(), request.GetSpanId()) {
			decision = d
		}
	}
	if decision == nil || !bytes.Equal(decision.GetTraceId(), request.GetTraceId()) || len(r.named("decide")) != 2 {
		t.Fatalf("decisions %v", r.named("decide"))
	}
	wants(t, decision, map[string]any{"charter.outcome": "allowed", "charter.clause": "net.latency", "charter.revision": s.engine.Current().Revision(), "charter.allow": true})
	if other := r.only(t, "POST /v1/data/charter/decision"); hex.EncodeToString(other.GetTraceId()) == parentTrace || len(other.GetParentSpanId()) != 0 {
		t.Errorf("a malformed parent is one: %v", other)
	}
	wants(t, r.only(t, "decide batch"), map[string]any{"charter.items": int64(2), "charter.revision": s.engine.Current().Revision()})
	wants(t, r.only(t, "POST /v1/check/batch"), map[string]any{"charter.items": int64(2), "charter.allowed": int64(2)})
	wants(t, r.only(t, "GET"), map[string]any{"http.response.status_code": int64(404), "url.path": nil})
	wants(t, r.only(t, "reload policy"), map[string]any{"charter.trigger": "SIGHUP", "charter.revision": s.engine.Current().Revision()})
	if r.resource["service.name"] != server().name || r.resource["service.version"] == "" {
		t.Errorf("resource %v", r.resource)
	}
	if spans := r.named("GET /health"); len(spans) > 0 {
		t.Errorf("probes have spans: %v", spans)
	}
	for _, word := range []string{"s3cret", gatewayToken, "Bearer", "instance", "owns_node"} {
		if bytes.Contains(r.raw.Bytes(), []byte(word)) {
			t.Errorf("%q left the process in a span", word)
		}
	}
	line := s.logged(t, "/v1/check", 1)
	if line["trace_id"] != parentTrace || line["span_id"] != hex.EncodeToString(request.GetSpanId()) {
		t.Errorf("log line %v", line)
	}
}

// A trace goes through the log also where nobody collects spans.
func TestTraceIDsAreLoggedWithoutACollector(t *testing.T) {
	s := offered(t, selfAsserted(example1))
	for i, c := range []struct{ parent, want string }{
		{"00-" + parentTrace + "-" + parentSpan + "-01", parentTrace},
		{"00-" + parentTrace + "-" + parentSpan + "-00", parentTrace},
		{"", ""},
		{"00-" + strings.Repeat("0", 32) + "-" + parentSpan + "-01", ""},
		{"ff-" + parentTrace + "-" + parentSpan + "-01", ""},
		{"00-" + parentTrace + "-" + parentSpan, ""},
		{strings.Repeat("0", 10_000), ""},
		{"00-" + parentTrace + "-" + parentSpan + "-01-x", ""},
	} {
		if status, body := send(t, &http.Client{}, "POST", s.url+"/v1/check", collect, "Traceparent", c.parent); status != http.StatusOK {
			t.Errorf("%.80s: %d %s", c.parent, status, body)
		}
		line := s.logged(t, "/v1/check", i+1)
		if got, _ := line["trace_id"].(string); got != c.want || line["span_id"] != nil {
			t.Errorf("%.80s: %v", c.parent, line)
		}
	}
}

// A collector that is gone, slow or refusing costs nobody anything but spans.
func TestCollectorsCannotHarm(t *testing.T) {
	stuck := make(chan struct{})
	for name, handler := range map[string]http.HandlerFunc{
		"refuses": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) },
		"rubbish": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") },
		"stuck": func(_ http.ResponseWriter, q *http.Request) {
			_, _ = io.Copy(io.Discard, q.Body) // else the end of the connection goes unnoticed
			<-stuck
		},
		"gone": nil,
	} {
		t.Run(name, func(t *testing.T) {
			web := httptest.NewServer(handler)
			if handler == nil {
				web.Close()
			} else {
				t.Cleanup(web.Close)
			}
			if name == "stuck" {
				t.Cleanup(func() { close(stuck) }) // before the server is closed, which waits
			}
			o := selfAsserted(example1)
			o.Tracing.Endpoint = web.URL + "/v1/traces"
			s := offered(t, o)
			start := time.Now()
			for range 3000 { // more than the queue holds
				if status, body := ask(t, s.url+"/v1/check", collect); status != http.StatusOK {
					t.Fatalf("%d %s", status, body)
				}
			}
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("3000 questions took %v", took)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			start = time.Now()
			s.stopTracing(ctx)
			if took := time.Since(start); took > 2*flushTimeout {
				t.Errorf("the end took %v", took)
			}
			if n := strings.Count(s.journal.String(), "spans could not be sent"); n > 1 {
				t.Errorf("%d lines about failures, want one a minute", n)
			}
		})
	}
}

func TestTracingSettings(t *testing.T) {
	configured := func(environment map[string]string, args ...string) (TracingOptions, error) {
		inv, err := server().configure(append([]string{"--charter", "c.yaml"}, args...), func(name string) string { return environment[name] }, nil)
		return inv.options.Tracing, err
	}
	for name, c := range map[string]struct {
		environment map[string]string
		args        []string
		want        string
	}{
		"none":     {},
		"flag":     {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://other:4318"}, []string{"--otlp-endpoint", "http://c:4318"}, "http://c:4318/v1/traces"},
		"path":     {nil, []string{"--otlp-endpoint", "https://c/otlp/traces"}, "https://c/otlp/traces"},
		"ours":     {map[string]string{"CHARTER_OTLP_ENDPOINT": "http://c:4318/", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://other"}, nil, "http://c:4318/v1/traces"},
		"standard": {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/base/"}, nil, "http://c:4318/base/v1/traces"},
		"traces":   {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://other", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/t"}, nil, "http://c:4318/t"},
	} {
		if o, err := configured(c.environment, c.args...); err != nil || o.Endpoint == "" && c.want != "" || o.Endpoint != "" && o.url() != c.want || o.Ratio != 1 {
			t.Errorf("%s: %+v %v", name, o, err)
		}
	}
	for _, bad := range []string{"c:4318", "ftp://c", "http://", "http://c/?x=1", "http://user:s3cret@c"} {
		if _, err := configured(nil, "--otlp-endpoint", bad); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	for _, bad := range []string{"-1", "2", "NaN", "x"} {
		if _, err := configured(nil, "--trace-ratio", bad); err == nil {
			t.Errorf("ratio %s is accepted", bad)
		}
	}
}

// Without a parent the ratio decides what is recorded, with one the parent does.
func TestTraceRatio(t *testing.T) {
	r := receive(t)
	o := selfAsserted(example1)
	o.Tracing = TracingOptions{Endpoint: r.URL, Ratio: 0}
	s := offered(t, o)
	for _, parent := range []string{"", "00-" + parentTrace + "-" + parentSpan + "-00", "00-" + parentTrace + "-" + parentSpan + "-01"} {
		if status, _ := send(t, &http.Client{}, "POST", s.url+"/v1/check", collect, "Traceparent", parent); status != http.StatusOK {
			t.Error(status)
		}
	}
	s.stopTracing(t.Context())
	if s := r.only(t, "POST /v1/check"); hex.EncodeToString(s.GetParentSpanId()) != parentSpan {
		t.Errorf("%v", s)
	}
}

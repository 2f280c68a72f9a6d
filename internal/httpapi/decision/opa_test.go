package decisionapi_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	decisionapi "github.com/westworld-charter/charter/internal/httpapi/decision"
)

func TestDefaultDecision(t *testing.T) {
	base := startNames(t, &fake{}, true)
	want := `{"allow":true,"outcome":"allowed","revision":"r-7","clause":"net.latency","severity":"none","reasons":[],"obligations":{},"mode":"enforce"}` + "\n"
	if got := post(t, base+"/", question); got.status != http.StatusOK || got.body != want {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := post(t, base+"/", `{"input":`+question+`}`); got.status != http.StatusBadRequest || got.fault(t).Errors[0].Location != "input" {
		t.Errorf("wrapped: %d %s", got.status, got.body)
	}
	if got := do(t, request(t, http.MethodPut, base+"/", question)); got.status != http.StatusMethodNotAllowed || got.header.Get("Allow") != "OPTIONS, GET, HEAD, POST" {
		t.Errorf("PUT: %d %v", got.status, got.header)
	}
}

func TestDataParameters(t *testing.T) {
	base := startNames(t, &fake{}, true, func(o *decisionapi.Options) {
		o.Build = decisionapi.Build{Version: "1.2.3", Commit: "abc", Timestamp: "2026-01-01T00:00:00Z", Hostname: "edge"}
	})
	const path = "/v1/data/charter/decision"
	for query, want := range map[string]struct{ metrics, provenance bool }{
		"": {}, "?metrics": {metrics: true}, "?metrics=TRUE&provenance=false": {metrics: true}, "?provenance=true&explain=off": {provenance: true},
		"?metrics=false&metrics=true&provenance": {true, true}, "?explain=&instrument=false&strict-builtin-errors=false": {}, "?unknown=1": {},
	} {
		for _, got := range []answer{
			post(t, base+path+query, `{"input":`+question+`}`),
			get(t, base+path+"?input="+url.QueryEscape(question)+strings.Replace(query, "?", "&", 1)),
		} {
			var a struct {
				Result     json.RawMessage
				Metrics    map[string]int64
				Provenance *struct {
					Version string
					Bundles map[string]struct{ Revision string }
				}
			}
			if err := json.Unmarshal([]byte(got.body), &a); err != nil || got.status != http.StatusOK || a.Result == nil {
				t.Fatalf("%s: %d %s", query, got.status, got.body)
			}
			if (a.Metrics != nil) != want.metrics || want.metrics && a.Metrics["timer_server_handler_ns"] <= 0 {
				t.Errorf("%s: metrics %v", query, a.Metrics)
			}
			if (a.Provenance != nil) != want.provenance || want.provenance && (a.Provenance.Version != "1.2.3" || a.Provenance.Bundles["charter"].Revision != "r-7") {
				t.Errorf("%s: %s", query, got.body)
			}
		}
	}
	// To leave out what was asked for would look like an empty explanation.
	for query, location := range map[string]string{
		"?explain=full": "explain", "?explain=notes&explain=off": "explain", "?instrument": "instrument", "?strict-builtin-errors=true": "strict-builtin-errors",
	} {
		got := post(t, base+path+query, `{"input":`+question+`}`)
		if e := got.fault(t); got.status != http.StatusBadRequest || e.Code != "unsupported_parameter" || e.Errors[0].Location != location {
			t.Errorf("%s: %d %s", query, got.status, got.body)
		}
	}
}

// The bundle is known by the name of the charter while that is the active one.
func TestProvenanceNamesTheCharter(t *testing.T) {
	f := &fake{status: decisionapi.Status{Charter: "r", Revision: "r-7"}}
	got := post(t, startNames(t, f, true)+"/v1/data/charter/decision?provenance", `{"input":`+question+`}`)
	if !strings.Contains(got.body, `"bundles":{"r":{"revision":"r-7"}}`) {
		t.Errorf("%s", got.body)
	}
}

func TestUnknownDataPaths(t *testing.T) {
	base := startNames(t, &fake{}, true)
	for _, path := range []string{"/v1/data", "/v1/data/charter", "/v1/data/system/main", "/v1/query", "/v1/policies", "/v1/batch/data/other"} {
		if got := post(t, base+path, `{"input":{}}`); got.status != http.StatusNotFound || got.fault(t).Code != "not_found" {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
	for path, allow := range map[string]string{
		"/v1/check/batch": "OPTIONS, POST", "/v1/batch/data/charter/decision": "OPTIONS, POST", "/v1/allowed": "OPTIONS, GET",
		"/access/v1/evaluation": "OPTIONS, POST", "/access/v1/evaluations": "OPTIONS, POST", "/openapi.yaml": "OPTIONS, GET, HEAD",
		"/.well-known/authzen-configuration": "OPTIONS, GET, HEAD",
	} {
		got := do(t, request(t, http.MethodDelete, base+path, ""))
		if got.status != http.StatusMethodNotAllowed || got.header.Get("Allow") != allow || got.fault(t).Code != "method_not_allowed" {
			t.Errorf("%s: %d %q %s", path, got.status, got.header.Get("Allow"), got.body)
		}
	}
}

func TestSpecification(t *testing.T) {
	base := startNames(t, &fake{}, true)
	got := get(t, base+"/openapi.yaml")
	if got.status != http.StatusOK || got.header.Get("Content-Type") != "application/yaml" || got.body != string(decisionapi.Specification()) || !strings.HasPrefix(got.body, "openapi: 3.1") {
		t.Errorf("%d %v %.100s", got.status, got.header, got.body)
	}
}

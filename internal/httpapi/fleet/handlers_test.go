package fleetapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/internal/fleet"
	"github.com/westworld-charter/charter/internal/wire"
)

const minimal = `{"time":"2026-06-01T12:00:00Z","status":{},"decisions":{"total":0,"denied":0}}`

func codeOf(t *testing.T, a answer) string {
	t.Helper()
	var f wire.Error
	if err := json.Unmarshal(a.Body.Bytes(), &f); err != nil {
		t.Fatalf("%s: %v", a.Body, err)
	}
	if f.Errors == nil || f.Message == "" {
		t.Errorf("%s is not in the error shape", a.Body)
	}
	if len(f.Errors) > 0 {
		return f.Code + " " + f.Errors[0].Code + " " + f.Errors[0].Location
	}
	return f.Code
}

// A node reports for itself, however its name is written, and for nobody else.
func TestReportIsOfTheNodeItself(t *testing.T) {
	s := newSite(t)
	for _, c := range []struct {
		caller Caller
		path   string
		want   int
	}{
		{Caller{Node: "edge-1"}, "/v1/nodes/edge-1/report", 200},
		{Caller{Node: "rack 7/ü"}, "/v1/nodes/rack%207%2F%C3%BC/report", 200},
		{Caller{Node: "edge-1"}, "/v1/nodes/edge-2/report", 403},
		{Caller{Principal: "token:ana"}, "/v1/nodes/edge-1/report", 403},
		{Caller{Anybody: true}, "/v1/nodes/edge-3/report", 200},
	} {
		s.caller = c.caller
		if a := s.do(http.MethodPost, c.path, wire.TypeJSON, minimal); a.Code != c.want {
			t.Errorf("%+v %s: %d %s", c.caller, c.path, a.Code, a.Body)
		}
	}
	var names []string
	for _, n := range s.fleet.Nodes() {
		names = append(names, n.Node)
	}
	if !slices.Equal(names, []string{"edge-1", "edge-3", "rack 7/ü"}) {
		t.Errorf("%q are known", names)
	}
	if want := []string{resultTaken, resultTaken, wire.CodeNodeMismatch, wire.CodeNodeMismatch, resultTaken}; !slices.Equal(s.results, want) {
		t.Errorf("%v were counted", s.results)
	}
}

func TestRefusals(t *testing.T) {
	s := newSite(t)
	if a := s.do(http.MethodPost, releasesPath, typeTar, "1 a"); a.Code != 201 {
		t.Fatal(a.Body)
	}
	for _, c := range []struct {
		method, path, media, body string
		status                    int
		code                      string
	}{
		{http.MethodPost, "/v1/nodes/n/report", wire.TypeJSON, `{"tyme":1}`, 400, "invalid_request unknown_field tyme"},
		{http.MethodPost, "/v1/nodes/n/report", wire.TypeJSON, `{"time":1}`, 400, "invalid_request wrong_type time"},
		{http.MethodPost, "/v1/nodes/n/report", wire.TypeJSON, strings.Replace(minimal, `"total":0`, `"total":-1`, 1), 400, "invalid_request invalid_value decisions.total"},
		{http.MethodPost, "/v1/nodes/n/report", wire.TypeJSON, strings.Replace(minimal, `{}`, `{"digest":"x"}`, 1), 400, "invalid_request invalid_report status.digest"},
		{http.MethodPost, "/v1/nodes/n/report", wire.TypeJSON, strings.Repeat(" ", fleet.MaxReport) + minimal, 413, wire.CodeBodyTooLarge},
		{http.MethodPost, "/v1/nodes/n/report", "text/plain", minimal, 415, wire.CodeUnsupportedMedia},
		{http.MethodPost, releasesPath, wire.TypeJSON, "1 a", 415, wire.CodeUnsupportedMedia},
		{http.MethodPost, releasesPath, typeTar, "1 b", 409, "sequence_reused"},
		{http.MethodPost, releasesPath, typeTar, "3 b", 422, "no_rollback"},
		{http.MethodPost, releasesPath, typeTar, "3 b,4 c", 422, "wrong_rollback"},
		{http.MethodPost, releasesPath, typeTar, "1 a,2 b,3 c", 422, "bad_archive"},
		{http.MethodPost, releasesPath + "?force=1", typeTar, "1 a", 400, "invalid_request unknown_field force"},
		{http.MethodPost, rolloutsPath, wire.TypeJSON, `{"channel":"staging","sequence":1}`, 404, "unknown_channel"},
		{http.MethodPost, rolloutsPath, wire.TypeJSON, `{"channel":"production","sequence":9}`, 404, "unknown_release"},
		{http.MethodPost, rolloutsPath, wire.TypeJSON, `{"channel":"production","sequence":1,"stages":[{"percent":1,"soak":"1x"}]}`, 400, "invalid_request invalid_value stages.0.soak"},
		{http.MethodPost, rolloutsPath, wire.TypeJSON, `{"channel":"production","sequence":1,"gates":{"errors":2}}`, 400, "invalid_request invalid_plan gates.errors"},
		{http.MethodPost, rolloutsPath + "/production/halt", wire.TypeJSON, "", 404, "unknown_channel"},
		{http.MethodPost, rolloutsPath + "/production/halt", wire.TypeJSON, `{"x":1}`, 400, "invalid_request unknown_field "},
		{http.MethodGet, fleetPath + "?condition=well", "", "", 400, "invalid_request invalid_value condition"},
		{http.MethodGet, fleetPath + "?limit=10001", "", "", 400, "invalid_request invalid_value limit"},
	} {
		if a := s.do(c.method, c.path, c.media, c.body); a.Code != c.status || codeOf(t, a) != c.code {
			t.Errorf("%s %s %.60s: %d %s, want %d %s", c.method, c.path, c.body, a.Code, a.Body, c.status, c.code)
		}
	}
}

// Without a trust policy nothing is taken.
func TestNoTrustTakesNoReleases(t *testing.T) {
	f := newSite(t)
	routes, err := Routes(Options{Fleet: f.fleet, Caller: func(context.Context) Caller { return Caller{Anybody: true} }})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range routes {
		if r.Path == releasesPath && r.Method == http.MethodPost {
			f.handler = r.Handler
		}
	}
	if a := f.do(http.MethodPost, releasesPath, typeTar, "1 a"); a.Code != 404 || codeOf(t, a) != codeNoTrust {
		t.Errorf("%d %s", a.Code, a.Body)
	}
}

// Pages of the fleet are complete, and the summary is of all nodes.
func TestPages(t *testing.T) {
	s := newSite(t)
	for i := range 5 {
		if a := s.do(http.MethodPost, fmt.Sprintf("/v1/nodes/n%d/report", i), wire.TypeJSON, minimal); a.Code != 200 {
			t.Fatal(a.Body)
		}
	}
	var names []string
	for path := fleetPath + "?limit=2&condition=current"; path != ""; {
		var v overview
		a := s.do(http.MethodGet, path, "", "")
		if err := json.Unmarshal(a.Body.Bytes(), &v); err != nil || v.Summary[fleet.CurrentRelease] != 5 || len(v.Nodes) > 2 {
			t.Fatalf("%v: %s", err, a.Body)
		}
		for _, n := range v.Nodes {
			names = append(names, n.Node)
		}
		path = v.Next
	}
	if !slices.Equal(names, []string{"n0", "n1", "n2", "n3", "n4"}) {
		t.Error(names)
	}
}

// Whatever a node sends, it is refused by name or kept in bounds.
func FuzzReport(f *testing.F) {
	f.Add(minimal)
	f.Add(`{"node":"n","labels":{"a":"b"},"time":"2026-06-01T12:00:00Z","status":{"sequence":3,"last_error":{"code":"x","message":"y"}},"decisions":{"total":3,"denied":1,"p99_seconds":1e9}}`)
	s := newSite(f)
	f.Fuzz(func(t *testing.T, body string) {
		a := s.do(http.MethodPost, "/v1/nodes/n/report", wire.TypeJSON, body)
		switch a.Code {
		case 200, 413:
		case 400:
			codeOf(t, a)
		default:
			t.Fatalf("%d %s", a.Code, a.Body)
		}
		for _, n := range s.fleet.Nodes() {
			if text, err := json.Marshal(n); err != nil || len(text) > 2*fleet.MaxReport {
				t.Fatalf("%d bytes are kept: %v", len(text), err)
			}
		}
	})
}

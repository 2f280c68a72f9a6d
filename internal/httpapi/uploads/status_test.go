package uploadsapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/wire"
)

// statusOf is what an OPA says that has one bundle.
func statusOf(id, bundle string) string {
	return `{"labels":{"id":"` + id + `","version":"1.22.2","region":"eu"},"bundles":{"charter":` + bundle + `},` +
		`"decision_logs":{"code":"decision_log_error","message":"log upload failed","http_code":"503"},"plugins":{"bundle":{"state":"OK"}},"metrics":{"prometheus":{"x":[1]}}}`
}

const (
	runsOne  = `{"name":"charter","active_revision":"r-1","last_successful_activation":"2026-06-01T00:00:00Z","last_successful_request":"2026-06-01T00:00:05Z","size":100,"type":"snapshot","metrics":{"timer":1}}`
	runsTwo  = `{"name":"charter","active_revision":"r-2","last_successful_activation":"2026-06-02T00:00:00Z"}`
	hasError = `{"name":"charter","active_revision":"r-2","last_successful_activation":"2026-06-02T00:00:00Z","code":"bundle_error","message":"request failed: \u0007 port 4711","http_code":"502","errors":[{"x":1}]}`
)

// instances are the entries about OPAs.
func (s *setting) changes(t *testing.T) []ledger.Entry {
	t.Helper()
	var list []ledger.Entry
	for row, err := range s.log.Reader().Find(t.Context(), ledger.Filter{Kinds: []ledger.Kind{ledger.Instance}}) {
		if err != nil {
			t.Fatal(err)
		}
		e, err := ledger.ParseEntry(row.Body)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, e)
	}
	return list
}

func TestStatus(t *testing.T) {
	s := set(t, nil)
	if w := s.post("/status", statusOf("opa-1", runsOne)); w.Code != http.StatusOK || w.Body.String() != `{"bundles":1,"recorded":1}`+"\n" {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	want := []Instance{{
		ID: "opa-1", Principal: "cert:edge-1", Node: "edge-1", Labels: map[string]string{"version": "1.22.2", "region": "eu"},
		Bundles: []Bundle{{
			Name: "charter", Revision: "r-1", Activated: time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC), Requested: time.Date(2026, 6, 1, 0, 0, 5, 0, time.UTC),
		}},
		LogsCode: "decision_log_error", LogsMessage: "log upload failed", Seen: s.now,
	}}
	if got := s.api.Instances(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	for i, bundle := range []string{runsOne, runsTwo, runsTwo, hasError, hasError, runsTwo, runsOne} {
		s.now = s.now.Add(time.Second)
		if w := s.post("/status/eu", statusOf("opa-1", bundle)); w.Code != http.StatusOK {
			t.Fatalf("%d: %d %s", i, w.Code, w.Body)
		}
	}
	var got []string
	for _, e := range s.changes(t) {
		got = append(got, e.Revision+" "+string(e.Data))
		if e.Node != "edge-1" || e.Principal != "opa:cert:edge-1" {
			t.Errorf("%+v", e)
		}
	}
	if want := []string{
		`r-1 {"activated":"2026-06-01T00:00:00Z","bundle":"charter","instance":"opa-1"}`,
		`r-2 {"activated":"2026-06-02T00:00:00Z","before":"r-1","bundle":"charter","instance":"opa-1"}`,
		`r-2 {"activated":"2026-06-02T00:00:00Z","before":"r-2","bundle":"charter","code":"bundle_error","http_code":"502","instance":"opa-1"}`,
		`r-2 {"activated":"2026-06-02T00:00:00Z","before":"r-2","bundle":"charter","instance":"opa-1"}`,
		`r-1 {"activated":"2026-06-01T00:00:00Z","before":"r-2","bundle":"charter","instance":"opa-1"}`,
	}; !reflect.DeepEqual(got, want) {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

// What an OPA has dropped is missing, and the ledger says so.
func TestDroppedDecisions(t *testing.T) {
	s := set(t, nil)
	for _, counters := range []string{
		`{}`, `{"prometheus":{"counter_decision_logs_dropped_buffer_size_limit_exceeded":2,"counter_decision_logs_dropped_buffer_size_limit_bytes_exceeded":2}}`,
		`{"prometheus":{"counter_decision_logs_dropped_buffer_size_limit_exceeded":2,"x":{"y":1}}}`,
		`{"prometheus":{"counter_decision_logs_dropped_buffer_size_limit_exceeded":3,"counter_decision_logs_dropped_rate_limit_exceeded":7}}`,
		`{"prometheus":{"counter_decision_logs_dropped_rate_limit_exceeded":"many"},"other":[]}`, `5`,
	} {
		s.now = s.now.Add(time.Second)
		if w := s.post("/status", `{"labels":{"id":"opa-1"},"metrics":`+counters+`}`); w.Code != http.StatusOK {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	var got []string
	for row, err := range s.log.Reader().Find(t.Context(), ledger.Filter{Kinds: []ledger.Kind{ledger.Gap}}) {
		if err != nil {
			t.Fatal(err)
		}
		e, err := ledger.ParseEntry(row.Body)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Node+" "+string(e.Data))
	}
	if want := []string{
		`edge-1 {"at_least":1,"dropped":2,"reason":"dropped","reported":"opa-1"}`, `edge-1 {"at_least":1,"dropped":10,"reason":"dropped","reported":"opa-1"}`,
	}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Our restart is no change of theirs.
func TestStatusAfterRestart(t *testing.T) {
	s := set(t, nil)
	for range 2 {
		if w := s.post("/status", statusOf("opa-1", runsOne)); w.Code != http.StatusOK {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		var err error
		if s.api, err = New(s.api.Options); err != nil {
			t.Fatal(err)
		}
		s.handler = s.api.handler("status", s.api.status)
	}
	if n := len(s.changes(t)); n != 1 {
		t.Errorf("%d changes", n)
	}
}

// An instance is that of who speaks for it, and nobody pushes out those of others.
func TestInstancesAreBounded(t *testing.T) {
	s := set(t, func(o *Options) { o.MaxInstances, o.Forget = 8, time.Hour })
	upload := func(principal, id string) {
		t.Helper()
		s.who.Principal, s.now = principal, s.now.Add(time.Second)
		if w := s.post("/status", statusOf(id, runsOne)); w.Code != http.StatusOK {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	upload("cert:edge-2", "same")
	for i := range 20 {
		upload("cert:edge-1", fmt.Sprint(i))
	}
	upload("cert:edge-1", "same")
	var got []string
	for _, in := range s.api.Instances() {
		got = append(got, in.ID+" "+in.Principal)
	}
	if want := []string{"19 cert:edge-1", "same cert:edge-1", "same cert:edge-2"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for i := range 20 {
		upload(fmt.Sprintf("cert:other-%d", i), "x")
	}
	if n := len(s.api.Instances()); n != 8 {
		t.Errorf("%d instances", n)
	}
	s.now = s.now.Add(time.Hour)
	if n := len(s.api.Instances()); n != 0 {
		t.Errorf("%d instances after an hour of silence", n)
	}
	upload("cert:edge-1", "new")
	if n := len(s.api.instances.known); n != 1 {
		t.Errorf("%d instances are kept", n)
	}
}

// What could not be recorded is as new the next time.
func TestStatusWhileTheLedgerIsDown(t *testing.T) {
	s := set(t, nil)
	up := s.api.Log
	s.api.Log = down{}
	if w := s.post("/status", statusOf("opa-1", runsOne)); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), wire.CodeAuditUnavailable) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	s.api.Log = up
	if w := s.post("/status", statusOf("opa-1", runsOne)); w.Code != http.StatusOK || len(s.changes(t)) != 1 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

type down struct{}

func (down) AppendAll(context.Context, []ledger.Entry, ledger.Level) ([]ledger.Position, error) {
	return nil, errors.New("disk full")
}

func TestRefusedStatus(t *testing.T) {
	s := set(t, nil)
	for _, body := range []string{"", "[]", "{}", `{"labels":5}`, `{"labels":{"id":""}}`, `{"labels":{"id":"a\u0000"}}`, `{"labels":{"id":"x"},"bundles":[]}`} {
		if w := s.post("/status", body); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), wire.CodeInvalidRequest) {
			t.Errorf("%s: %d %s", body, w.Code, w.Body)
		}
	}
}

// FuzzStatus looks for a status that breaks the bounds of what is kept and recorded.
func FuzzStatus(f *testing.F) {
	f.Add(statusOf("opa-1", runsOne))
	f.Add(statusOf("opa-1", hasError))
	f.Add(`{"labels":{"id":"x","é\u0001":"y"},"bundles":{"":{"http_code":5,"active_revision":"\u0000"},"b":{}}}`)
	a, err := New(Options{Recorder: &memory{}, Log: none{}, Caller: func(context.Context) Caller { return Caller{Node: "edge-1"} }, MaxInstances: 4})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body string) {
		r := httptest.NewRequest(http.MethodPost, "/status", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		a.handler("status", a.status).ServeHTTP(w, r)
		if w.Code != http.StatusOK && w.Code != http.StatusBadRequest {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		list := a.Instances()
		if len(list) > 4 {
			t.Fatalf("%d instances", len(list))
		}
		for _, in := range list {
			text, err := json.Marshal(in)
			if err != nil || len(text) > 64<<10 || len(in.Bundles) > maxBundles || len(in.Labels) > maxLabels {
				t.Fatalf("%v %s", err, text)
			}
		}
	})
}

func TestAStatusThatIsTooLarge(t *testing.T) {
	s := set(t, nil)
	if w := s.post("/status", `{"labels":{"id":"opa-1"},"metrics":"`+strings.Repeat("x", maxStatus)+`"}`); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

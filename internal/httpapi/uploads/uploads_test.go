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
	"sync"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/audit"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledger/ledgertest"
	"github.com/westworld-charter/charter/internal/wire"
)

// memory keeps what is reported.
type memory struct {
	mu   sync.Mutex
	by   []audit.Reporter
	all  []audit.Reported
	err  error
	wait chan struct{} // nil, or until when Report does not return
}

func (m *memory) Report(_ context.Context, by audit.Reporter, list []audit.Reported) (audit.ReportedCounts, error) {
	if m.wait != nil {
		<-m.wait
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.by, m.all = append(m.by, by), append(m.all, list...)
	return audit.ReportedCounts{Denied: uint64(len(list))}, m.err
}

type setting struct {
	*memory
	log     *ledger.Log
	api     *API
	handler http.Handler
	now     time.Time
	who     Caller
}

func set(t *testing.T, change func(*Options)) *setting {
	t.Helper()
	s := &setting{
		memory: &memory{}, log: ledgertest.NewLog(t, nil, ledgertest.NewSigner(t), nil), now: time.Unix(1_800_000_000, 0),
		who: Caller{Principal: "cert:edge-1", Node: "edge-1"},
	}
	o := Options{Recorder: s.memory, Log: s.log, Caller: func(ctx context.Context) Caller { return ctx.Value(Caller{}).(Caller) }, Now: func() time.Time { return s.now }}
	if change != nil {
		change(&o)
	}
	var err error
	if s.api, err = New(o); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	for _, r := range s.api.Routes() {
		mux.Handle(r.Method+" "+strings.ReplaceAll(r.Path, "*", "{rest...}"), r.Handler)
	}
	s.handler = mux
	return s
}

func (s *setting) post(path, body string, header ...string) *httptest.ResponseRecorder {
	return s.postAs(s.who, path, body, header...)
}

func (s *setting) postAs(who Caller, path, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r = r.WithContext(context.WithValue(r.Context(), Caller{}, who)) // the key is as good as any
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w
}

// eventOf is an event as OPA sends it, with other members instead of its own.
func eventOf(members ...string) string {
	fields := map[string]json.RawMessage{}
	for text := range map[string]bool{
		`{"labels":{"id":"opa-1","version":"1.22.2"},"decision_id":"d-1","bundles":{"charter":{"revision":"r-1"}},"path":"charter/decision"}`:                                                                                                                                 true,
		`{"input":{"metric":"gps_fix","node":"edge-1","role":"node_operator","operation":"collect","labels":{"place":"secret","none":""},"claims":["mtls"],"time":"2026-06-01T00:00:00Z"}}`:                                                                                   true,
		`{"result":{"allow":false,"outcome":"forbidden","revision":"r-1","clause":"privacy.location","severity":"critical","mode":"enforce","obligations":{},"reasons":[{"code":"forbidden_metric","clause":"privacy.location","severity":"critical","message":"because"}]}}`: true,
		`{"requested_by":"127.0.0.1:4711","timestamp":"2026-06-01T00:00:01Z","metrics":{"timer_server_handler_ns":1},"req_id":7,"custom":{"x":[1]},"rule_labels":[{}]}`:                                                                                                       true,
	} {
		if err := json.Unmarshal([]byte(text), &fields); err != nil {
			panic(err)
		}
	}
	for _, member := range members {
		name, value, _ := strings.Cut(member, "=")
		if fields[name] = json.RawMessage(value); value == "" {
			delete(fields, name)
		}
	}
	text, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func forbidden() audit.Reported {
	return audit.Reported{
		ID: "d-1", At: time.Date(2026, 6, 1, 0, 0, 1, 0, time.UTC),
		Input: decision.Input{
			Metric: "gps_fix", Node: "edge-1", Role: "node_operator", Operation: "collect", Labels: map[string]string{"place": "…"},
			Claims: []string{"mtls"}, Time: "2026-06-01T00:00:00Z",
		},
		Decision: decision.Decision{
			Outcome: decision.Forbidden, Revision: "r-1", Clause: "privacy.location", Severity: "critical", Mode: decision.Enforce,
			Reasons: []decision.Reason{{Code: decision.CodeForbiddenMetric, Clause: "privacy.location", Severity: "critical"}},
		},
	}
}

func TestDecisions(t *testing.T) {
	with := func(change func(*audit.Reported)) *audit.Reported {
		r := forbidden()
		change(&r)
		return &r
	}
	for name, c := range map[string]struct {
		event string
		want  *audit.Reported // nil when nothing is recorded
		code  string          // that the answer names
	}{
		"as it is":        {eventOf(), with(func(*audit.Reported) {}), ""},
		"another node":    {eventOf(`input={"node":"edge-2"}`), with(func(r *audit.Reported) { r.Input, r.Refused = decision.Input{Node: "edge-2"}, wire.CodeNodeMismatch }), wire.CodeNodeMismatch},
		"no node":         {eventOf(`input={"metric":"m"}`), with(func(r *audit.Reported) { r.Input = decision.Input{Metric: "m"} }), ""},
		"a masked node":   {eventOf(`input={"node":"**"}`, `masked=["/input/node"]`), with(func(r *audit.Reported) { r.Input = decision.Input{} }), ""},
		"an erased input": {eventOf(`input=`, `erased=["/input"]`), with(func(r *audit.Reported) { r.Input = decision.Input{} }), ""},
		"masked labels":   {eventOf(`input={"labels":"**"}`, `masked=["/input/labels"]`), with(func(r *audit.Reported) { r.Input = decision.Input{} }), ""},
		"a masked label":  {eventOf(`input={"labels":{"place":null,"none":""}}`, `masked=["/input/labels/place"]`), with(func(r *audit.Reported) { r.Input = decision.Input{Labels: map[string]string{"place": "…"}} }), ""},
		"wrong types":     {eventOf(`input={"metric":5,"claims":"x","labels":[],"role":null,"claims2":[1]}`), with(func(r *audit.Reported) { r.Input = decision.Input{} }), ""},
		"a long name":     {eventOf(`input={"metric":"` + strings.Repeat("é", 400) + `"}`), with(func(r *audit.Reported) { r.Input = decision.Input{Metric: strings.Repeat("é", 256)} }), ""},
		"allowed": {eventOf(`result={"allow":true,"outcome":"allowed","revision":"r-2","clause":"net","severity":"none","mode":"enforce","reasons":[]}`), with(func(r *audit.Reported) {
			r.Decision = decision.Decision{Allow: true, Outcome: decision.Allowed, Revision: "r-2", Clause: "net", Severity: "none", Mode: "enforce"}
		}), ""},
		"lifted": {eventOf(`result={"allow":true,"enforced":false,"outcome":"denied","clause":"net","mode":"warn","would_deny":{}}`), with(func(r *audit.Reported) {
			no := decision.Decision{Outcome: decision.Denied, Revision: "r-1", Clause: "net", Mode: "warn"}
			r.Decision = no
			r.Decision.Allow, r.Decision.WouldDeny = true, &no
		}), ""},
		"allow alone": {eventOf(`path="charter/decision/allow"`, `result=true`), with(func(r *audit.Reported) {
			r.Decision = decision.Decision{Allow: true, Outcome: decision.Allowed, Revision: "r-1"}
		}), ""},
		"not allow alone":  {eventOf(`path="charter/decision/allow"`, `result=false`), with(func(r *audit.Reported) { r.Decision = decision.Decision{Outcome: decision.Denied, Revision: "r-1"} }), ""},
		"outcome alone":    {eventOf(`path="/charter/decision/outcome"`, `result="forbidden"`), with(func(r *audit.Reported) { r.Decision = decision.Decision{Outcome: decision.Forbidden, Revision: "r-1"} }), ""},
		"all of charter":   {eventOf(`path="charter"`, `result={"tables":{},"decision":{"allow":false,"outcome":"denied"}}`), with(func(r *audit.Reported) { r.Decision = decision.Decision{Outcome: decision.Denied, Revision: "r-1"} }), ""},
		"everything":       {eventOf(`path=`, `result={"charter":{"decision":{"allow":false}}}`), with(func(r *audit.Reported) { r.Decision = decision.Decision{Outcome: decision.Denied, Revision: "r-1"} }), ""},
		"no answer":        {eventOf(`result=`, `error={"message":"oh"}`), with(func(r *audit.Reported) { r.Decision = decision.Undetermined("r-1", "") }), ""},
		"looking around":   {eventOf(`path="charter"`, `input=`), nil, ""},
		"another document": {eventOf(`path="system/log"`), nil, ""},
		"obligations":      {eventOf(`path="charter/decision/obligations"`), nil, ""},
		"a query":          {eventOf(`path=`, `query="data.charter.decision.allow = x"`), nil, ""},
		"a masked result":  {eventOf(`result="**"`, `masked=["/result"]`), nil, codeMaskedResult},
		"an erased result": {eventOf(`result=`, `erased=["/result"]`), nil, codeMaskedResult},
		"an erased allow":  {eventOf(`result={"outcome":"denied"}`, `erased=["/result/allow"]`), with(func(r *audit.Reported) { r.Decision = decision.Decision{Outcome: decision.Denied, Revision: "r-1"} }), ""},
		"no outcome known": {eventOf(`result={"outcome":"fine"}`), nil, wire.CodeInvalidValue},
		"contradiction":    {eventOf(`result={"allow":false,"outcome":"allowed"}`), nil, wire.CodeInvalidValue},
		"unknown words": {eventOf(`result={"allow":false,"severity":"odd","mode":"x","reasons":[{"code":"secret"},5,{"code":"unknown_field","field":"a\u0000b"}]}`), with(func(r *audit.Reported) {
			r.Decision = decision.Decision{Outcome: decision.Denied, Revision: "r-1", Reasons: []decision.Reason{{Code: decision.CodeUnknownField, Field: "ab"}}}
		}), ""},
		"two bundles":        {eventOf(`result={"allow":false}`, `bundles={"a":{"revision":"x"},"b":{"revision":"y"}}`), with(func(r *audit.Reported) { r.Decision = decision.Decision{Outcome: decision.Denied} }), ""},
		"a state beside it":  {eventOf(`result={"allow":false}`, `bundles={"charter":{"revision":"r-3"},"state":{"revision":"state-7"}}`), with(func(r *audit.Reported) { r.Decision = decision.Decision{Outcome: decision.Denied, Revision: "r-3"} }), ""},
		"no decision id":     {eventOf(`decision_id=`), nil, wire.CodeMissingField},
		"a long decision id": {eventOf(`decision_id="` + strings.Repeat("x", 200) + `"`), nil, wire.CodeInvalidValue},
		"no instance":        {eventOf(`labels={}`), nil, wire.CodeMissingField},
		"a strange instance": {eventOf(`labels={"id":"a\u0001"}`), nil, wire.CodeInvalidValue},
		"no time":            {eventOf(`timestamp=`), nil, wire.CodeMissingField},
		"labels of a kind":   {eventOf(`labels=5`), nil, wire.CodeWrongType},
		"not an object":      {`7`, nil, wire.CodeWrongType},
	} {
		s := set(t, nil)
		w := s.post("/logs", "["+c.event+"]")
		var answer taken
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != http.StatusOK {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
			continue
		}
		code := ""
		if len(answer.Errors) > 0 {
			code = answer.Errors[0].Code
		}
		var got *audit.Reported
		if len(s.all) > 0 {
			got = &s.all[0]
		}
		if code != c.code || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %q\n got %+v\nwant %+v", name, code, got, c.want)
		}
		if got != nil && (strings.Contains(fmt.Sprint(*got), "secret") || s.by[0] != audit.Reporter{Principal: "cert:edge-1", Instance: "opa-1"}) {
			t.Errorf("%s: %+v %+v", name, s.by, got)
		}
	}
}

// A few events that cannot be taken keep no others from being taken.
func TestPartlyReadable(t *testing.T) {
	s := set(t, nil)
	body := "[" + strings.Join([]string{eventOf(), `{}`, eventOf(`labels={"id":"opa-2"}`), eventOf(`query="x"`), eventOf(`decision_id="d-2"`)}, ",") + "]"
	w := s.post("/logs", body)
	want := `{"events":5,"denied":3,"allowed":0,"repeated":0,"refused":0,"unreadable":1,"ignored":1,"errors":[` +
		`{"code":"missing_field","message":"decision_id and labels.id are required","location":"1.decision_id"}]}` + "\n"
	if w.Code != http.StatusOK || w.Body.String() != want {
		t.Errorf("%d %s\nwant %s", w.Code, w.Body, want)
	}
	if len(s.by) != 2 || s.by[0].Instance != "opa-1" || s.by[1].Instance != "opa-2" || len(s.all) != 3 || s.all[1].ID != "d-2" {
		t.Errorf("%+v %+v", s.by, s.all)
	}
}

func TestRefusedUploads(t *testing.T) {
	for name, c := range map[string]struct {
		who          Caller
		err          error
		path, body   string
		header       []string
		status       int
		code, detail string
	}{
		"nobody's node":      {who: Caller{Principal: "token:x"}, status: 403, code: wire.CodeNodeMismatch},
		"any node":           {who: Caller{Principal: "token:x", AnyNode: true}, status: 200},
		"cut off":            {body: "[" + eventOf()[:100], status: 400, code: wire.CodeInvalidRequest, detail: "ends too early"},
		"an object":          {body: "{}", status: 400, code: wire.CodeInvalidRequest},
		"two texts":          {body: "[][]", status: 400, code: wire.CodeInvalidRequest},
		"a name twice":       {body: `[{"path":"a","path":"b"}]`, status: 400, code: wire.CodeInvalidRequest},
		"not UTF-8":          {body: "[{\"path\":\"\xff\"}]", status: 400, code: wire.CodeInvalidRequest},
		"nothing":            {body: " ", status: 400, code: wire.CodeInvalidRequest},
		"too large":          {body: "[" + strings.Repeat(" ", 5000) + "]", status: 413, code: wire.CodeBodyTooLarge, detail: "upload_size_limit_bytes"},
		"another coding":     {header: []string{"Content-Encoding", "br"}, status: 415, code: wire.CodeUnsupportedMedia},
		"another type":       {header: []string{"Content-Type", "text/plain"}, status: 415, code: wire.CodeUnsupportedMedia},
		"parameters":         {path: "/logs?x=1", status: 400, code: wire.CodeInvalidRequest},
		"the ledger is down": {err: fmt.Errorf("%w: %w", audit.ErrUnavailable, errors.New("disk")), status: 503, code: wire.CodeAuditUnavailable},
		"something else":     {err: errors.New("oh"), status: 500, code: wire.CodeInternal},
	} {
		s := set(t, func(o *Options) { o.MaxContent = 4096 })
		if s.memory.err = c.err; c.who != (Caller{}) {
			s.who = c.who
		}
		if c.path == "" {
			c.path = "/logs"
		}
		if c.body == "" {
			c.body = "[" + eventOf() + "]"
		}
		w := s.post(c.path, c.body, c.header...)
		if w.Code != c.status || !strings.Contains(w.Body.String(), `"`+c.code+`"`) && c.code != "" || !strings.Contains(w.Body.String(), c.detail) {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		if retry := w.Header().Get("Retry-After"); (retry != "") != (c.status == 503) {
			t.Errorf("%s: Retry-After %q", name, retry)
		}
	}
}

func TestTooManyUploads(t *testing.T) {
	s := set(t, nil)
	s.wait = make(chan struct{})
	done := make(chan int, slots)
	begin := func(principal string, underWay int) {
		t.Helper()
		go func() { done <- s.postAs(Caller{Principal: principal, AnyNode: true}, "/logs", "["+eventOf()+"]").Code }()
		deadline, tick := time.After(time.Minute), time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for s.api.underWay() < underWay {
			select {
			case <-tick.C:
			case <-deadline:
				t.Fatal("the upload does not get going")
			}
		}
	}
	refused := func(principal string) bool {
		w := s.postAs(Caller{Principal: principal}, "/status", statusOf("opa-1", runsOne))
		return w.Code == http.StatusTooManyRequests && w.Header().Get("Retry-After") != ""
	}
	begin("cert:edge-1", 1)
	begin("cert:edge-1", 2)
	if !refused("cert:edge-1") || refused("cert:edge-2") {
		t.Error("one uploader has more than its share, or keeps another from its own")
	}
	for i := 2; i < slots; i++ {
		begin(fmt.Sprintf("cert:other-%d", i), i+1)
	}
	if !refused("cert:edge-2") {
		t.Error("there is no bound")
	}
	close(s.wait)
	for range slots {
		if code := <-done; code != http.StatusOK {
			t.Error(code)
		}
	}
	if s.api.underWay() != 0 || len(s.api.busy) != 0 {
		t.Errorf("%d uploads, %v", s.api.underWay(), s.api.busy)
	}
}

func (a *API) underWay() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.all
}

func TestNewRefuses(t *testing.T) {
	s := set(t, nil)
	for _, change := range []func(*Options){
		func(o *Options) { o.Recorder = nil }, func(o *Options) { o.Log = nil }, func(o *Options) { o.Caller = nil }, func(o *Options) { o.MaxContent = -1 },
	} {
		o := s.api.Options
		change(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%+v", o)
		}
	}
}

// FuzzLogs looks for uploads that break a promise about what is recorded.
func FuzzLogs(f *testing.F) {
	f.Add("[" + eventOf() + "]")
	f.Add("[" + eventOf(`path="charter"`, `masked=["/input/node","/result"]`, `erased=["/input"]`) + "]")
	f.Add(`[{"labels":{"id":"x"},"decision_id":"y","timestamp":"2026-06-01T00:00:00Z","path":"charter/decision","input":[],"result":{"allow":true,"outcome":"denied"}}]`)
	m := &memory{}
	a, err := New(Options{Recorder: m, Log: none{}, Caller: func(context.Context) Caller { return Caller{Node: "edge-1"} }})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body string) {
		m.all = nil
		r := httptest.NewRequest(http.MethodPost, "/logs", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		a.handler("logs", a.logs).ServeHTTP(w, r)
		if w.Code != http.StatusOK && w.Code != http.StatusBadRequest {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		for _, r := range m.all {
			if r.ID == "" || len(r.ID) > maxID || r.Decision.Allow && r.Decision.WouldDeny == nil && r.Decision.Outcome != decision.Allowed ||
				r.Refused == "" && r.Input.Node != "" && r.Input.Node != "edge-1" {
				t.Fatalf("%+v", r)
			}
			for name, value := range r.Input.Labels {
				if value != "…" || len(name) > decision.MaxNameBytes {
					t.Fatalf("%+v", r)
				}
			}
		}
	})
}

// none takes everything and keeps nothing.
type none struct{}

func (none) AppendAll(_ context.Context, entries []ledger.Entry, _ ledger.Level) ([]ledger.Position, error) {
	for i := range entries {
		entries[i].Schema, entries[i].Time = ledger.Schema, "2026-06-01T00:00:00.000000000Z"
		if _, err := entries[i].Body(); err != nil {
			return nil, err
		}
	}
	return make([]ledger.Position, len(entries)), nil
}

// A few kilobytes of gzip decompress to millions of items that are no events: who steals
// the token of an uploader cannot exhaust the server with them.
func TestMoreItemsThanEventsFit(t *testing.T) {
	s := set(t, func(o *Options) { o.MaxContent = 4096 })
	for n, want := range map[int]int{32: http.StatusOK, 33: http.StatusRequestEntityTooLarge, 2000: http.StatusRequestEntityTooLarge} {
		w := s.post("/logs", "[0"+strings.Repeat(",0", n-1)+"]")
		if w.Code != want || want != http.StatusOK && !strings.Contains(w.Body.String(), wire.CodeBodyTooLarge) {
			t.Errorf("%d items: %d %s, want %d", n, w.Code, w.Body, want)
		}
	}
	if w := s.post("/logs", "["+eventOf()+"]"); w.Code != http.StatusOK || len(eventOf()) < leastEvent {
		t.Errorf("a real event: %d %s", w.Code, w.Body)
	}
}

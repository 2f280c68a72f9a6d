package decisionapi_test

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/westworld-charter/charter/internal/audit"
	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/decision"
	decisionapi "github.com/westworld-charter/charter/internal/httpapi/decision"
	"github.com/westworld-charter/charter/internal/wire"
)

// nodeA is a certificate of a node.
func nodeA() *decisionapi.Identity {
	return &decisionapi.Identity{
		Kind: decisionapi.KindCertificate, Name: "edge-1", Node: "edge-1", Scopes: []string{wire.ScopeCheck},
		Roles: []string{"node_operator"}, Claims: []string{"owns_node"}, Held: []string{"mtls"},
	}
}

func point(scopes ...string) *decisionapi.Identity {
	return &decisionapi.Identity{Kind: decisionapi.KindToken, Name: "gateway", Scopes: scopes}
}

// known serves f to the identity and to nobody else.
func known(t *testing.T, f *fake, id *decisionapi.Identity, change ...func(*decisionapi.Options)) string {
	t.Helper()
	all := append([]func(*decisionapi.Options){func(o *decisionapi.Options) {
		o.InsecureSelfAsserted = false
		o.Access.Authenticate = func(*http.Request) (*decisionapi.Identity, error) { return id, nil }
	}}, change...)
	return start(t, f, all...)
}

// policy is a policy of no clauses.
type policy struct{ c *charter.Charter }

func (policy) Revision() string              { return "r-1" }
func (p policy) Charter() *charter.Charter   { return p.c }
func withPolicy(p policy) decisionapi.Policy { return p }

const someCharter = `apiVersion: charter/v1
kind: Charter
metadata: {name: example, version: 1.0.0}
access_levels: [public]
purposes: [operations]
roles:
  - {name: node_operator, reads: [public], collects: [network]}
metrics:
  network:
    - {id: net.latency, match: [latency_p50], access: public}
`

// Whatever form a question has: a node speaks for itself alone. A route that is
// not in this table fails the test, so that none is forgotten.
func TestNoRouteLetsANodeAskForAnother(t *testing.T) {
	c, findings := charter.Parse("charter.yaml", []byte(someCharter))
	if findings.HasErrors() {
		t.Fatal(findings)
	}
	const other = `"node":"edge-2","role":"node_operator","operation":"collect"`
	q := `{"metric":"latency_p50",` + other + `}`
	evaluation := `{"subject":{"type":"node","id":"edge-2","properties":{"role":"node_operator"}},"action":{"name":"collect"},"resource":{"type":"metric","id":"latency_p50"}}`
	asking := map[string]struct{ body, media string }{
		"POST /":                               {body: q},
		"POST /v1/check":                       {body: q},
		"POST /v1/check/batch":                 {body: `{"common":{` + other + `},"items":[{"metric":"latency_p50"}]}`},
		"POST /v1/check/batch line by line":    {body: q + "\n", media: "application/x-ndjson"},
		"POST /v1/list":                        {body: `{` + other + `,"metrics":["latency_p50"]}`},
		"POST /v1/data/charter/decision":       {body: `{"input":` + q + `}`},
		"GET /v1/data/charter/decision":        {},
		"POST /v1/batch/data/charter/decision": {body: `{"inputs":{"a":` + q + `}}`},
		"POST /access/v1/evaluation":           {body: evaluation},
		"POST /access/v1/evaluations":          {body: `{"evaluations":[` + evaluation + `]}`},
		"GET /v1/allowed":                      {},
	}
	queries := map[string]string{
		"GET /v1/data/charter/decision": "?input=" + strings.NewReplacer(`"`, "%22", "{", "%7B", "}", "%7D").Replace(q),
		"GET /v1/allowed":               "?metric=latency_p50&node=edge-2&role=node_operator",
	}
	open := []string{"GET /", "GET /health", "GET /metrics", "GET /openapi.yaml", "GET /.well-known/authzen-configuration"}

	f := &fake{}
	var o decisionapi.Options
	rec := &refusals{}
	base := known(t, f, nodeA(), func(opts *decisionapi.Options) {
		opts.Auditor = rec
		opts.Policy = func() decisionapi.Policy { return withPolicy(policy{c}) }
		o = *opts
	})
	h, err := decisionapi.New(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range h.(*echo.Echo).Routes() {
		name := r.Method + " " + r.Path
		if _, ok := asking[name]; !ok && !slices.Contains(open, name) && r.Method != http.MethodHead {
			t.Errorf("%s: say here whether it answers questions, and how one looks", name)
		}
	}
	for name, form := range asking {
		method, path, _ := strings.Cut(strings.TrimSuffix(name, " line by line"), " ")
		var header []string
		if form.media != "" {
			header = []string{"Content-Type", form.media}
		} else if method == http.MethodPost {
			header = []string{"Content-Type", "application/json"}
		}
		got := do(t, request(t, method, base+path+queries[name], form.body, header...))
		if !strings.Contains(got.body, `"node_mismatch"`) || !strings.Contains(got.body, "edge-1") {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
		_, path, _ = strings.Cut(name, " ")
		path = strings.TrimSuffix(path, " line by line")
		for _, r := range rec.take(t, 1) {
			if r.Code != "node_mismatch" || r.Input.Node != "edge-2" || r.Input.Role != "node_operator" || r.Input.Time == "" || r.caller != (audit.Caller{Principal: "cert:edge-1", Route: path}) {
				t.Errorf("%s is recorded as %+v", name, r)
			}
		}
	}
	if len(f.asked) != 0 {
		t.Errorf("it was decided: %v", f.asked)
	}
	if got := post(t, base+"/v1/check", q); got.status != http.StatusForbidden || got.fault(t).Code != "node_mismatch" {
		t.Errorf("%d %s", got.status, got.body)
	}
	// The refusal can be told from the log: who, for whom, and why.
	for _, want := range []string{`"identity":"edge-1"`, `"identity_kind":"cert"`, `"node":"edge-2"`, `"code":"node_mismatch"`} {
		if !strings.Contains(f.logged(), want) {
			t.Errorf("the log lacks %s", want)
		}
	}
}

func TestWhatAnIdentityMaySay(t *testing.T) {
	const ask = `{"metric":"m","operation":"collect"`
	asserter := point(wire.ScopeCheck, wire.ScopeAssert)
	for _, c := range []struct {
		name     string
		id       *decisionapi.Identity
		question string
		status   int
		want     string // the code of a refusal, or node, role and claims of what was asked
	}{
		{"itself", nodeA(), ask + `,"node":"edge-1","role":"node_operator"}`, 200, "edge-1 node_operator mtls"},
		{"itself without saying so", nodeA(), ask + `,"role":"node_operator"}`, 200, "edge-1 node_operator mtls"},
		{"with no node", nodeA(), ask + `,"node":"","role":"node_operator"}`, 400, "invalid_request"},
		{"reads without a node", nodeA(), `{"metric":"m","operation":"read","node":"","role":"node_operator"}`, 200, "edge-1 node_operator mtls"},
		{"a claim it may make", nodeA(), ask + `,"role":"node_operator","claims":["owns_node"]}`, 200, "edge-1 node_operator owns_node,mtls"},
		{"the claim it has", nodeA(), ask + `,"role":"node_operator","claims":["mtls"]}`, 200, "edge-1 node_operator mtls"},
		{"another claim", nodeA(), ask + `,"role":"node_operator","claims":["auditor_on_call"]}`, 403, "claim_not_held"},
		{"another node", nodeA(), ask + `,"node":"edge-2","role":"node_operator"}`, 403, "node_mismatch"},
		{"a node that looks the same", nodeA(), ask + `,"node":"EDGE-1","role":"node_operator"}`, 403, "node_mismatch"},
		{"another role", nodeA(), ask + `,"role":"auditor"}`, 403, "role_not_held"},
		{"a time", nodeA(), ask + `,"role":"node_operator","time":"2026-01-01T00:00:00Z"}`, 400, "invalid_request"},
		{"anything", asserter, ask + `,"node":"edge-9","role":"auditor","claims":["x"]}`, 200, "edge-9 auditor x"},
		{"anything but a node", asserter, ask + `,"role":"auditor"}`, 400, "invalid_request"},
		{"anything but a time", asserter, ask + `,"node":"n","role":"r","time":"2026-01-01T00:00:00Z"}`, 400, "invalid_request"},
		{"no question", point(wire.ScopeMetrics), ask + `,"node":"n","role":"r"}`, 403, "insufficient_scope"},
		{"no node", point(wire.ScopeCheck), `{"metric":"m","operation":"read","node":"n","role":"r"}`, 403, "node_mismatch"},
		{"nobody", nil, ask + `,"node":"n","role":"r"}`, 401, "unauthenticated"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &fake{}
			got := post(t, known(t, f, c.id)+"/v1/check", c.question)
			if got.status != c.status {
				t.Fatalf("%d %s", got.status, got.body)
			}
			if c.status != http.StatusOK {
				if code := got.fault(t).Code; code != c.want || len(f.asked) > 0 {
					t.Errorf("code %s, asked %v", code, f.asked)
				}
				return
			}
			asked := f.asked[0]
			if s := asked.Node + " " + asked.Role + " " + strings.Join(asked.Claims, ","); s != c.want {
				t.Errorf("asked %q, want %q", s, c.want)
			}
		})
	}
}

func TestReplayMayChooseTheTime(t *testing.T) {
	f := &fake{}
	base := known(t, f, point(wire.ScopeCheck, wire.ScopeAssert, wire.ScopeReplay))
	const at = "2025-05-05T05:05:05Z"
	q := `{"metric":"m","operation":"collect","node":"n","role":"r","time":"` + at + `"}`
	for path, body := range map[string]string{
		"/v1/check":                        q,
		"/v1/check/batch":                  `{"items":[` + q + `]}`,
		"/v1/data/charter/decision":        `{"input":` + q + `}`,
		"/v1/batch/data/charter/decision":  `{"inputs":{"a":` + q + `}}`,
		"/v1/check/batch#with common time": `{"common":{"time":"` + at + `"},"items":[{"metric":"m","operation":"collect","node":"n","role":"r"}]}`,
	} {
		f.asked = nil
		path, _, _ = strings.Cut(path, "#")
		if got := post(t, base+path, body); got.status != http.StatusOK || len(f.asked) != 1 || f.asked[0].Time != at {
			t.Errorf("%s: %d %s, asked %v", path, got.status, got.body, f.asked)
		}
	}
	if got := post(t, base+"/v1/check", strings.Replace(q, `,"time":"`+at+`"`, "", 1)); got.status != http.StatusOK || f.asked[1].Time != noon.UTC().Format(time.RFC3339Nano) {
		t.Errorf("without a time: %s, asked %v", got.body, f.asked)
	}
}

func TestBatchSharesNoHeldClaims(t *testing.T) {
	f := &fake{}
	id := nodeA()
	got := post(t, known(t, f, id)+"/v1/check/batch",
		`{"common":{"operation":"collect","role":"node_operator","claims":["owns_node"]},"items":[{"metric":"a"},{"metric":"b","node":"edge-2"},{"metric":"c","claims":[]}]}`)
	var answer struct {
		Results []struct {
			Outcome string
			Error   *wire.Error
		}
	}
	if err := json.Unmarshal([]byte(got.body), &answer); err != nil || len(answer.Results) != 3 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	r := answer.Results
	if r[0].Outcome != decision.Allowed || r[1].Error == nil || r[1].Error.Code != "node_mismatch" || r[2].Outcome != decision.Allowed {
		t.Errorf("%s", got.body)
	}
	if a, c := strings.Join(f.asked[0].Claims, ","), strings.Join(f.asked[1].Claims, ","); a != "owns_node,mtls" || c != "mtls" {
		t.Errorf("claims %q and %q", a, c)
	}
}

func TestChallenges(t *testing.T) {
	f := &fake{}
	for _, c := range []struct {
		name string
		id   *decisionapi.Identity
		err  error
		want string
	}{
		{"no proof", nil, nil, `Bearer realm="charter"`},
		{"bad proof", nil, errors.New("the token is not known"), `Bearer realm="charter", error="invalid_token"`},
		{"proof of too little", point(wire.ScopeMetrics), nil, `Bearer realm="charter", error="insufficient_scope", scope="check"`},
	} {
		base := start(t, f, func(o *decisionapi.Options) {
			o.InsecureSelfAsserted = false
			o.Access.Authenticate = func(*http.Request) (*decisionapi.Identity, error) { return c.id, c.err }
		})
		got := post(t, base+"/v1/check", question)
		if header := got.header.Get("Www-Authenticate"); header != c.want {
			t.Errorf("%s: %d %s", c.name, got.status, header)
		}
		if c.err != nil && got.fault(t).Message != c.err.Error() {
			t.Errorf("%s: %s", c.name, got.body)
		}
	}
}

func TestScrapesNeedTheirScope(t *testing.T) {
	for name, c := range map[string]struct {
		id     *decisionapi.Identity
		status int
	}{
		"scraper": {point(wire.ScopeMetrics), 200}, "asker": {point(wire.ScopeCheck), 403}, "nobody": {nil, 401},
	} {
		if got := get(t, known(t, &fake{}, c.id)+"/metrics"); got.status != c.status {
			t.Errorf("%s: %d", name, got.status)
		}
	}
}

func TestLimits(t *testing.T) {
	f := &fake{}
	var counted []string
	base := known(t, f, nodeA(), func(o *decisionapi.Options) {
		o.Access.Limit = &purse{left: 1, wait: 1500 * time.Millisecond}
		o.Access.Observe = func(kind, result string) { counted = append(counted, kind+" "+result) }
	})
	q := `{"metric":"m","operation":"collect","role":"node_operator"}`
	if got := post(t, base+"/v1/check", q); got.status != http.StatusOK {
		t.Errorf("%d %s", got.status, got.body)
	}
	got := post(t, base+"/v1/check", q)
	if got.status != http.StatusTooManyRequests || got.header.Get("Retry-After") != "2" || got.fault(t).Code != "too_many_requests" {
		t.Errorf("%d %v %s", got.status, got.header, got.body)
	}
	if s := strings.Join(counted, ", "); s != "cert ok, cert limited" {
		t.Errorf("counted %s", s)
	}
}

func TestRoutesOfTheProcess(t *testing.T) {
	routes := []wire.Route{
		{Method: http.MethodGet, Path: "/v1/status", Scope: wire.ScopeAdmin, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "fine") })},
		{Method: http.MethodPost, Path: "/v1/reload", Scope: wire.ScopeAdmin, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			wire.Refuse(w, slog.New(slog.DiscardHandler), &wire.Error{Status: http.StatusUnprocessableEntity, Code: "c", Message: "m"})
		})},
		{Method: http.MethodGet, Path: "/open", Scope: wire.Public, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { decisionapi.WriteJSON(w, http.StatusOK, "<") })},
		{Method: http.MethodGet, Path: "/torn", Scope: wire.Public, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			decisionapi.WriteJSON(w, http.StatusOK, func() {})
		})},
	}
	f := &fake{status: decisionapi.Status{Charter: "c", Revision: "r", Degraded: &decisionapi.Degraded{Code: "invalid_charter", Message: "m", Since: noon.UTC()}}}
	var id *decisionapi.Identity
	o := decisionapi.Options{
		Decider: f, Reporter: f, Observer: f, Metrics: http.NotFoundHandler(),
		Access: decisionapi.Access{Authenticate: func(*http.Request) (*decisionapi.Identity, error) { return id, nil }},
	}
	if _, err := decisionapi.NewDiagnostics(o, []wire.Route{{Method: http.MethodGet, Path: "/forgotten", Handler: http.NotFoundHandler()}}); err == nil {
		t.Error("a route is open because its scope was forgotten")
	}
	h, err := decisionapi.NewDiagnostics(o, routes)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(h)
	defer s.Close()
	if got := get(t, s.URL+"/v1/status"); got.status != http.StatusUnauthorized {
		t.Errorf("nobody: %d", got.status)
	}
	id = point(wire.ScopeCheck)
	if got := get(t, s.URL+"/v1/status"); got.status != http.StatusForbidden || !strings.Contains(got.fault(t).Message, `the token "gateway"`) {
		t.Errorf("without the scope: %d %s", got.status, got.body)
	}
	id = point(wire.ScopeAdmin)
	if got := get(t, s.URL+"/v1/status"); got.status != http.StatusOK || got.body != "fine" {
		t.Errorf("admin: %d %s", got.status, got.body)
	}
	if got := do(t, request(t, http.MethodHead, s.URL+"/v1/status", "")); got.status != http.StatusOK {
		t.Errorf("HEAD: %d", got.status)
	}
	if got := post(t, s.URL+"/v1/reload", ""); got.status != http.StatusUnprocessableEntity || got.fault(t).Code != "c" {
		t.Errorf("an error: %d %s", got.status, got.body)
	}
	if got := post(t, s.URL+"/v1/reload", "", "Origin", "https://evil.example"); got.status != http.StatusForbidden {
		t.Errorf("a page of another origin: %d", got.status)
	}
	if got := get(t, s.URL+"/open"); got.body != "\"<\"\n" {
		t.Errorf("JSON: %q", got.body)
	}
	if got := get(t, s.URL+"/torn"); got.status != http.StatusInternalServerError {
		t.Errorf("what cannot be encoded: %d", got.status)
	}
	if got := post(t, s.URL+"/v1/check", question); got.status != http.StatusNotFound {
		t.Errorf("questions among diagnostics: %d", got.status)
	}
	if got := get(t, s.URL+"/health"); got.status != http.StatusOK || !strings.Contains(got.body, `"degraded":{"code":"invalid_charter","message":"m","since":"2026-06-01T12:00:00.123456789Z"}`) {
		t.Errorf("/health: %d %s", got.status, got.body)
	}
	if _, err := decisionapi.NewDiagnostics(decisionapi.Options{}, nil); err == nil {
		t.Error("unusable options: accepted")
	}
}

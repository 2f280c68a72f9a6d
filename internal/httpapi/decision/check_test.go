package decisionapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/decision"
	decisionapi "github.com/westworld-charter/charter/internal/httpapi/decision"
)

func TestCheckAnswersTheDecision(t *testing.T) {
	f := &fake{}
	base := start(t, f)
	got := post(t, base+"/v1/check", question, "Content-Type", "application/json")
	want := `{"allow":true,"outcome":"allowed","decision_id":"d-1","revision":"r-1","clause":"net.latency",` +
		`"severity":"none","reasons":[],"obligations":{},"mode":"enforce"}` + "\n"
	if got.status != http.StatusOK || got.body != want {
		t.Errorf("%d %s\nwant %s", got.status, got.body, want)
	}
	if got.header.Get("Cache-Control") != "no-store" {
		t.Error("a cache could keep the decision beyond its moment")
	}
	in := f.asked[0]
	if in.Metric != "latency_p50" || in.Claims[0] != "mtls" {
		t.Errorf("asked %+v", in)
	}
	if in.Time != "2026-06-01T12:00:00.123456789Z" {
		t.Errorf("stamped %q, want the server's time in UTC with nanoseconds", in.Time)
	}
}

func TestDenialsAreAnswersNotErrors(t *testing.T) {
	f := &fake{decide: func(context.Context, decision.Input) (decision.Decision, error) {
		return decision.Unloaded(), nil
	}}
	got := post(t, start(t, f)+"/v1/check", question)
	var d decision.Decision
	if err := json.Unmarshal([]byte(got.body), &d); err != nil || got.status != http.StatusOK {
		t.Fatalf("%d %s", got.status, got.body)
	}
	if d.Allow || d.Outcome != decision.NoPolicy {
		t.Errorf("%+v", d)
	}
	if !slices.Equal(f.decided, []string{"no_policy collect"}) {
		t.Errorf("counted %q", f.decided)
	}
}

func TestOPAForm(t *testing.T) {
	const path = "/v1/data/charter/decision"
	f := &fake{}
	base := start(t, f)
	want := `{"decision_id":"d-1","result":{"allow":true,"outcome":"allowed","revision":"r-1","clause":"net.latency",` +
		`"severity":"none","reasons":[],"obligations":{},"mode":"enforce"}}` + "\n"
	if got := post(t, base+path, `{"input": `+question+`}`); got.status != http.StatusOK || got.body != want {
		t.Errorf("POST: %d %s", got.status, got.body)
	}
	if got := get(t, base+path+"?input="+url.QueryEscape(question)); got.status != http.StatusOK || got.body != want {
		t.Errorf("GET: %d %s", got.status, got.body)
	}
	if len(f.asked) != 2 || f.asked[0].Time == "" || f.asked[1].Metric != "latency_p50" {
		t.Errorf("asked %+v", f.asked)
	}
	if strings.Contains(f.logged(), "claims") {
		t.Error("the query string reached the log")
	}
}

// A question that is not understood is HTTP 400 on every path and names the
// field; OPA would answer 200 with an undefined or false result.
func TestInvalidQuestions(t *testing.T) {
	const data = "/v1/data/charter/decision"
	for _, c := range []struct {
		name, path, body, code, location string
	}{
		{"empty", "/v1/check", ``, decision.CodeWrongType, "input"},
		{"not JSON", "/v1/check", `metric=latency_p50`, decision.CodeWrongType, "input"},
		{"array", "/v1/check", `[]`, decision.CodeWrongType, "input"},
		{"cut off", "/v1/check", question[:40], decision.CodeWrongType, "input"},
		{"two values", "/v1/check", question + question, decision.CodeWrongType, "input"},
		{"misspelt field", "/v1/check", strings.Replace(question, "metric", "metrik", 1), decision.CodeUnknownField, "metrik"},
		{"missing role", "/v1/check", `{"metric":"a","operation":"read"}`, decision.CodeMissingField, "role"},
		{"wrong type", "/v1/check", strings.Replace(question, `"edge-1"`, "7", 1), decision.CodeWrongType, "node"},
		{"unknown operation", "/v1/check", strings.Replace(question, "collect", "peek", 1), decision.CodeInvalidValue, "operation"},
		{"repeated field", "/v1/check", strings.Replace(question, "{", `{"role":"public",`, 1), decision.CodeInvalidValue, "role"},
		{"own time", "/v1/check", strings.Replace(question, "{", `{"time":"2026-01-01T00:00:00Z",`, 1), decision.CodeInvalidValue, "time"},
		{"deep", "/v1/check", strings.Repeat(`{"a":`, 9000), decision.CodeWrongType, "input"},
		{"not UTF-8", "/v1/check", strings.Replace(question, "edge-1", "\xff", 1), decision.CodeInvalidValue, "input"},
		{"OPA form on the bare path", "/v1/check", `{"input":` + question + `}`, decision.CodeUnknownField, "input"},

		{"empty, wrapped", data, ``, decision.CodeWrongType, "input"},
		{"array, wrapped", data, `[1]`, decision.CodeWrongType, "input"},
		{"no input", data, `{}`, decision.CodeMissingField, "input"},
		{"null input", data, `{"input":null}`, decision.CodeWrongType, "input"},
		{"bare question on the OPA path", data, question, decision.CodeUnknownField, "metric"},
		{"misspelt input", data, `{"imput":` + question + `}`, decision.CodeUnknownField, "imput"},
		{"second input", data, `{"input":` + question + `,"input":{}}`, decision.CodeInvalidValue, "input"},
		{"second key", data, `{"input":` + question + `,"explain":"full"}`, decision.CodeUnknownField, "explain"},
		{"broken key", data, `{"input":` + question + `,x}`, decision.CodeWrongType, "input"},
		{"broken value", data, `{"input":x}`, decision.CodeWrongType, "input"},
		{"unclosed", data, `{"input":` + question, decision.CodeWrongType, "input"},
		{"two wrapped values", data, `{"input":` + question + `}{}`, decision.CodeWrongType, "input"},
		{"misspelt field, wrapped", data, `{"input":` + strings.Replace(question, "metric", "metrik", 1) + `}`, decision.CodeUnknownField, "input.metrik"},
		{"own time, wrapped", data, `{"input":` + strings.Replace(question, "{", `{"time":"2026-01-01T00:00:00Z",`, 1) + `}`, decision.CodeInvalidValue, "input.time"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &fake{}
			got := post(t, start(t, f)+c.path, c.body)
			if got.status != http.StatusBadRequest {
				t.Fatalf("%d %s", got.status, got.body)
			}
			e := got.fault(t)
			if e.Code != decision.InvalidRequest || len(e.Errors) == 0 {
				t.Fatalf("%s", got.body)
			}
			if p := e.Errors[0]; p.Code != c.code || p.Location != c.location {
				t.Errorf("%s at %q: %s", p.Code, p.Location, p.Message)
			}
			if !strings.Contains(e.Message, strings.TrimPrefix(c.location, "input.")) {
				t.Errorf("the message does not name %s: %s", c.location, e.Message)
			}
			if len(f.asked) != 0 {
				t.Error("it was decided nevertheless")
			}
			if !slices.Equal(f.decided, []string{"invalid_request "}) {
				t.Errorf("counted %q", f.decided)
			}
		})
	}
}

func TestOPAQueryNeedsInput(t *testing.T) {
	base := start(t, &fake{})
	for _, q := range []string{"", "?input=", "?input=x", "?input=[]"} {
		got := get(t, base+"/v1/data/charter/decision"+q)
		if e := got.fault(t); got.status != http.StatusBadRequest || e.Errors[0].Location != "input" {
			t.Errorf("%q: %d %s", q, got.status, got.body)
		}
	}
}

func TestHintForTheOtherForm(t *testing.T) {
	got := post(t, start(t, &fake{})+"/v1/check", `{"input":`+question+`}`)
	if e := got.fault(t); !strings.Contains(e.Message, "POST /v1/data/charter/decision") {
		t.Errorf("no hint where this belongs: %s", e.Message)
	}
}

// All problems are reported at once, but a hostile question gets no answer that
// is much larger than itself.
func TestProblemsAreBounded(t *testing.T) {
	var b strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&b, `"%d%s":1,`, i, strings.Repeat("x", 20))
	}
	got := post(t, start(t, &fake{})+"/v1/check", "{"+b.String()+`"`+strings.Repeat("y", 5000)+`":1}`)
	if e := got.fault(t); len(e.Errors) < 2 || len(e.Errors) > 20 {
		t.Errorf("%d problems", len(e.Errors))
	}
	if len(got.body) > 8<<10 {
		t.Errorf("answer of %d bytes", len(got.body))
	}
	long := post(t, start(t, &fake{})+"/v1/check", `{"`+strings.Repeat("ü", 5000)+`":1}`)
	if e := long.fault(t); len(e.Errors[0].Location) > 200 || strings.Contains(e.Message, "\uFFFD") {
		t.Errorf("location of %d bytes: %s", len(e.Errors[0].Location), e.Message)
	}
}

// Rego is the second reader of the question. What it refuses is a 400, too.
func TestRefusalByTheDecider(t *testing.T) {
	f := &fake{decide: func(context.Context, decision.Input) (decision.Decision, error) {
		return decision.Decision{Outcome: decision.InvalidRequest, Mode: decision.Enforce, Reasons: []decision.Reason{
			{Code: decision.CodeInvalidValue, Clause: decision.ClauseRequest, Message: "no such unit", Field: "retention"},
		}}, nil
	}}
	got := post(t, start(t, f)+"/v1/data/charter/decision", `{"input":`+question+`}`)
	e := got.fault(t)
	if got.status != http.StatusBadRequest || e.Errors[0].Location != "input.retention" || e.Errors[0].Message != "no such unit" {
		t.Errorf("%d %s", got.status, got.body)
	}
}

func TestNoAnswerAllowsNothing(t *testing.T) {
	for _, c := range []struct {
		name   string
		decide func(context.Context, decision.Input) (decision.Decision, error)
		status int
		code   string
	}{
		{"error", func(context.Context, decision.Input) (decision.Decision, error) {
			return decision.Decision{Allow: true}, errors.New("secret detail")
		}, http.StatusInternalServerError, "internal_error"},
		{"panic", func(context.Context, decision.Input) (decision.Decision, error) {
			panic("secret detail")
		}, http.StatusInternalServerError, "internal_error"},
		{"deadline", func(ctx context.Context, _ decision.Input) (decision.Decision, error) {
			<-ctx.Done()
			return decision.Decision{Allow: true}, errors.New("secret detail")
		}, http.StatusServiceUnavailable, "timeout"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &fake{decide: c.decide}
			base := start(t, f, func(o *decisionapi.Options) { o.DecideTimeout = time.Millisecond })
			got := post(t, base+"/v1/check", question)
			if e := got.fault(t); got.status != c.status || e.Code != c.code {
				t.Errorf("%d %s", got.status, got.body)
			}
			if strings.Contains(got.body, "secret") || strings.Contains(got.body, `"allow":true`) {
				t.Errorf("leaks: %s", got.body)
			}
			if log := f.logged(); !strings.Contains(log, "secret detail") || !strings.Contains(log, `"level":"ERROR"`) {
				t.Errorf("the cause is not in the log: %s", log)
			}
			// The server goes on.
			f.decide = nil
			if again := post(t, base+"/v1/check", question); again.status != http.StatusOK {
				t.Errorf("afterwards: %d", again.status)
			}
		})
	}
}

// A client that leaves is no fault of the server and must not raise alarms.
func TestClientThatLeaves(t *testing.T) {
	asked, served := make(chan struct{}), make(chan struct{})
	f := &fake{decide: func(ctx context.Context, _ decision.Input) (decision.Decision, error) {
		close(asked)
		<-ctx.Done()
		return decision.Decision{}, ctx.Err()
	}}
	base := start(t, f, func(o *decisionapi.Options) { o.Observer = notify{f, served}; o.DecideTimeout = time.Hour })
	ctx, leave := context.WithCancel(t.Context())
	r := request(t, http.MethodPost, base+"/v1/check", question).WithContext(ctx)
	go func() {
		<-asked
		leave()
	}()
	if res, err := http.DefaultTransport.RoundTrip(r); err == nil {
		_ = res.Body.Close()
		t.Fatal("the request was not given up")
	}
	<-served
	if f.served[0] != "POST /v1/check " { // 499 has no text
		t.Errorf("counted %q", f.served)
	}
	if strings.Contains(f.logged(), `"level":"ERROR"`) {
		t.Errorf("logged as an error: %s", f.logged())
	}
}

// notify closes a channel when a request is counted.
type notify struct {
	*fake
	served chan struct{}
}

func (n notify) Served(ctx context.Context, route, method string, status int, took time.Duration) {
	n.fake.Served(ctx, route, method, status, took)
	close(n.served)
}

func TestPretty(t *testing.T) {
	base := start(t, &fake{})
	for query, want := range map[string]bool{"": false, "?pretty": true, "?pretty=true": true, "?pretty=false": false} {
		for path, body := range map[string]string{
			"/v1/check": question, "/v1/data/charter/decision": `{"input":` + question + `}`,
		} {
			got := post(t, base+path+query, body)
			if indented := strings.Contains(got.body, "\n  \""); got.status != http.StatusOK || indented != want {
				t.Errorf("%s%s: indented %v", path, query, indented)
			}
		}
	}
	if got := post(t, base+"/v1/check?pretty", `{}`); !strings.Contains(got.body, "\n  \"code\"") {
		t.Errorf("errors are not indented: %s", got.body)
	}
}

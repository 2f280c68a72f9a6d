package decisionapi_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/internal/decision"
	decisionapi "github.com/westworld-charter/charter/internal/httpapi/decision"
	"github.com/westworld-charter/charter/internal/wire"
)

const (
	evaluationPath  = "/access/v1/evaluation"
	evaluationsPath = "/access/v1/evaluations"
)

// evaluated is AuthZEN's Decision with our context.
type evaluated struct {
	Decision *bool
	Context  struct {
		Revision, Clause, Outcome, Withheld, Reason string
		Reasons                                     []decision.Reason
		Obligations                                 *decision.Obligations
		Error                                       *struct {
			Status        int
			Code, Message string
			Errors        []wire.Problem
		}
	}
}

func evaluate(t *testing.T, url, body string) evaluated {
	t.Helper()
	got := post(t, url, body, "Content-Type", "application/json")
	var e evaluated
	if err := json.Unmarshal([]byte(got.body), &e); err != nil || got.status != http.StatusOK || e.Decision == nil {
		t.Fatalf("%s: %d %s", body, got.status, got.body)
	}
	return e
}

// roleAsks is a request with a role as its subject.
func roleAsks(metric, more string) string {
	return `{"subject":{"type":"role","id":"auditor","properties":{"node":"edge-1","claims":["mtls"]}},"action":{"name":"read"},` +
		`"resource":{"type":"metric","id":"` + metric + `","properties":{"labels":{"instance":"a:1"},"retention":"30d"}}` + more + `}`
}

func TestEvaluation(t *testing.T) {
	f := &fake{}
	base := startNames(t, f, true) + evaluationPath
	e := evaluate(t, base, roleAsks("a", `,"context":{"purpose":"operations"}`))
	if !*e.Decision || e.Context.Clause != "net.latency" || e.Context.Revision != "r-7" || e.Context.Reasons == nil || e.Context.Obligations == nil {
		t.Errorf("%+v", e)
	}
	in := f.asked[0]
	if in.Role != "auditor" || in.Node != "edge-1" || in.Operation != "read" || in.Metric != "a" || in.Purpose != "operations" ||
		in.Labels["instance"] != "a:1" || in.Retention != "30d" || in.Claims[0] != "mtls" || in.Time == "" {
		t.Errorf("asked %+v", in)
	}
	if e := evaluate(t, base, roleAsks("deny", "")); *e.Decision || e.Context.Outcome != "denied" {
		t.Errorf("%+v", e)
	}
	evaluate(t, base, `{"subject":{"type":"node","id":"edge-7","properties":{"role":"node_operator","node":"edge-7"}},"action":{"name":"collect"},"resource":{"type":"metric","id":"b"}}`)
	if in := f.asked[2]; in.Role != "node_operator" || in.Node != "edge-7" || in.Operation != "collect" {
		t.Errorf("asked %+v", in)
	}
}

// A yes to a caller that drops no labels would let through what must be dropped.
func TestEvaluationWithObligations(t *testing.T) {
	base := startNames(t, &fake{}, true) + evaluationPath
	for more, want := range map[string]bool{"": false, `,"context":{"obligations":false}`: false, `,"context":{"obligations":true}`: true, `,"context":{"obligation":true}`: false} {
		e := evaluate(t, base, roleAsks("oblige", more))
		if *e.Decision != want || (e.Context.Withheld == "") != want || e.Context.Obligations.Retention != "30d" {
			t.Errorf("%s: %+v", more, e)
		}
	}
}

// The standard demands that unknown members are ignored. Those that are probably
// meant to be known are refused all the same: a label that is not seen is not
// forbidden.
func TestEvaluationIgnoresAndRefuses(t *testing.T) {
	base := startNames(t, &fake{}, true) + evaluationPath
	for name, body := range map[string]string{
		"members":    roleAsks("a", `,"foo":"bar","futureField":{"nested":[1,2]},"evaluations":7,"context":{"ip":"192.0.2.1","source":{}}`),
		"properties": `{"subject":{"type":"role","id":"r","properties":{"department":"Sales"},"session":1},"action":{"name":"read","properties":{"method":"GET"},"x":1},"resource":{"type":"metric","id":"a","properties":{"status":"active","owner":"bob"}}}`,
	} {
		if e := evaluate(t, base, body); !*e.Decision {
			t.Errorf("%s: %+v", name, e)
		}
	}
	r, a, m := `"subject":{"type":"role","id":"r"}`, `"action":{"name":"read"}`, `"resource":{"type":"metric","id":"m"}`
	for body, location := range map[string]string{
		``:                       "input",
		`{`:                      "input",
		`[]`:                     "input",
		`{} {}`:                  "input",
		"{\"subject\":\"\xff\"}": "input",
		`{` + a + `,` + m + `}`:  "subject",
		`{` + r + `,` + m + `}`:  "action",
		`{` + r + `,` + a + `}`:  "resource",
		`{"subject":{"id":"r"},` + a + `,` + m + `}`:                                                                  "subject.type",
		`{"subject":{"type":"role"},` + a + `,` + m + `}`:                                                             "subject.id",
		`{"subject":{"type":"role","id":""},` + a + `,` + m + `}`:                                                     "subject.id",
		`{"subject":{"type":"node","id":"","properties":{"role":"r"}},` + a + `,` + m + `}`:                           "subject.id",
		`{"subject":{"type":"user","id":"r"},` + a + `,` + m + `}`:                                                    "subject.type",
		`{"subject":{"type":"node","id":"n"},` + a + `,` + m + `}`:                                                    "subject.properties.role",
		`{"subject":{"type":"node","id":"n","properties":{"node":"m","role":"r"}},` + a + `,` + m + `}`:               "subject.properties.node",
		`{"subject":{"type":"role","id":"n","properties":{"role":"r"}},` + a + `,` + m + `}`:                          "subject.properties.role",
		`{"subject":{"type":"role","id":"n","properties":{"claims":"r"}},` + a + `,` + m + `}`:                        "subject.properties.claims",
		`{"subject":{"type":"role","id":"n","properties":[]},` + a + `,` + m + `}`:                                    "subject.properties",
		`{"subject":{"type":"role","id":"n","property":{}},` + a + `,` + m + `}`:                                      "subject.property",
		`{"subject":"r",` + a + `,` + m + `}`:                                                                         "subject",
		`{` + r + `,` + r + `,` + a + `,` + m + `}`:                                                                   "subject",
		`{` + r + `,"action":{},` + m + `}`:                                                                           "action.name",
		`{` + r + `,"action":{"name":123},` + m + `}`:                                                                 "action.name",
		`{` + r + `,"action":{"name":"can_read"},` + m + `}`:                                                          "action.name",
		`{` + r + `,"action":{"name":"collect"},` + m + `}`:                                                           "subject.properties.node",
		`{` + r + `,` + a + `,"resource":{"id":"m"}}`:                                                                 "resource.type",
		`{` + r + `,` + a + `,"resource":{"type":"metric"}}`:                                                          "resource.id",
		`{` + r + `,` + a + `,"resource":{"type":"metric","id":"m","id":"n"}}`:                                        "resource.id",
		`{` + r + `,` + a + `,"resource":{"type":"account","id":"m"}}`:                                                "resource.type",
		`{` + r + `,` + a + `,"resource":{"type":"metric","id":"m","labels":{"a":"b"}}}`:                              "resource.labels",
		`{` + r + `,` + a + `,"resource":{"type":"metric","id":"m","properties":{"label":{}}}}`:                       "resource.properties.label",
		`{` + r + `,` + a + `,"resource":{"type":"metric","id":"m","properties":{"labels":[]}}}`:                      "resource.properties.labels",
		`{` + r + `,` + a + `,"resource":{"type":"metric","id":"m","properties":{"labels":{"a":"1","a":"2"}}}}`:       "resource.properties.labels",
		`{` + r + `,` + a + `,"resource":{"type":"metric","id":"m","properties":{"retention":"x","retention":"1d"}}}`: "resource.properties.retention",
		`{` + r + `,` + a + `,"resource":{"type":"metric","id":"m","properties":{"retention":"x"}}}`:                  "resource.properties.retention",
		`{` + r + `,` + a + `,` + m + `,"context":[]}`:                                                                "context",
		`{` + r + `,` + a + `,` + m + `,"context":{"purpose":1}}`:                                                     "context.purpose",
		`{` + r + `,` + a + `,` + m + `,"context":{"obligations":"yes"}}`:                                             "context.obligations",
		`{` + r + `,` + a + `,` + m + `,"context":{"time":"2026-01-01"}}`:                                             "context.time",
		`{` + r + `,` + a + `,` + m + `,"context":{"time":"1985-10-26T01:22"}}`:                                       "context.time",
		roleAsks("refuse", ""): "resource.properties.retention",
	} {
		got := post(t, base, body, "Content-Type", "application/json")
		if e := got.fault(t); got.status != http.StatusBadRequest || e.Code != decision.InvalidRequest || e.Errors[0].Location != location {
			t.Errorf("%s: %d %s", body, got.status, got.body)
		}
	}
}

// Clients of the standard get along with what it says about HTTP.
func TestEvaluationTransport(t *testing.T) {
	root := startNames(t, &fake{}, true)
	for _, path := range []string{evaluationPath, evaluationsPath} {
		for _, media := range []string{"text/plain", "application/x-www-form-urlencoded", "application/xml"} {
			got := post(t, root+path, roleAsks("a", ""), "Content-Type", media)
			if got.status != http.StatusBadRequest || got.fault(t).Code != "unsupported_media_type" {
				t.Errorf("%s: %d %s", media, got.status, got.body)
			}
		}
		for _, id := range []string{"bfe9eb29-ab87-4ca3-be83-a1d5d8305716", "any {string} \"at all\""} {
			if got := post(t, root+path, roleAsks("a", ""), "X-Request-ID", id); got.header.Get("X-Request-ID") != id {
				t.Errorf("%q came back as %q", id, got.header.Get("X-Request-ID"))
			}
		}
		if got := post(t, root+path, roleAsks("a", "")); got.header.Get("Content-Type") != "application/json" || got.header.Get("X-Request-ID") == "" {
			t.Errorf("%v", got.header)
		}
		if got := post(t, root+path, roleAsks("fail", "")); got.status != http.StatusInternalServerError {
			t.Errorf("failure: %d %s", got.status, got.body)
		}
	}
}

// many is a request of three evaluations.
func many(semantic string, metrics ...string) string {
	list := make([]string, len(metrics))
	for i, m := range metrics {
		list[i] = `{"resource":{"type":"metric","id":"` + m + `"}}`
		if m == "" {
			list[i] = `{}`
		}
	}
	return `{"subject":{"type":"role","id":"r"},"action":{"name":"read"},"options":{"evaluations_semantic":"` + semantic + `","another_option":"value"},` +
		`"evaluations":[` + strings.Join(list, ",") + `]}`
}

func evaluateMany(t *testing.T, url, body string) []evaluated {
	t.Helper()
	got := post(t, url, body, "Content-Type", "application/json")
	var e struct {
		Evaluations []evaluated
		Decision    *bool
	}
	if err := json.Unmarshal([]byte(got.body), &e); err != nil || got.status != http.StatusOK || e.Evaluations == nil || e.Decision != nil {
		t.Fatalf("%s: %d %s", body, got.status, got.body)
	}
	for _, one := range e.Evaluations {
		if one.Decision == nil {
			t.Fatalf("%s: %s", body, got.body)
		}
	}
	return e.Evaluations
}

func TestEvaluationsSemantics(t *testing.T) {
	base := startNames(t, &fake{}, true) + evaluationsPath
	for _, c := range []struct {
		semantic string
		metrics  []string
		want     string
		reason   string // of the last
	}{
		{"execute_all", []string{"a", "deny", "", "b"}, "yes no fault yes", ""},
		{"deny_on_first_deny", []string{"a", "deny", "b"}, "yes no", "deny_on_first_deny"},
		{"deny_on_first_deny", []string{"a", "", "b"}, "yes fault", "deny_on_first_deny"},
		{"deny_on_first_deny", []string{"a", "fail", "b"}, "yes no", "deny_on_first_deny"},
		{"deny_on_first_deny", []string{"a", "b"}, "yes yes", ""},
		{"deny_on_first_deny", []string{"oblige", "b"}, "no", "deny_on_first_deny"},
		{"permit_on_first_permit", []string{"deny", "", "oblige", "a", "b"}, "no fault no yes", "permit_on_first_permit"},
		{"permit_on_first_permit", []string{"deny", "deny"}, "no no", ""},
	} {
		got := evaluateMany(t, base, many(c.semantic, c.metrics...))
		words := make([]string, len(got))
		for i, e := range got {
			switch {
			case e.Context.Error != nil && !*e.Decision:
				words[i] = "fault"
			case *e.Decision:
				words[i] = "yes"
			default:
				words[i] = "no"
			}
		}
		if have := strings.Join(words, " "); have != c.want || got[len(got)-1].Context.Reason != c.reason {
			t.Errorf("%s %q: %s (%s), want %s", c.semantic, c.metrics, have, got[len(got)-1].Context.Reason, c.want)
		}
	}
}

func TestEvaluations(t *testing.T) {
	f := &fake{}
	base := startNames(t, f, true) + evaluationsPath
	got := evaluateMany(t, base, `{"subject":{"type":"role","id":"r","properties":{"node":"n"}},"context":{"purpose":"p","obligations":true},"action":{"name":"read"},
		"resource":{"type":"metric","id":"a","properties":{"labels":{"l":"1"}}},"evaluations":[
		{}, {"resource":{"type":"metric","id":"oblige"}}, {"context":{},"resource":{"type":"metric","id":"oblige"}},
		{"action":{"name":"export"},"subject":{"type":"node","id":"m","properties":{"role":"s"}}}, {"action":{"name":"peek"}}, 7, {"context":{"time":"2026-01-01"}}]}`)
	for i, want := range []bool{true, true, false, true, false, false, false} {
		if *got[i].Decision != want {
			t.Errorf("%d: %+v", i, got[i])
		}
	}
	for i, location := range map[int]string{4: "action.name", 5: "evaluations", 6: "context.time"} {
		if e := got[i].Context.Error; e == nil || e.Status != http.StatusBadRequest || e.Code != decision.InvalidRequest || e.Errors[0].Location != location {
			t.Errorf("%d: %+v", i, e)
		}
	}
	if in := f.asked; len(in) != 4 || in[0].Labels["l"] != "1" || in[1].Labels != nil || in[0].Purpose != "p" || in[2].Purpose != "" || in[3].Role != "s" || in[3].Node != "m" || in[3].Operation != "export" || in[0].Node != "n" {
		t.Errorf("defaults are not taken over whole: %+v", in)
	}
	for _, body := range []string{roleAsks("a", ""), roleAsks("a", `,"evaluations":[]`), roleAsks("a", `,"evaluations":[],"options":{}`)} {
		if e := evaluate(t, base, body); !*e.Decision {
			t.Errorf("%s: %+v", body, e)
		}
	}
}

func TestEvaluationsEnvelope(t *testing.T) {
	base := startNames(t, &fake{}, true) + evaluationsPath
	for body, location := range map[string]string{
		``:                                    "input",
		`{"evaluations":[`:                    "input",
		`{"evaluations":[{},{]}`:              "input",
		`{"evaluations":{}}`:                  "evaluations",
		`{"evaluations":[],"evaluations":[]}`: "evaluations",
		`{"evaluations":[{}],"options":1}`:    "options",
		`{"evaluations":[{}],"options":{"evaluations_semantic":"first"}}`:                                            "options.evaluations_semantic",
		`{"evaluations":[{}],"options":{"evaluations_semantic":1}}`:                                                  "options.evaluations_semantic",
		`{"evaluations":[{}],"options":{"evaluation_semantics":"x"}}`:                                                "options.evaluation_semantics",
		`{"evaluations":[{}],"options":{"evaluations_semantic":"execute_all","evaluations_semantic":"execute_all"}}`: "options.evaluations_semantic",
		`{"evaluations":[{}],"subject":7}`:                                                                           "subject",
		`{"evaluations":[{}],"subject":{"type":"role"}}`:                                                             "subject.id",
		`{"evaluations":[{}],"context":{"time":"2026-01-01"}}`:                                                       "context.time",
		`{"evaluations":[` + strings.Repeat(`{},`, 10_000) + `{}]}`:                                                  "evaluations",
	} {
		got := post(t, base, body, "Content-Type", "application/json")
		if e := got.fault(t); got.status != http.StatusBadRequest || len(e.Errors) == 0 || e.Errors[0].Location != location {
			t.Errorf("%.100s: %d %.300s", body, got.status, got.body)
		}
	}
}

func TestDiscovery(t *testing.T) {
	for public, want := range map[string]string{"": "", "https://charter.example.org/pdp": "https://charter.example.org/pdp"} {
		base := startNames(t, &fake{}, true, func(o *decisionapi.Options) { o.PublicURL = public })
		if want == "" {
			want = base
		}
		got := get(t, base+"/.well-known/authzen-configuration")
		var m map[string]string
		if err := json.Unmarshal([]byte(got.body), &m); err != nil || got.status != http.StatusOK || got.header.Get("Content-Type") != "application/json" {
			t.Fatalf("%d %s", got.status, got.body)
		}
		if len(m) != 3 || m["policy_decision_point"] != want || m["access_evaluation_endpoint"] != want+evaluationPath || m["access_evaluations_endpoint"] != want+evaluationsPath {
			t.Errorf("%v", m)
		}
	}
}

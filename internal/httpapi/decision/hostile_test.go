package decisionapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	decisionapi "github.com/westworld-charter/charter/internal/httpapi/decision"
	"github.com/westworld-charter/charter/internal/wire"
)

// Whatever a hostile client sends to whichever endpoint, it gets a 4xx that says
// what is wrong, in little room, and others are served.
func TestHostileBodies(t *testing.T) {
	base := startNames(t, &fake{}, true)
	labels := strings.Builder{}
	for i := range 100_000 {
		fmt.Fprintf(&labels, `,"l%d":""`, i)
	}
	huge := `{"x":""` + labels.String() + `}`
	const rest = `"metric":"m","node":"n","role":"r","operation":"collect"`
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	access := func(properties string) string {
		return `{"subject":{"type":"role","id":"r"},"action":{"name":"read"},"resource":{"type":"metric","id":"m","properties":` + properties + `}}`
	}
	for _, c := range []struct {
		name, path, body string
		status           int
		says             string
	}{
		{"labels", "/v1/check", `{` + rest + `,"labels":` + huge + `}`, 413, "larger than"},
		{"labels", "/v1/check/batch", `{"items":[{` + rest + `,"labels":` + huge + `}]}`, 200, "more than 128 labels"},
		{"labels in common", "/v1/check/batch", `{"items":[],"common":{"labels":` + huge + `}}`, 400, "more than 128 labels"},
		{"labels", dataBatchPath, `{"inputs":{"a":{` + rest + `,"labels":` + huge + `}}}`, 400, "more than 128 labels"},
		{"labels", evaluationPath, access(`{"labels":` + huge + `}`), 413, "larger than"},
		{"labels", evaluationsPath, access(`{"labels":` + huge + `}`), 400, "more than 128 labels"},
		{"members", "/v1/check/batch", `{"items":[]` + labels.String() + `}`, 400, "unknown field"},
		{"members", evaluationsPath, `{"subject":7` + labels.String() + `}`, 400, "subject"},
		{"deep", "/", deep(10_000), 400, "must be"},
		{"deep", "/v1/check", `{"metric":` + deep(20_000) + `}`, 400, "depth"},
		{"deep", "/v1/check/batch", `{"items":` + deep(50_000) + `}`, 400, "nested deeper"},
		{"deep item", "/v1/check/batch", `{"items":[{"metric":` + deep(50_000) + `}]}`, 400, "nested deeper"},
		{"deep", dataBatchPath, `{"inputs":{"a":` + deep(50_000) + `}}`, 400, "nested deeper"},
		{"deep", evaluationPath, `{"foo":` + deep(20_000) + `}`, 400, "nested deeper"},
		{"deep", evaluationsPath, `{"evaluations":[{"context":` + strings.Repeat(`{"a":`, 50_000), 400, "nested deeper"},
		{"UTF-8", "/v1/check/batch", "{\"items\":[{\"\xc3\x28\":1}]}", 400, "UTF-8"},
		{"UTF-8", dataBatchPath, "{\"inputs\":{\"\xff\":{}}}", 400, "UTF-8"},
		{"UTF-8", evaluationsPath, "{\"\xf0\x28\x8c\x28\":1}", 400, "UTF-8"},
		{"array of numbers", "/v1/check/batch", `{"items":[` + strings.Repeat("1,", 2_000_000) + `1]}`, 400, "more than 10000"},
		{"array of numbers", evaluationsPath, `{"evaluations":[` + strings.Repeat("1,", 2_000_000) + `1]}`, 400, "more than 10000"},
		{"long key", "/v1/check/batch", `{"` + strings.Repeat("k", 1<<20) + `":1}`, 400, "unknown field"},
		{"long key", dataBatchPath, `{"inputs":{},"` + strings.Repeat("k", 1<<20) + `":1}`, 400, "unknown field"},
		{"long id", dataBatchPath, `{"inputs":{"` + strings.Repeat("k", 1<<20) + `":1}}`, 400, "must be an object"},
		{"long property", evaluationsPath, access(`{"labels":{},"` + strings.Repeat("label", 1<<17) + `":1}`), 200, "true"},
		{"number", "/v1/check/batch", `{"items":[` + strings.Repeat("9", 1<<20) + `e]}`, 400, "want a digit"},
	} {
		got := post(t, base+c.path, c.body, "Content-Type", "application/json")
		if got.status != c.status || !strings.Contains(got.body, c.says) {
			t.Errorf("%s to %s: %d %.300s", c.name, c.path, got.status, got.body)
		}
		if got.status >= 400 && len(got.body) > 20<<10 && c.name != "long id" {
			t.Errorf("%s to %s: an answer of %d bytes", c.name, c.path, len(got.body))
		}
		if got.status >= 400 && c.name != "long id" && c.path != dataBatchPath {
			got.fault(t)
		}
	}
	if got := post(t, base+"/v1/check", question); got.status != http.StatusOK {
		t.Errorf("afterwards: %d", got.status)
	}
}

// Every endpoint that decides asks who is there, and none answers a stranger.
func TestEveryQuestionNeedsAnIdentity(t *testing.T) {
	f := &fake{}
	base := startNames(t, f, true, stranger)
	for path, body := range map[string]string{
		"/": question, "/v1/check": question, "/v1/check/batch": `{"items":[` + question + `]}`, "/v1/data/charter/decision": `{"input":` + question + `}`,
		dataBatchPath: inputs("a"), evaluationPath: roleAsks("a", ""), evaluationsPath: roleAsks("a", ""), listPath: `{` + listQuestion + `}`,
	} {
		if got := post(t, base+path, body); got.status != http.StatusUnauthorized || got.fault(t).Code != "unauthenticated" {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
	if got, _ := lines(t, base+"/v1/check/batch", question); got.status != http.StatusUnauthorized {
		t.Errorf("stream: %d", got.status)
	}
	if got := get(t, base+"/v1/allowed?metric=a&node=n"); got.status != http.StatusUnauthorized {
		t.Errorf("/v1/allowed: %d", got.status)
	}
	for _, path := range []string{"/openapi.yaml", "/.well-known/authzen-configuration"} {
		if got := get(t, base+path); got.status != http.StatusOK {
			t.Errorf("%s: %d", path, got.status)
		}
	}
	if len(f.asked) > 0 {
		t.Errorf("decided %+v", f.asked)
	}
}

// stranger proves nobody's identity.
func stranger(o *decisionapi.Options) {
	o.InsecureSelfAsserted = false
	o.Policy = func() decisionapi.Policy { return nil }
}

// nodeOnly proves everybody to be node edge-1 in the role r.
func nodeOnly(o *decisionapi.Options) {
	o.InsecureSelfAsserted = false
	o.Policy = func() decisionapi.Policy { return nil }
	o.Access.Authenticate = func(*http.Request) (*decisionapi.Identity, error) {
		return &decisionapi.Identity{
			Kind: decisionapi.KindCertificate, Name: "edge-1", Node: "edge-1", Roles: []string{"r"}, Held: []string{"mtls"}, Scopes: []string{wire.ScopeCheck},
		}, nil
	}
}

// A node must not learn what another may do by asking in another form.
func TestEveryFormIsBoundToTheNode(t *testing.T) {
	f := &fake{}
	base := startNames(t, f, true, nodeOnly)
	const other = `{"metric":"a","node":"edge-2","role":"r","operation":"read"}`
	for path, body := range map[string]string{
		"/": other, "/v1/check": other, "/v1/data/charter/decision": `{"input":` + other + `}`,
		dataBatchPath:  `{"inputs":{"a":` + other + `}}`,
		evaluationPath: `{"subject":{"type":"node","id":"edge-2","properties":{"role":"r"}},"action":{"name":"read"},"resource":{"type":"metric","id":"a"}}`,
		listPath:       `{"role":"r","node":"edge-2","operation":"read","metrics":["a"]}`,
	} {
		if got := post(t, base+path, body); got.status != http.StatusForbidden || !strings.Contains(got.body, `"code":"node_mismatch"`) {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
	if got := get(t, base+"/v1/allowed?metric=a&node=edge-2&role=r"); got.status != http.StatusForbidden {
		t.Errorf("/v1/allowed: %d %s", got.status, got.body)
	}
	for path, body := range map[string]string{
		"/v1/check/batch": `{"items":[` + other + `]}`,
		evaluationsPath:   `{"evaluations":[{"subject":{"type":"node","id":"edge-2","properties":{"role":"r"}},"action":{"name":"read"},"resource":{"type":"metric","id":"a"}}]}`,
	} {
		if got := post(t, base+path, body); got.status != http.StatusOK || !strings.Contains(got.body, `"code":"node_mismatch"`) || !strings.Contains(got.body, `"errors":[]`) {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
	if got, _ := lines(t, base+"/v1/check/batch", other); !strings.Contains(got.body, `"code":"node_mismatch"`) {
		t.Errorf("stream: %d %s", got.status, got.body)
	}
	if len(f.asked) > 0 {
		t.Fatalf("decided %+v", f.asked)
	}
	// Its own node and claims go without saying.
	for path, body := range map[string]string{
		"/v1/check": `{"metric":"a","role":"r","operation":"collect"}`, "/v1/check/batch": `{"items":[{"metric":"a","role":"r","operation":"collect"}]}`,
		dataBatchPath:  `{"inputs":{"a":{"metric":"a","role":"r","operation":"collect"}}}`,
		evaluationPath: `{"subject":{"type":"role","id":"r"},"action":{"name":"collect"},"resource":{"type":"metric","id":"a"}}`,
		listPath:       `{"role":"r","operation":"collect","metrics":["a"]}`,
	} {
		if got := post(t, base+path, body); got.status != http.StatusOK || strings.Contains(got.body, "error") {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
		if in := f.asked[len(f.asked)-1]; in.Node != "edge-1" || len(in.Claims) != 1 || in.Claims[0] != "mtls" {
			t.Errorf("%s: asked %+v", path, in)
		}
	}
}

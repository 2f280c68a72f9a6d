package app

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// Who may look into the policy is who may do everything else on the diagnostics
// listener, and nobody changes anything there.
func TestOPARoutesAreForAdministrators(t *testing.T) {
	o := unrecorded()
	o.Charter, o.Diagnostics = example1, "127.0.0.1:0"
	o.TokenFile = put(t, filepath.Join(t.TempDir(), "tokens.yaml"), tokenFile())
	s := offered(t, o)
	for _, c := range []struct{ method, path, body string }{
		{"GET", "/v1/data", ""},
		{"POST", "/v1/data/charter/decision", `{"input":{}}`},
		{"GET", "/v1/query?q=x=1", ""},
		{"POST", "/v1/query", `{"query":"x=1"}`},
		{"GET", "/v1/policies", ""},
		{"GET", "/v1/policies/charter/decision.rego", ""},
	} {
		if status, body := send(t, &http.Client{}, c.method, s.diag+c.path, c.body); status != http.StatusUnauthorized || !strings.Contains(body, "unauthenticated") {
			t.Errorf("%s %s without a token: %d %.200s", c.method, c.path, status, body)
		}
		for _, token := range []string{nodeToken, gatewayToken} {
			if status, body := send(t, &http.Client{}, c.method, s.diag+c.path, c.body, "Authorization", "Bearer "+token); status != http.StatusForbidden || !strings.Contains(body, "insufficient_scope") {
				t.Errorf("%s %s with the wrong one: %d %.200s", c.method, c.path, status, body)
			}
		}
		if status, body := send(t, &http.Client{}, c.method, s.diag+c.path, c.body, "Authorization", "Bearer "+adminToken); status != http.StatusOK {
			t.Errorf("%s %s with a token: %d %.200s", c.method, c.path, status, body)
		}
		if status, _ := send(t, &http.Client{}, c.method, s.url+c.path, c.body, "Authorization", "Bearer "+adminToken); status != http.StatusNotFound && c.path != "/v1/data/charter/decision" {
			t.Errorf("%s %s on the first listener: %d", c.method, c.path, status)
		}
		for _, method := range []string{"PUT", "PATCH", "DELETE"} {
			status, body := send(t, &http.Client{}, method, s.diag+c.path, "{}", "Authorization", "Bearer "+adminToken)
			if status != http.StatusMethodNotAllowed || !strings.Contains(body, `"code":"method_not_allowed"`) {
				t.Errorf("%s %s: %d %.200s", method, c.path, status, body)
			}
		}
	}
	before := s.engine.Stats()
	for range 3 {
		send(t, &http.Client{}, "POST", s.diag+"/v1/data/charter/decision", `{"input":`+collect+`}`, "Authorization", "Bearer "+adminToken)
	}
	if after := s.engine.Stats(); after != before {
		t.Errorf("the cache took part: %+v, before %+v", after, before)
	}
}

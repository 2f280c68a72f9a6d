package app

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// reportNow is what a node without a release says.
func reportNow() string {
	return `{"time":"` + time.Now().UTC().Format(time.RFC3339) + `","status":{},"decisions":{"total":0,"denied":0}}`
}

// A node reports for itself alone, whatever it proves itself with, and learns nothing of
// the others.
func TestReportsNeedProof(t *testing.T) {
	f := fortified(t, "--tls-client-ca", "$DIR/clients.pem")
	edge := f.client(t, f.ca.Named(t, "charter://node/edge-1").Pair)
	for path, want := range map[string]int{"/v1/nodes/edge-1/report": http.StatusOK, "/v1/nodes/edge-2/report": http.StatusForbidden} {
		if status, body := send(t, edge, "POST", f.url+path, reportNow()); status != want {
			t.Errorf("%s with a certificate: %d %s", path, status, body)
		}
	}
	if status, body := send(t, edge, "GET", f.url+"/v1/fleet", ""); status != http.StatusForbidden {
		t.Errorf("the fleet for a node: %d %s", status, body)
	}
	if _, body := send(t, edge, "GET", f.url+"/metrics", ""); !strings.Contains(body, `charter_fleet_nodes{state="current"} 1`) ||
		!strings.Contains(body, `charter_fleet_reports_total{result="node_mismatch"} 1`) || strings.Contains(body, "edge-") {
		t.Error("metrics lack the node or the refusal, or name a node")
	}

	o := Defaults()
	o.Charter = example1
	o.TokenFile = put(t, filepath.Join(t.TempDir(), "tokens.yaml"), "- {name: edge-1, sha256: "+hashed("edge-token")+", scopes: [report], node: edge-1}\n"+
		"- {name: asker, sha256: "+hashed("asker-token")+", scopes: [check], node: edge-1, roles: [node_operator]}\n"+
		"- {name: ana, sha256: "+hashed("admin-token")+", scopes: [audit, admin]}\n")
	s := recording(t, o)
	for _, c := range []struct {
		method, path, token string
		want                int
		code                any
	}{
		{"POST", "/v1/nodes/edge-1/report", "edge-token", http.StatusOK, nil},
		{"POST", "/v1/nodes/edge-2/report", "edge-token", http.StatusForbidden, "node_mismatch"},
		{"POST", "/v1/nodes/edge-1/report", "asker-token", http.StatusForbidden, "insufficient_scope"},
		{"POST", "/v1/nodes/edge-1/report", "admin-token", http.StatusForbidden, "insufficient_scope"},
		{"POST", "/v1/nodes/edge-1/report", "", http.StatusUnauthorized, "unauthenticated"},
		{"GET", "/v1/fleet", "edge-token", http.StatusForbidden, "insufficient_scope"},
		{"GET", "/v1/fleet", "admin-token", http.StatusOK, nil},
		{"GET", "/v1/releases", "edge-token", http.StatusForbidden, "insufficient_scope"},
		{"POST", "/v1/releases", "edge-token", http.StatusForbidden, "insufficient_scope"},
		{"POST", "/v1/releases", "admin-token", http.StatusNotFound, "no_trust_policy"}, // without --trust
		{"POST", "/v1/rollouts/production/rollback", "edge-token", http.StatusForbidden, "insufficient_scope"},
		{"POST", "/v1/rollouts/production/rollback", "admin-token", http.StatusNotFound, "unknown_channel"},
	} {
		body := ""
		if strings.HasSuffix(c.path, "/report") {
			body = reportNow()
		}
		if status, answer := s.tell(t, c.method, c.path, c.token, "application/json", body); status != c.want || answer["code"] != c.code {
			t.Errorf("%s %s as %s: %d %v", c.method, c.path, c.token, status, answer)
		}
	}
}

// A token that reports names its node.
func TestReportTokenNeedsItsNode(t *testing.T) {
	path := put(t, filepath.Join(t.TempDir(), "tokens.yaml"), "- {name: x, sha256: "+hashed("x-token")+", scopes: [report]}\n")
	if _, err := loadTokens(t.Context(), path, stamps{}); err == nil || !strings.Contains(err.Error(), "speaks for one node") {
		t.Error(err)
	}
}

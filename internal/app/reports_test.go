package app

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// A report over HTTP is of this very ledger, says that nobody verified it, and is for
// auditors alone.
func TestReports(t *testing.T) {
	s := reporting(t, "true", func(o *Options) {
		put(t, o.TokenFile, "- {name: auditor, sha256: "+hashed("auditor-token")+", scopes: [audit]}\n"+
			"- {name: scraper, sha256: "+hashed("scraper-token")+", scopes: [metrics]}\n")
	})
	if status, answer := s.tell(t, "POST", "/v1/violations", "", "application/json", theft); status != http.StatusCreated {
		t.Fatalf("%d %v", status, answer)
	}
	get := func(path, token string) (int, map[string]any) { return s.tell(t, "GET", path, token, "", "") }
	now := time.Now().UTC()
	span := "?from=" + now.Add(-time.Hour).Format(time.RFC3339) + "&to=" + now.Add(time.Hour).Format(time.RFC3339)
	status, audit := get("/v1/reports/audit"+span, "auditor-token")
	coverage, _ := audit["coverage"].(map[string]any)
	if status != http.StatusOK || coverage["assurance"] != "unverified" || coverage["size"] == float64(0) {
		t.Errorf("%d %.400v", status, audit)
	}
	if status, node := get("/v1/reports/collection/edge-7"+span+"&format=markdown", "auditor-token"); status != http.StatusOK || !strings.Contains(node["body"].(string), "edge-7") {
		t.Errorf("%d %.400v", status, node)
	}
	for _, tc := range []struct {
		path, token string
		status      int
		code        string
	}{
		{"/v1/reports/audit" + span, "scraper-token", 403, "insufficient_scope"},
		{"/v1/reports/collection/edge-7" + span, "scraper-token", 403, "insufficient_scope"},
		{"/v1/reports/audit" + span, "", 401, "unauthenticated"},
		{"/v1/reports/audit", "auditor-token", 400, "invalid_request"},
		{"/v1/reports/audit?quarter=2026Q5", "auditor-token", 400, "invalid_request"},
		{"/v1/reports/audit?quarter=2026Q1&from=2026-01-01T00:00:00Z", "auditor-token", 400, "invalid_request"},
		{"/v1/reports/audit?from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z", "auditor-token", 400, "invalid_request"},
		{"/v1/reports/audit?quarter=2026Q1&format=pdf", "auditor-token", 400, "invalid_request"},
	} {
		if status, answer := get(tc.path, tc.token); status != tc.status || answer["code"] != tc.code {
			t.Errorf("%s as %q: %d %v", tc.path, tc.token, status, answer)
		}
	}
}

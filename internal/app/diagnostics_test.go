package app

import (
	"encoding/json"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

func TestDiagnosticsListener(t *testing.T) {
	o := selfAsserted(example1)
	o.Diagnostics = "127.0.0.1:0"
	s := offered(t, o)
	if status, _ := fetch(t, s.url+"/metrics"); status != http.StatusNotFound {
		t.Errorf("/metrics is served twice: %d", status)
	}
	for path, want := range map[string]string{
		"/metrics": "charter_policy_info", "/health": "revision", "/v1/config": `"tls.client_roles": "node_operator"`,
		"/v1/status": `"revision": "example-1.0.0+`, "/debug/pprof/": "goroutine", "/debug/pprof/cmdline": "", "/debug/pprof/heap?debug=1": "heap profile",
		"/debug/pprof/goroutine?debug=1": "goroutine profile",
	} {
		if status, body := fetch(t, s.diag+path); status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d %.200s", path, status, body)
		}
	}
	var st status
	if _, body := fetch(t, s.diag+"/v1/status"); json.Unmarshal([]byte(body), &st) != nil || len(st.Files) != 1 || st.Files[0] != example1 || !strings.HasPrefix(st.Digest, "sha256:") {
		t.Errorf("status %+v", st)
	}
	if status, _ := ask(t, s.diag+"/v1/reload", ""); status != http.StatusOK {
		t.Errorf("reload: %d", status)
	}
	if status, _ := ask(t, s.diag+"/v1/check", collect); status != http.StatusNotFound {
		t.Errorf("questions among diagnostics: %d", status)
	}
	o = unrecorded()
	o.Charter, o.Diagnostics = example1, "127.0.0.1:0"
	o.TokenFile = put(t, filepath.Join(t.TempDir(), "tokens.yaml"), tokenFile())
	s = offered(t, o)
	if status, _ := fetch(t, s.diag+"/v1/config"); status != http.StatusUnauthorized {
		t.Errorf("without a token: %d", status)
	}
	if status, body := send(t, &http.Client{}, "GET", s.diag+"/v1/config", "", "Authorization", "Bearer "+adminToken); status != http.StatusOK || strings.Contains(body, hashed(adminToken)) {
		t.Errorf("with one: %d %s", status, body)
	}
	if status, _ := send(t, &http.Client{}, "GET", s.diag+"/v1/config", "", "Authorization", "Bearer "+nodeToken); status != http.StatusForbidden {
		t.Errorf("with the wrong one: %d", status)
	}
}

// Both listeners are bound, served and closed together.
func TestTwoListeners(t *testing.T) {
	p := launch(t, "--charter", example1, "--insecure-self-asserted", "--diagnostics", "127.0.0.1:0")
	var diagnostics string
	for _, entry := range p.lines {
		if entry["msg"] == "diagnostics" {
			diagnostics, _ = entry["address"].(string)
		}
	}
	if status, body := fetch(t, "http://"+diagnostics+"/metrics"); status != http.StatusOK || !strings.Contains(body, "charter_policy_info") {
		t.Errorf("%d %.100s", status, body)
	}
	if code, _ := p.stop(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed below
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close() //nolint:errcheck // a test listener
	code, _, stderr := end(t, "--charter", example1, "--listen", "127.0.0.1:0", "--diagnostics", taken.Addr().String())
	if code != exitInternal || !strings.Contains(stderr, "in use") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

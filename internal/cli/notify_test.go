package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/westworld-charter/charter/internal/notify"
)

const notifyCharter = `apiVersion: charter/v1
kind: Charter
metadata: {name: mesh, version: 1.0.0}
access_levels: [public]
roles:
  - {name: operator, reads: [public], collects: [network]}
metrics:
  network:
    - {id: net.latency, match: [latency_p50], access: public}
notify:
  - {name: committee, slack: {channel: "#charter", url_env: SLACK_URL}}
  - {name: ops, webhook: {url: "%s/hook", secret_env: OPS_SECRET}}
  - {name: legal, email: {to: [legal@example.org]}}
`

func withEnv(t *testing.T, env map[string]string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := Main(t.Context(), args, strings.NewReader(""), &stdout, &stderr, func(name string) string { return env[name] })
	return result{code, stdout.String(), stderr.String()}
}

func TestNotifyTest(t *testing.T) {
	var got atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got.Add(1)
		if r.URL.Path == "/hook" && r.Header.Get("webhook-signature") == "" {
			t.Error("the webhook is not signed")
		}
	}))
	defer s.Close()
	dir := t.TempDir()
	path := filepath.Join(dir, "charter.yaml")
	if err := os.WriteFile(path, fmt.Appendf(nil, notifyCharter, s.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"SLACK_URL": s.URL + "/services/T0/tokentoken", "OPS_SECRET": "whsec_bmV3LXNlY3JldC1vZi1hdC1sZWFzdC0yNC1ieXRlcw=="}
	r := withEnv(t, env, "notify", "test", "--charter", path, "--receiver", "committee")
	if r.code != ExitOK || !strings.Contains(r.stdout, "delivered") || got.Load() != 1 {
		t.Errorf("%+v", r)
	}
	r = withEnv(t, env, "notify", "test", "--charter", path, "--format", "json")
	var results []notify.Result
	if err := json.Unmarshal([]byte(r.stdout), &results); err != nil || r.code != ExitInternal || len(results) != 3 || results[1].Code != "" || results[2].Code != notify.CodeSMTPNotConfigured {
		t.Errorf("%v: %+v", err, r)
	}
	if strings.Contains(r.stdout+r.stderr, "tokentoken") {
		t.Error("the output has a secret")
	}
	bad := filepath.Join(dir, "bad.yaml")
	if err := os.WriteFile(bad, []byte("a: b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		code int
		want string
		args []string
	}{
		{ExitUsage, "did you mean committee?", []string{"--charter", path, "--receiver", "comittee"}},
		{ExitUsage, "it has committee, ops, legal", []string{"--charter", path, "--receiver", "x"}},
		{ExitUsage, "--charter FILE", nil},
		{ExitUsage, "--smtp-from", []string{"--charter", path, "--smtp", "mail.example.org:587"}},
		{ExitInvalid, "not a valid charter", []string{"--charter", bad}},
	} {
		if r := withEnv(t, env, append([]string{"notify", "test"}, c.args...)...); r.code != c.code || !strings.Contains(r.stderr, c.want) {
			t.Errorf("%q: %+v", c.args, r)
		}
	}
}

func TestNotifyDead(t *testing.T) {
	data := t.TempDir()
	if r := withEnv(t, nil, "notify", "dead", "--data", data, "--format", "json"); r.code != ExitOK || strings.TrimSpace(r.stdout) != "[]" {
		t.Errorf("%+v", r)
	}
	dir := filepath.Join(data, "notify", "dead")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	letter := `{"id":"msg_1","receiver":"ops","channel":"webhook","code":"server_error","attempts":6,"dead":"2026-06-01T12:00:00Z","payload":{"data":{"count":7,"title":"7 × violation"}}}`
	if err := os.WriteFile(filepath.Join(dir, "1.json"), []byte(letter), 0o600); err != nil {
		t.Fatal(err)
	}
	r := withEnv(t, map[string]string{"CHARTER_DATA": data}, "notify", "dead")
	if want := "2026-06-01T12:00:00Z  ops       webhook  server_error  6         7         7 × violation"; r.code != ExitOK || !strings.Contains(r.stdout, want) {
		t.Errorf("%+v, want %q", r, want)
	}
	if err := os.WriteFile(filepath.Join(dir, "2.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := withEnv(t, nil, "notify", "dead", "--data", data); r.code != ExitInternal || !strings.Contains(r.stdout, "server_error") || !strings.Contains(r.stderr, "2.json") {
		t.Errorf("%+v", r)
	}
}

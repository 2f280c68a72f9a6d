package app

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/compile"
	"github.com/westworld-charter/charter/internal/decision"
)

// process is charter-server running in this process.
type process struct {
	url    string
	stdout *bytes.Buffer
	lines  []map[string]any    // of the log, up to "listening"
	log    chan map[string]any // what was logged since
	stop   func() (code int, rest string)
}

// await returns the next log entry with the message.
func (p *process) await(t *testing.T, msg string) map[string]any {
	t.Helper()
	for entry := range p.log {
		if entry["msg"] == msg {
			return entry
		}
	}
	t.Fatalf("ended without logging %q", msg)
	return nil
}

// launch runs Main until the test ends and waits until it listens.
func launch(t *testing.T, args ...string) *process {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	logged, stderr := io.Pipe()
	p := &process{stdout: &bytes.Buffer{}, log: make(chan map[string]any, 10_000)}
	code := make(chan int, 1)
	ended := make(chan struct{})
	args = append([]string{"--listen", "127.0.0.1:0", "--data", t.TempDir()}, args...)
	go func() {
		defer close(ended)
		code <- Main(ctx, server(), args, p.stdout, stderr, func(string) string { return "" })
		_ = stderr.Close()
	}()
	lines := bufio.NewScanner(logged)
	for p.url == "" {
		if !lines.Scan() {
			t.Fatalf("ended with %d before it listened: %v", <-code, p.lines)
		}
		entry := map[string]any{}
		if err := json.Unmarshal(lines.Bytes(), &entry); err != nil {
			t.Fatalf("log line %q: %v", lines.Text(), err)
		}
		p.lines = append(p.lines, entry)
		if entry["msg"] == "listening" {
			p.url, _ = entry["url"].(string)
		}
	}
	rest := make(chan string, 1)
	go func() {
		var b strings.Builder
		for lines.Scan() {
			b.WriteString(lines.Text() + "\n")
			entry := map[string]any{}
			_ = json.Unmarshal(lines.Bytes(), &entry)
			p.log <- entry
		}
		close(p.log)
		rest <- b.String()
	}()
	p.stop = func() (int, string) {
		cancel()
		return <-code, <-rest
	}
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return p
}

func ask(t *testing.T, url, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // the body was read
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(data)
}

func fetch(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // the body was read
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(data)
}

func decided(t *testing.T, body string) decision.Decision {
	t.Helper()
	var d decision.Decision
	if err := json.Unmarshal([]byte(body), &d); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return d
}

const (
	example1 = "testdata/charter.yaml"
	collect  = `{"metric":"latency_p50","node":"edge-1","role":"node_operator","operation":"collect","claims":["mtls"]}`
)

func TestServeACharter(t *testing.T) {
	p := launch(t, "--charter", example1, "--insecure-self-asserted", "--data", filepath.Join(t.TempDir(), "data"))
	status, body := ask(t, p.url+"/v1/check", collect)
	d := decided(t, body)
	if status != http.StatusOK || !d.Allow || d.Clause != "net.latency" || d.Obligations.Retention != "30d" || d.DecisionID == "" || !strings.HasPrefix(d.Revision, "example-1.0.0+") {
		t.Errorf("%d %s", status, body)
	}
	status, body = ask(t, p.url+"/v1/data/charter/decision", `{"input":`+strings.Replace(collect, "latency_p50", "home_location", 1)+`}`)
	var answer struct {
		DecisionID string `json:"decision_id"`
		Result     decision.Decision
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || status != http.StatusOK || answer.DecisionID == "" || answer.Result.Outcome != decision.Forbidden || answer.Result.Clause != "privacy.location" {
		t.Errorf("%d %s %v", status, body, err)
	}
	if status, body = ask(t, p.url+"/v1/check", strings.Replace(collect, "latency_p50", "latency_p5", 1)); decided(t, body).Outcome != decision.UnknownMetric || !strings.Contains(decided(t, body).Suggestion, "latency_p50") {
		t.Errorf("%d %s", status, body)
	}
	if status, body = ask(t, p.url+"/v1/check", strings.Replace(collect, "role", "roel", 1)); status != http.StatusBadRequest || !strings.Contains(body, `"location":"roel"`) {
		t.Errorf("%d %s", status, body)
	}
	if status, body = fetch(t, p.url+"/health?bundles"); status != http.StatusOK || !strings.Contains(body, `"charter":"example"`) {
		t.Errorf("%d %s", status, body)
	}
	_, body = fetch(t, p.url+"/metrics")
	for _, line := range []string{
		`charter_decisions_total{mode="enforce",operation="collect",outcome="allowed"} `,
		`metric_access_denied_total{outcome="forbidden"} 1`,
		`charter_http_requests_total{code="400",method="POST",route="/v1/check"} 1`,
		`charter_policy_info{charter="example",revision="example-1.0.0+`,
	} {
		if !strings.Contains(body, "\n"+line) {
			t.Errorf("/metrics lacks %s", line)
		}
	}
	code, rest := p.stop()
	if code != exitOK || !strings.Contains(rest, `"msg":"shutting down"`) || !strings.Contains(rest, `"msg":"stopped"`) {
		t.Errorf("exit code %d, log:\n%s", code, rest)
	}
	if warning := p.lines[len(p.lines)-2]; warning["level"] != "WARN" || !strings.Contains(fmt.Sprint(warning["msg"]), "INSECURE") {
		t.Errorf("nobody is warned: %v", p.lines)
	}
}

// The printed lines are what people try first: each must do what it says.
func TestPrintedExamples(t *testing.T) {
	for name, path := range map[string]string{
		"example": example1, "development": filepath.Join(root(t), "policies", "development", "charter.yaml"),
	} {
		t.Run(name, func(t *testing.T) {
			p := launch(t, "--charter", path, "--insecure-self-asserted")
			var outcomes []string
			for line := range strings.Lines(p.stdout.String()) {
				rest, ok := strings.CutPrefix(strings.TrimSpace(line), "curl -sS '"+p.url+"/v1/check?pretty' -d '")
				if !ok {
					if !strings.HasPrefix(line, "# ") {
						t.Errorf("not a script: %s", line)
					}
					continue
				}
				_, body := ask(t, p.url+"/v1/check", strings.TrimSuffix(rest, "'"))
				outcomes = append(outcomes, decided(t, body).Outcome)
			}
			if got := strings.Join(outcomes, " "); got != "allowed forbidden unknown_metric" {
				t.Errorf("outcomes %q of\n%s", got, p.stdout)
			}
			p.stop()
		})
	}
}

func TestWithoutProofOfIdentity(t *testing.T) {
	p := launch(t, "--charter", example1)
	if p.stdout.Len() > 0 {
		t.Errorf("standard output: %s", p.stdout)
	}
	if status, body := ask(t, p.url+"/v1/check", collect); status != http.StatusUnauthorized || !strings.Contains(body, "unauthenticated") {
		t.Errorf("%d %s", status, body)
	}
	if status, _ := fetch(t, p.url+"/health"); status != http.StatusOK {
		t.Errorf("/health %d", status)
	}
	p.stop()
}

func bundled(t *testing.T, path string) *bundle.Bundle {
	t.Helper()
	c, findings := charter.Load(path)
	if findings.HasErrors() {
		t.Fatal(findings)
	}
	b, err := compile.Build(c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestServeABundle(t *testing.T) {
	dir := t.TempDir()
	b := bundled(t, example1)
	if err := b.WriteDir(filepath.Join(dir, "unpacked")); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "bundle.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.WriteTar(f); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"unpacked", "bundle.tar.gz"} {
		p := launch(t, "--bundle", filepath.Join(dir, name), "--insecure-self-asserted")
		if status, body := ask(t, p.url+"/v1/check", collect); status != http.StatusOK || !decided(t, body).Allow {
			t.Errorf("%s: %d %s", name, status, body)
		}
		p.stop()
	}
}

func TestStateDocument(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state.json")
	if err := os.WriteFile(state, []byte(`{"standing":{"edge-1":{"state":"quarantined"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	p := launch(t, "--charter", example1, "--insecure-self-asserted", "--state", state)
	if _, body := ask(t, p.url+"/v1/check", collect); decided(t, body).Outcome != decision.Quarantined {
		t.Errorf("%s", body)
	}
	p.stop()
}

// tampered writes a bundle whose entrypoint does not compile.
func tampered(t *testing.T) string {
	t.Helper()
	b := bundled(t, example1)
	files := map[string][]byte{}
	for _, path := range b.Paths() {
		files[path], _ = b.File(path)
	}
	files["charter/decision.rego"] = []byte("package charter\n\ndecision := http.send({})\n")
	bad, err := bundle.New(files)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "tampered")
	if err := bad.WriteDir(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// end runs Main to its end.
func end(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Main(t.Context(), server(), append([]string{"--data", t.TempDir()}, args...), &out, &errs, func(string) string { return "" })
	return code, out.String(), errs.String()
}

func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good, err := os.ReadFile(example1)
	if err != nil {
		t.Fatal(err)
	}
	typo := file("typo.yaml", strings.Replace(string(good), "retention: 30d", "retension: 30d", 1))
	conflict := file("conflict.yaml", strings.Replace(string(good), `match: ["edge_*"]`, "match: [latency_p50]", 1))
	taken, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed below
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close() //nolint:errcheck // a test listener
	for _, c := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"nothing to serve", nil, exitUsage, "--help"},
		{"bad configuration", []string{"--config", file("server.yaml", "lisen: x\n")}, exitUsage, "server.yaml:1:1"},
		{"not loopback", []string{"--charter", example1, "--insecure-self-asserted", "--listen", "0.0.0.0:0"}, exitUsage, "must be loopback"},
		{"misspelt field", []string{"--charter", typo}, exitPolicy, "typo.yaml:11:"},
		{"conflicting clauses", []string{"--charter", conflict}, exitPolicy, "conflict.yaml:12:"},
		{"no such charter", []string{"--charter", filepath.Join(dir, "none.yaml")}, exitPolicy, "none.yaml"},
		{"no such bundle", []string{"--bundle", filepath.Join(dir, "none.tar.gz")}, exitPolicy, "none.tar.gz"},
		{"not a bundle", []string{"--bundle", example1}, exitPolicy, "bad_archive"},
		{"tampered bundle", []string{"--bundle", tampered(t)}, exitPolicy, "bundle_not_reproducible"},
		{"no such state", []string{"--charter", example1, "--state", filepath.Join(dir, "none.json")}, exitPolicy, "none.json"},
		{"state is a list", []string{"--charter", example1, "--state", file("list.json", "[]")}, exitPolicy, "list.json"},
		{"state is null", []string{"--charter", example1, "--state", file("null.json", "null")}, exitPolicy, "null"},
		{"two states", []string{"--charter", example1, "--state", file("two.json", "{}{}")}, exitPolicy, "more than one"},
		{"port in use", []string{"--charter", example1, "--listen", taken.Addr().String()}, exitInternal, "in use"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, stdout, stderr := end(t, c.args...)
			if code != c.code || !strings.Contains(stderr, c.want) || stdout != "" {
				t.Errorf("exit code %d, want %d with %q\nstdout: %s\nstderr: %s", code, c.code, c.want, stdout, stderr)
			}
		})
	}
}

func TestHelpAndVersion(t *testing.T) {
	for _, flag := range []string{"-h", "--help"} {
		code, stdout, stderr := end(t, flag)
		if code != exitOK || stderr != "" {
			t.Errorf("%s: %d %s", flag, code, stderr)
		}
		for _, s := range serverSettings() {
			if !strings.Contains(stdout, "--"+s.flag+" ") || !strings.Contains(stdout, server().variable(s.flag)) {
				t.Errorf("%s does not tell of --%s", flag, s.flag)
			}
		}
		if !strings.Contains(stdout, "Examples:") || !strings.Contains(stdout, "Exit codes:") {
			t.Errorf("%s:\n%s", flag, stdout)
		}
	}
	if code, stdout, _ := end(t, "--version"); code != exitOK || !strings.HasPrefix(stdout, "charter-server ") || strings.Count(stdout, "\n") != 1 {
		t.Errorf("--version: %d %q", code, stdout)
	}
	if code := Main(t.Context(), server(), []string{"--help"}, closed{}, io.Discard, func(string) string { return "" }); code != exitInternal {
		t.Errorf("help that nobody could read: exit code %d", code)
	}
}

// closed is a standard output that is gone.
type closed struct{}

func (closed) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestStoppedBeforeItStarted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	code := Main(ctx, server(), []string{"--data", t.TempDir(), "--charter", example1, "--listen", "127.0.0.1:0"}, io.Discard, io.Discard, func(string) string { return "" })
	if code != exitOK {
		t.Errorf("exit code %d: being told to stop is no failure", code)
	}
}

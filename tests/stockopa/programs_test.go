package stockopa

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/tests/internal/judge"
)

const (
	// patience is how long anything may take that is not measured.
	patience = 60 * time.Second
	// moment is a time at which the charter says what it says now.
	moment = "2026-06-01T00:00:00Z"

	uploadToken, auditToken = "token-of-the-agent-of-edge-1", "token-of-an-auditor"
)

// program builds charter-server once.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "charter-stockopa-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "charter-server")
	if out, err := exec.Command("go", "build", "-o", path, "../../cmd/charter-server").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := program(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path)) // a temporary directory
	}
	os.Exit(code)
}

// process is a program that runs until the test kills it, or ends.
type process struct {
	cmd    *exec.Cmd
	log    bytes.Buffer // read when the process has ended
	killed bool
}

func run(t *testing.T, path string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(path, args...)}
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s logged: %.6000s", filepath.Base(path), p.log.String())
		}
	})
	return p
}

// kill ends the process at once.
func (p *process) kill() {
	if !p.killed {
		p.killed = true
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait() // killed
	}
}

// server is a charter-server with a charter and tokens of its own.
type server struct {
	*process
	t              *testing.T
	dir, addr, url string
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // nothing was served
	return l.Addr().String()
}

// serve starts a charter-server that serves a copy of the shipped production charter.
func serve(t *testing.T) *server {
	t.Helper()
	s := &server{t: t, dir: t.TempDir(), addr: freeAddress(t)}
	s.url = "http://" + s.addr
	tokens := ""
	for name, entry := range map[string]string{
		uploadToken: "name: agent, scopes: [upload], node: edge-1", auditToken: "name: auditor, scopes: [audit]",
	} {
		sum := sha256.Sum256([]byte(name))
		tokens += fmt.Sprintf("- {%s, sha256: %s}\n", entry, hex.EncodeToString(sum[:]))
	}
	s.write("tokens.yaml", tokens)
	s.write("opa.token", uploadToken)
	policies := filepath.Join(judge.Root(t), "policies")
	for _, name := range []string{"base/charter.yaml", "production/charter.yaml"} {
		text, err := os.ReadFile(filepath.Join(policies, name))
		if err != nil {
			t.Fatal(err)
		}
		s.write(name, string(text))
	}
	s.start()
	return s
}

func (s *server) path(name string) string { return filepath.Join(s.dir, filepath.FromSlash(name)) }

func (s *server) write(name, text string) {
	s.t.Helper()
	if err := os.MkdirAll(filepath.Dir(s.path(name)), 0o700); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(s.path(name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// start starts the program, again perhaps.
func (s *server) start(args ...string) {
	s.t.Helper()
	path, err := program()
	if err != nil {
		s.t.Fatal(err)
	}
	s.process = run(s.t, path, append([]string{
		"--charter", s.path("production/charter.yaml"), "--listen", s.addr, "--data", s.path("data"),
		"--token-file", s.path("tokens.yaml"), "--log-level", "warn", "--watch", "100ms",
	}, args...)...)
	eventually(s.t, "charter-server is healthy", func() error {
		_, _, err := get(s.url+"/health", "")
		return err
	})
}

// agent is a stock opa with the configuration of the documentation.
type agent struct {
	*process
	url string
}

// follow starts an opa that downloads from and uploads to a server. Change edits its
// configuration.
func follow(t *testing.T, s *server, service string, change ...string) *agent {
	t.Helper()
	opa := judge.Path(t, "opa")
	text, err := os.ReadFile(filepath.Join(judge.Root(t), "docs", "opa.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	config := strings.NewReplacer(append([]string{
		"https://charter.example.org:8000", service, "/etc/opa/charter.token", s.path("opa.token"),
		"{min_delay_seconds: 5, max_delay_seconds: 10,", "{min_delay_seconds: 1, max_delay_seconds: 1,",
	}, change...)...).Replace(string(text))
	file := filepath.Join(t.TempDir(), "opa.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := freeAddress(t)
	a := &agent{url: "http://" + addr}
	a.process = run(t, opa, "run", "--server", "--disable-telemetry", "--log-level", "error", "--addr", addr, "--config-file", file)
	eventually(t, "opa has the bundle", func() error {
		_, _, err := get(a.url+"/health?bundles", "")
		return err
	})
	return a
}

// revision is that of the bundle which the agent has.
func (a *agent) revision() string {
	_, body, err := get(a.url+"/v1/data/charter/tables/charter/revision", "")
	var answer struct {
		Result string `json:"result"`
	}
	if err != nil || json.Unmarshal(body, &answer) != nil {
		return ""
	}
	return answer.Result
}

// decide asks the agent.
func (a *agent) decide(t *testing.T, input any) map[string]any {
	t.Helper()
	body, err := json.Marshal(map[string]any{"input": input})
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.Post(a.url+"/v1/data/charter/decision", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // only read
	var answer struct {
		Result map[string]any `json:"result"`
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return answer.Result
}

// get returns an answer with status 200; others are errors.
func get(url, token string, header ...string) (http.Header, []byte, error) {
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	if err != nil {
		return nil, nil, err
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close() //nolint:errcheck // only read
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %d %.300s", url, res.StatusCode, body)
	}
	return res.Header, body, err
}

// entries are those of some kinds in the ledger of the server.
func (s *server) entries(kinds ...ledger.Kind) []ledger.Entry {
	s.t.Helper()
	var all []ledger.Entry
	query := "limit=1000"
	for _, k := range kinds {
		query += "&kind=" + string(k)
	}
	for from := 0; ; {
		_, body, err := get(fmt.Sprintf("%s/v1/ledger/entries?%s&from=%d", s.url, query, from), auditToken, "Accept", "application/x-ndjson")
		if err != nil {
			s.t.Fatal(err)
		}
		if len(body) == 0 {
			return all
		}
		for line := range bytes.Lines(body) {
			var row struct {
				Index int          `json:"index"`
				Entry ledger.Entry `json:"entry"`
			}
			if err := json.Unmarshal(line, &row); err != nil {
				s.t.Fatalf("%v: %s", err, line)
			}
			from = row.Index + 1
			all = append(all, row.Entry)
		}
	}
}

// eventually polls until nothing is wrong.
func eventually(t *testing.T, what string, wrong func() error) {
	t.Helper()
	tick, deadline := time.NewTicker(20*time.Millisecond), time.After(patience)
	defer tick.Stop()
	for {
		err := wrong()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited %s until %s: %v", patience, what, err)
		}
	}
}

// statuses are what OPAs said of their bundles.
func (s *server) statuses() []string {
	var list []string
	for _, e := range s.entries(ledger.Instance) {
		list = append(list, string(e.Data))
	}
	return list
}

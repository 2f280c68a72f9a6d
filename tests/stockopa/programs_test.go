package stockopa

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/tests/internal/fetch"
	"github.com/westworld-charter/charter/tests/internal/file"
	"github.com/westworld-charter/charter/tests/internal/judge"
	"github.com/westworld-charter/charter/tests/internal/process"
	"github.com/westworld-charter/charter/tests/internal/program"
)

const (
	// moment is a time at which the charter says what it says now.
	moment = "2026-06-01T00:00:00Z"

	uploadToken, auditToken = "token-of-the-agent-of-edge-1", "token-of-an-auditor"
)

// server is a charter-server with a charter and tokens of its own.
type server struct {
	*process.Process
	t              *testing.T
	dir, addr, url string
}

// serve starts a charter-server that serves a copy of the shipped production charter.
func serve(t *testing.T) *server {
	t.Helper()
	s := &server{t: t, dir: t.TempDir(), addr: process.FreeAddress(t)}
	s.url = "http://" + s.addr
	tokens := ""
	for name, entry := range map[string]string{
		uploadToken: "name: agent, scopes: [upload], node: edge-1", auditToken: "name: auditor, scopes: [audit]",
	} {
		tokens += fmt.Sprintf("- {%s, sha256: %x}\n", entry, sha256.Sum256([]byte(name)))
	}
	s.write("tokens.yaml", tokens)
	s.write("opa.token", uploadToken)
	policies := filepath.Join(judge.Root(t), "policies")
	for _, name := range []string{"base/charter.yaml", "production/charter.yaml"} {
		s.write(name, file.Read(t, filepath.Join(policies, name)))
	}
	s.start()
	return s
}

func (s *server) path(name string) string { return filepath.Join(s.dir, filepath.FromSlash(name)) }

func (s *server) write(name, text string) {
	s.t.Helper()
	file.Write(s.t, s.path(name), text)
}

// start starts the program, again perhaps.
func (s *server) start(args ...string) {
	s.t.Helper()
	s.Process = process.Start(s.t, process.Options{}, program.Path(s.t, "charter-server"), append([]string{
		"--charter", s.path("production/charter.yaml"), "--listen", s.addr, "--data", s.path("data"),
		"--token-file", s.path("tokens.yaml"), "--log-level", "warn", "--watch", "100ms",
	}, args...)...)
	s.Ready(s.t, func() error {
		_, err := fetch.Get(s.t.Context(), s.url+"/health")
		return err
	})
}

// agent is a stock opa with the configuration of the documentation.
type agent struct {
	*process.Process
	url string
}

// follow starts an opa that downloads from and uploads to a server. Change edits its
// configuration.
func follow(t *testing.T, s *server, service string, change ...string) *agent {
	t.Helper()
	opa := judge.Path(t, "opa")
	config := strings.NewReplacer(append([]string{
		"https://charter.example.org:8000", service, "/etc/opa/charter.token", s.path("opa.token"),
		"{min_delay_seconds: 5, max_delay_seconds: 10,", "{min_delay_seconds: 1, max_delay_seconds: 1,",
	}, change...)...).Replace(file.Read(t, filepath.Join(judge.Root(t), "docs", "opa.yaml")))
	addr := process.FreeAddress(t)
	a := &agent{url: "http://" + addr}
	a.Process = process.Start(t, process.Options{}, opa, "run", "--server", "--disable-telemetry", "--log-level", "error", "--addr", addr,
		"--config-file", file.Write(t, filepath.Join(t.TempDir(), "opa.yaml"), config))
	a.Ready(t, func() error {
		_, err := fetch.Get(t.Context(), a.url+"/health?bundles")
		return err
	})
	return a
}

// revision is that of the bundle which the agent has.
func (a *agent) revision() string {
	body, err := fetch.Get(context.Background(), a.url+"/v1/data/charter/tables/charter/revision")
	var answer struct {
		Result string `json:"result"`
	}
	if err != nil || json.Unmarshal([]byte(body), &answer) != nil {
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
	text, err := fetch.Text(t.Context(), http.DefaultClient, http.MethodPost, a.url+"/v1/data/charter/decision", string(body))
	var answer struct {
		Result map[string]any `json:"result"`
	}
	if err == nil {
		err = json.Unmarshal([]byte(text), &answer)
	}
	if err != nil {
		t.Fatal(err)
	}
	return answer.Result
}

// offered asks for a bundle, as an agent does.
func (s *server) offered(name string, header ...string) (http.Header, string, error) {
	return fetch.Do(s.t.Context(), http.DefaultClient, http.MethodGet, s.url+"/bundles/"+name, "", append(fetch.Bearer(uploadToken), header...)...)
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
		body, err := fetch.Get(context.Background(), fmt.Sprintf("%s/v1/ledger/entries?%s&from=%d", s.url, query, from), append(fetch.Bearer(auditToken), "Accept", "application/x-ndjson")...)
		if err != nil {
			s.t.Fatal(err)
		}
		if body == "" {
			return all
		}
		for line := range strings.Lines(body) {
			var row struct {
				Index int          `json:"index"`
				Entry ledger.Entry `json:"entry"`
			}
			if err := json.Unmarshal([]byte(line), &row); err != nil {
				s.t.Fatalf("%v: %s", err, line)
			}
			from = row.Index + 1
			all = append(all, row.Entry)
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

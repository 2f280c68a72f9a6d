package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/westworld-charter/charter/tests/internal/fetch"
	"github.com/westworld-charter/charter/tests/internal/process"
	"github.com/westworld-charter/charter/tests/internal/program"
	"github.com/westworld-charter/charter/tests/releases"
)

// made is a release whose charter has the version of its sequence.
func made(t *testing.T, sequence int64) *releases.Made {
	t.Helper()
	return releases.Release{Version: int(sequence), Sequence: sequence, Key: releases.TrustedKey(t)}.Make(t)
}

// node is a charter-node in a process of its own.
type node struct {
	name, host string
	data       string
	args       []string
	http       *http.Client
	running    *process.Process // nil before it was started
}

// newNode is the i-th node, not running.
func newNode(t *testing.T, i int, r *registries, interval time.Duration) *node {
	t.Helper()
	n := &node{name: fmt.Sprintf("edge-%d", i), host: fmt.Sprintf("127.1.%d.%d", i/200, 2+i%200), http: &http.Client{Timeout: 20 * time.Second}}
	n.data = filepath.Join(t.TempDir(), n.name)
	n.args = []string{
		"--bundle", r.ref(n.host), "--trust", releases.TrustedKey(t).TrustFile(t, t.TempDir(), ""), "--listen", n.address(), "--data", n.data,
		"--node", n.name, "--insecure-self-asserted", "--poll", interval.String(), "--log-level", "info", "--log-format", "text",
	}
	return n
}

func (n *node) address() string { return net.JoinHostPort(n.host, "8100") }

func (n *node) start(t *testing.T) {
	t.Helper()
	n.running = process.Start(t, process.Options{Env: []string{"GOMAXPROCS=1", "GOMEMLIMIT=128MiB"}}, program.Path(t, "charter-node"), n.args...)
}

// kill ends the process at once.
func (n *node) kill() {
	n.running.Kill()
	n.http.CloseIdleConnections()
}

// answer is what a node says to a question.
type answer struct {
	Allow    bool
	Outcome  string
	Revision string
}

// ask asks the node about a metric.
func (n *node) ask(ctx context.Context, metric string) (answer, error) {
	body := fmt.Sprintf(`{"metric":%q,"node":%q,"role":"node_operator","operation":"collect"}`, metric, n.name)
	text, err := fetch.Text(ctx, n.http, http.MethodPost, "http://"+n.address()+"/v1/check", body)
	if err != nil {
		return answer{}, err
	}
	var a answer
	err = json.Unmarshal([]byte(text), &a)
	return a, err
}

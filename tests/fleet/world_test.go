package fleet

import (
	"bytes"
	"context"
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

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/compile"
	"github.com/westworld-charter/charter/internal/release"
	"github.com/westworld-charter/charter/internal/signing"
)

// signed is a release as it is published.
type signed struct {
	sequence   int64
	revision   string
	manifest   release.Manifest
	layer      []byte
	statements [][]byte
}

// committee signs releases.
type committee struct {
	signer signing.Signer
	dir    string // with trust.yaml
}

func newCommittee(t *testing.T) *committee {
	t.Helper()
	private, public, err := signing.GenerateKey([]byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := signing.LoadKey(private, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := signing.NewKeySigner(key)
	if err != nil {
		t.Fatal(err)
	}
	c := &committee{signer: signer, dir: t.TempDir()}
	trust := "apiVersion: charter/v1\nkind: Trust\nchannel: production\nsigners:\n  - {name: release, key: release.pub}\n"
	for name, data := range map[string][]byte{"release.pub": public, "trust.yaml": []byte(trust)} {
		if err := os.WriteFile(filepath.Join(c.dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func (c *committee) trust() string { return filepath.Join(c.dir, "trust.yaml") }

// release compiles a charter whose version is the sequence, and signs it.
func (c *committee) release(t *testing.T, sequence int64) signed {
	t.Helper()
	text := fmt.Sprintf(`apiVersion: charter/v1
kind: Charter
metadata: {name: fleet, version: 1.%d.0, organization: Example Mesh, effective: 2026-01-11, expires: 2036-01-11}
access_levels: [public, operator]
purposes: [operations]
roles:
  - {name: node_operator, reads: [public, operator], collects: [network]}
metrics:
  network:
    - {id: net.latency, match: [latency_p50, release_%d], access: public, retention: 30d}
forbidden:
  - {id: privacy.location, match: ["*_location*"], severity: critical, violation: silent_collection, reason: "location can endanger people"}
`, sequence, sequence)
	read := func(string) ([]byte, error) { return []byte(text), nil }
	parsed, findings := charter.Loader{Read: read}.Load("charter.yaml")
	if findings.HasErrors() {
		t.Fatal(findings)
	}
	b, err := compile.Build(parsed)
	if err != nil {
		t.Fatal(err)
	}
	var layer bytes.Buffer
	if err := b.WriteTar(&layer); err != nil {
		t.Fatal(err)
	}
	s := signed{sequence: sequence, revision: b.Manifest().Revision, layer: layer.Bytes()}
	s.manifest = release.NewManifest(b.LayerDigest(), int64(layer.Len()), s.revision)
	for kind, predicate := range map[string]any{
		release.SignatureType: struct{}{},
		release.PolicyType: release.Policy{
			Channel: "production", Sequence: sequence, Expires: time.Now().Add(24 * time.Hour).UTC().Truncate(time.Second),
			Revision: s.revision, CharterDigest: parsed.Digest(),
		},
	} {
		st, err := release.NewStatement(s.manifest.Digest(), kind, predicate)
		if err != nil {
			t.Fatal(err)
		}
		payload, err := st.Encode()
		if err != nil {
			t.Fatal(err)
		}
		b, err := c.signer.Sign(t.Context(), payload)
		if err != nil {
			t.Fatal(err)
		}
		s.statements = append(s.statements, b)
	}
	return s
}

// programs builds charter-node, charter-server and charter-admin once, into a directory.
var programs = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "charter-fleet-")
	if err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-o", dir+"/", "../../cmd/charter-node", "../../cmd/charter-server", "../../cmd/charter-admin")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return dir, nil
})

// program is the path of one of the programs.
func program(t *testing.T, name string) string {
	t.Helper()
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := programs(); err == nil {
		_ = os.RemoveAll(dir) // a temporary directory
	}
	os.Exit(code)
}

// node is a charter-node in a process of its own.
type node struct {
	name, host string
	data       string
	args       []string
	path       string
	http       *http.Client

	cmd *exec.Cmd
	log *bytes.Buffer // of the running process; read when it has ended
}

// newNode is the i-th node, not running.
func newNode(t *testing.T, i int, r *registries, c *committee, interval time.Duration) *node {
	t.Helper()
	n := &node{name: fmt.Sprintf("edge-%d", i), host: fmt.Sprintf("127.1.%d.%d", i/200, 2+i%200), path: program(t, "charter-node"), http: &http.Client{Timeout: 20 * time.Second}}
	n.data = filepath.Join(t.TempDir(), n.name)
	n.args = []string{
		"--bundle", r.ref(n.host), "--trust", c.trust(), "--listen", n.address(), "--data", n.data,
		"--node", n.name, "--insecure-self-asserted", "--poll", interval.String(), "--log-level", "info", "--log-format", "text",
	}
	t.Cleanup(func() {
		n.kill()
		if t.Failed() && n.log != nil {
			t.Logf("%s logged: %.3000s", n.name, n.log.String())
		}
	})
	return n
}

func (n *node) address() string { return net.JoinHostPort(n.host, "8100") }

func (n *node) start(t *testing.T) {
	t.Helper()
	n.log = &bytes.Buffer{}
	n.cmd = exec.Command(n.path, n.args...)
	n.cmd.Stderr = n.log
	n.cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GOMEMLIMIT=128MiB")
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

// kill ends the process at once.
func (n *node) kill() {
	if n.cmd == nil {
		return
	}
	_ = n.cmd.Process.Kill() // or it has ended
	_ = n.cmd.Wait()
	n.cmd = nil
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
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+n.address()+"/v1/check", strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	r.Header.Set("Content-Type", "application/json")
	response, err := n.http.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return answer{}, err
	}
	var a answer
	err = json.Unmarshal(data, &a)
	return a, err
}

package fleet

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/westworld-charter/charter/tests/internal/fetch"
	"github.com/westworld-charter/charter/tests/internal/file"
	"github.com/westworld-charter/charter/tests/internal/poll"
	"github.com/westworld-charter/charter/tests/internal/process"
	"github.com/westworld-charter/charter/tests/internal/program"
)

// Tokens of the server in these tests.
const (
	nodeToken  = "node-token-0123456789abcdef0123456789"
	auditToken = "audit-token-0123456789abcdef012345678"
)

// server is a charter-server in a process of its own.
type server struct{ url, data string }

// startServer serves the first release's charter of its own, without signatures.
func startServer(t *testing.T, nodeName string) *server {
	t.Helper()
	address, dir := process.FreeAddress(t), t.TempDir()
	tokens := fmt.Sprintf("- {name: node, sha256: %x, scopes: [report], node: %s}\n- {name: ana, sha256: %x, scopes: [audit, metrics]}\n", sha256.Sum256([]byte(nodeToken)), nodeName, sha256.Sum256([]byte(auditToken)))
	s := &server{url: "http://" + address, data: filepath.Join(dir, "data")}
	process.Start(t, process.Options{}, program.Path(t, "charter-server"), "--charter", "../../policies/development/charter.yaml", "--listen", address, "--data", s.data,
		"--token-file", file.Write(t, filepath.Join(dir, "tokens.yaml"), tokens), "--log-level", "warn").Ready(t, healthy(t, s.url))
	return s
}

func healthy(t *testing.T, url string) func() error {
	return func() error {
		_, err := fetch.Get(t.Context(), url+"/health")
		return err
	}
}

// copyOf is what the server says of the ledger of a node.
type copyOf struct {
	Node     string
	Size     uint64
	Cosigned uint64
	Fault    *struct{ Code, Held, Shown string }
}

func (s *server) mirror(t *testing.T, node string) (copyOf, error) {
	t.Helper()
	body, err := fetch.Get(t.Context(), s.url+"/v1/mirrors", fetch.Bearer(auditToken)...)
	if err != nil {
		return copyOf{}, err
	}
	var list struct{ Mirrors []copyOf }
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		return copyOf{}, fmt.Errorf("%s: %w", body, err)
	}
	for _, c := range list.Mirrors {
		if c.Node == node {
			return c, nil
		}
	}
	return copyOf{}, fmt.Errorf("no copy of %s in %s", node, body)
}

// admin runs charter-admin.
func admin(t *testing.T, args ...string) string {
	t.Helper()
	return process.Output(t, process.Options{}, program.Path(t, "charter-admin"), args...)
}

// Metrics about a ledger that was found out, of the server and of its node.
var (
	found   = regexp.MustCompile(`(?m)^charter_mirrors\{state="ledger_\w+"\} 1$`)
	noticed = regexp.MustCompile(`(?m)^charter_node_mirror_fault\{code="ledger_\w+"\} 1$`)
)

// What a node denied is on the server when the node is gone, and the node vouches for the
// ledger of the server. A node whose disk is put back is found out.
func TestLedgersAreMirroredBothWays(t *testing.T) {
	r := startRegistry(t)
	r.publish(t.Context(), t, made(t, 1))
	n := newNode(t, 0, r, 500*time.Millisecond)
	s := startServer(t, n.name)
	dir := t.TempDir()
	token := file.Write(t, filepath.Join(dir, "token"), nodeToken+"\n")
	logs := file.Write(t, filepath.Join(dir, "logs"), "log "+file.Read(t, filepath.Join(s.data, "ledger.pub"))+"quorum none\n")
	n.args = append(n.args, "--server", s.url, "--server-token-file", token, "--report-interval", "1s", "--witness-logs", logs)
	n.start(t)
	deny := func(metric string) {
		t.Helper()
		poll.Until(t, "the node denies "+metric, func() error {
			a, err := n.ask(t.Context(), metric)
			if err == nil && a.Outcome != "forbidden" {
				err = fmt.Errorf("%+v", a)
			}
			return err
		})
	}
	deny("gps_location_first")
	var before copyOf
	poll.Until(t, "the server holds the ledger of the node, and the node cosigns that of the server", func() (err error) {
		if before, err = s.mirror(t, n.name); err == nil && (before.Size < 3 || before.Cosigned == 0) {
			err = fmt.Errorf("%+v", before)
		}
		return err
	})
	n.kill()
	copied := filepath.Join(s.data, "mirrors", n.name)
	backup := filepath.Join(dir, "backup")
	if err := os.CopyFS(backup, os.DirFS(n.data)); err != nil {
		t.Fatal(err)
	}
	n.start(t)
	deny("gps_location_hidden")
	poll.Until(t, "the second denial is on the server", func() error {
		out := admin(t, "audit", "--data", copied, "--format", "json")
		if !strings.Contains(out, "gps_location_hidden") {
			return errors.New(out)
		}
		return nil
	})
	n.kill()

	// Somebody puts the disk back to before the second denial.
	if err := os.RemoveAll(n.data); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(n.data, os.DirFS(backup)); err != nil {
		t.Fatal(err)
	}
	n.start(t)
	deny("gps_location_third")
	poll.Until(t, "the server finds out", func() error {
		now, err := s.mirror(t, n.name)
		if err == nil && (now.Fault == nil || !strings.HasPrefix(now.Fault.Code, "ledger_")) {
			err = fmt.Errorf("%+v", now)
		}
		return err
	})
	poll.Until(t, "the metrics of both say so", func() error {
		far, err := fetch.Get(t.Context(), s.url+"/metrics", fetch.Bearer(auditToken)...)
		near, err2 := fetch.Get(t.Context(), "http://"+n.address()+"/metrics")
		if err = errors.Join(err, err2); err == nil && (!found.MatchString(far) || !noticed.MatchString(near) || !strings.Contains(near, "\ncharter_node_mirror_up 0\n")) {
			err = fmt.Errorf("%s\n%s", far, near)
		}
		return err
	})
	if out := admin(t, "audit", "--data", copied, "--format", "json"); !strings.Contains(out, "gps_location_hidden") || strings.Contains(out, "gps_location_third") {
		t.Errorf("the copy is not what the node first signed: %s", out)
	}
	t.Setenv("CHARTER_TOKEN", auditToken)
	if out := admin(t, "nodes", "mirrors", "--server", s.url); !strings.Contains(out, n.name) || !strings.Contains(out, "ledger_") {
		t.Errorf("charter-admin shows no copy that is in trouble: %s", out)
	}
	if out := admin(t, "audit", "verify", "--data", copied); !strings.Contains(out, "entries") {
		t.Errorf("the copy does not verify: %s", out)
	}
	if out := admin(t, "audit", "--data", s.data, "--kind", "mirror", "--format", "json"); !strings.Contains(out, `"fault"`) || !strings.Contains(out, `"begin"`) {
		t.Errorf("the ledger of the server says nothing of it: %s", out)
	}
}

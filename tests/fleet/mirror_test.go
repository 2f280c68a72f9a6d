package fleet

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Tokens of the server in these tests.
const (
	nodeToken  = "node-token-0123456789abcdef0123456789"
	auditToken = "audit-token-0123456789abcdef012345678"
)

// server is a charter-server in a process of its own.
type server struct {
	url, data string
	log       bytes.Buffer
}

// startServer serves the first release's charter of its own, without signatures.
func startServer(t *testing.T, nodeName string) *server {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close() // nothing was served
	dir := t.TempDir()
	digest := func(token string) string {
		sum := sha256.Sum256([]byte(token))
		return hex.EncodeToString(sum[:])
	}
	tokens := fmt.Sprintf("- {name: node, sha256: %s, scopes: [report], node: %s}\n- {name: ana, sha256: %s, scopes: [audit]}\n", digest(nodeToken), nodeName, digest(auditToken))
	if err := os.WriteFile(filepath.Join(dir, "tokens.yaml"), []byte(tokens), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &server{url: "http://" + address, data: filepath.Join(dir, "data")}
	cmd := exec.Command(program(t, "charter-server"), "--charter", "../../policies/development/charter.yaml", "--listen", address, "--data", s.data,
		"--token-file", filepath.Join(dir, "tokens.yaml"), "--log-level", "warn")
	cmd.Stderr = &s.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // or it has ended
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("the server logged: %.3000s", s.log.String())
		}
	})
	eventually(t, "the server is healthy", func() error {
		res, err := http.Get(s.url + "/health")
		if err != nil {
			return err
		}
		return res.Body.Close()
	})
	return s
}

// eventually repeats a check until it holds.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after a minute: %v", what, err)
		}
		pause := time.NewTimer(50 * time.Millisecond)
		<-pause.C
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
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/v1/mirrors", http.NoBody)
	if err != nil {
		return copyOf{}, err
	}
	r.Header.Set("Authorization", "Bearer "+auditToken)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return copyOf{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return copyOf{}, err
	}
	var list struct{ Mirrors []copyOf }
	if err := json.Unmarshal(body, &list); err != nil {
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
	out, err := exec.CommandContext(t.Context(), program(t, "charter-admin"), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("charter-admin %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// What a node denied is on the server when the node is gone, and the node vouches for the
// ledger of the server. A node whose disk is put back is found out.
func TestLedgersAreMirroredBothWays(t *testing.T) {
	r, c := startRegistry(t), newCommittee(t)
	rel := c.release(t, 1)
	r.publish(t.Context(), t, rel)
	n := newNode(t, 0, r, c, 500*time.Millisecond)
	s := startServer(t, n.name)
	dir := t.TempDir()
	key, err := os.ReadFile(filepath.Join(s.data, "ledger.pub"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"token": nodeToken + "\n", "logs": "log " + string(key) + "quorum none\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n.args = append(n.args, "--server", s.url, "--server-token-file", filepath.Join(dir, "token"), "--report-interval", "1s", "--witness-logs", filepath.Join(dir, "logs"))
	n.start(t)
	deny := func(metric string) {
		t.Helper()
		eventually(t, "the node denies "+metric, func() error {
			a, err := n.ask(t.Context(), metric)
			if err == nil && a.Outcome != "forbidden" {
				err = fmt.Errorf("%+v", a)
			}
			return err
		})
	}
	deny("gps_location_first")
	var before copyOf
	eventually(t, "the server holds the ledger of the node, and the node cosigns that of the server", func() error {
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
	eventually(t, "the second denial is on the server", func() error {
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
	eventually(t, "the server finds out", func() error {
		now, err := s.mirror(t, n.name)
		if err == nil && (now.Fault == nil || !strings.HasPrefix(now.Fault.Code, "ledger_")) {
			err = fmt.Errorf("%+v", now)
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

package distribution

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/westworld-charter/charter/internal/app"
	"github.com/westworld-charter/charter/internal/cli"
	"github.com/westworld-charter/charter/tests/internal/judge"
)

// TestMain makes this test binary stand in for the programs.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"charter-admin": func() {
			os.Exit(cli.Main(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv))
		},
		"charter-node": func() {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			code := app.Main(ctx, app.CharterNode(), os.Args[1:], os.Stdout, os.Stderr, os.Getenv)
			stop()
			os.Exit(code)
		},
	})
}

// patience is how long anything may take that is not measured.
const patience = 60 * time.Second

const password = "correct-horse"

// world is a directory in which somebody works.
type world struct {
	dir string
	env []string
}

// newWorld has the key release.key, and its public half in trust.yaml for the channel
// production.
func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{dir: dir, env: append(os.Environ(), "CHARTER_KEY_PASSWORD="+password, "COSIGN_PASSWORD="+password, "HOME="+dir)}
	w.admin(t, "key", "generate", "-o", "release")
	w.trust(t, "release.pub")
	return w
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(w.path(name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (w *world) read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(w.path(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// trust writes trust.yaml, which trusts the keys alone.
func (w *world) trust(t *testing.T, keys ...string) {
	t.Helper()
	text := "apiVersion: charter/v1\nkind: Trust\nchannel: production\nsigners:\n"
	for _, key := range keys {
		text += fmt.Sprintf("  - {name: %s, key: %s}\n", strings.TrimSuffix(key, ".pub"), key)
	}
	w.write(t, "trust.yaml", text)
}

// result is what a program left behind.
type result struct {
	code           int
	stdout, stderr string
}

// run runs a program in the directory of the world.
func (w *world) run(t *testing.T, program string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = w.dir, w.env, &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", program, err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// must is run for what has to succeed; it returns the standard output.
func (w *world) must(t *testing.T, program string, args ...string) string {
	t.Helper()
	r := w.run(t, program, args...)
	if r.code != 0 {
		t.Fatalf("%s %s: exit code %d\n%s%s", filepath.Base(program), strings.Join(args, " "), r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

func (w *world) admin(t *testing.T, args ...string) string {
	t.Helper()
	return w.must(t, "charter-admin", args...)
}

const charterText = `apiVersion: charter/v1
kind: Charter
metadata: {name: small, version: %d.0.0}
access_levels: [public]
roles:
  - {name: node_operator, reads: [public], collects: [base]}
metrics:
  base:
    - {id: node.load, match: [%s], access: public}
`

// build makes VERSION.tar.gz of a charter that allows the metrics and no others.
func (w *world) build(t *testing.T, version int, metrics ...string) string {
	t.Helper()
	w.write(t, "charter.yaml", fmt.Sprintf(charterText, version, strings.Join(metrics, ", ")))
	file := fmt.Sprintf("%d.tar.gz", version)
	w.admin(t, "bundle", "build", "charter.yaml", "-o", file)
	return file
}

// release builds, signs and pushes a release to production.
func (w *world) release(t *testing.T, to string, sequence int, metrics ...string) string {
	t.Helper()
	file := w.build(t, sequence, metrics...)
	w.admin(t, "sign", "--key", "release.key", "--channel", "production", "--sequence", fmt.Sprint(sequence), "--expires", "90d", file)
	w.admin(t, "push", file, to)
	return file
}

// field returns a member of a JSON document.
func field(t *testing.T, document, name string) string {
	t.Helper()
	var members map[string]any
	if err := json.Unmarshal([]byte(document), &members); err != nil {
		t.Fatalf("%v: %s", err, document)
	}
	text, _ := members[name].(string)
	if text == "" {
		t.Fatalf("no %s in %s", name, document)
	}
	return text
}

// eachRegistry runs a test against a registry inside the test and against the one of
// Debian, which has no referrers API.
func eachRegistry(t *testing.T, test func(t *testing.T, host string)) {
	t.Run("in process", func(t *testing.T) { test(t, inProcess(t)) })
	t.Run("docker-registry", func(t *testing.T) { test(t, dockerRegistry(t)) })
}

func inProcess(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true)))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func dockerRegistry(t *testing.T) string {
	t.Helper()
	program := judge.Path(t, "docker-registry")
	dir, host := t.TempDir(), free(t)
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %q}\n", filepath.Join(dir, "data"), host)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, dir, os.Environ(), program, "serve", config)
	eventually(t, "the registry answers", func() error {
		_, err := ask(t.Context(), http.MethodGet, "http://"+host+"/v2/", "")
		return err
	})
	return host
}

// start runs a program until the test ends.
func start(t *testing.T, dir string, env []string, program string, args ...string) *logged {
	t.Helper()
	var log logged
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, env, &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
		if t.Failed() {
			text := log.String()
			t.Logf("%s logged: %s", filepath.Base(program), text[max(0, len(text)-4000):])
		}
	})
	return &log
}

type logged struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// free is an address that nobody listens on now.
func free(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // nothing was served
	return l.Addr().String()
}

// eventually waits until something holds.
func eventually(t *testing.T, what string, holds func() error) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := holds()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("%s: not within %s: %v", what, patience, err)
		}
	}
}

// ask returns the body of an answer with status 200.
func ask(ctx context.Context, method, url, body string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, */*")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	answer, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, answer)
	}
	return answer, err
}

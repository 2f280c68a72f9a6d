package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/westworld-charter/charter/internal/app"
	"github.com/westworld-charter/charter/internal/compile"
	"github.com/westworld-charter/charter/internal/policytest"
	"github.com/westworld-charter/charter/tests/releases"
)

// TestMain makes this test binary stand in for the programs.
func TestMain(m *testing.M) {
	run := func(p app.Program) func() {
		return func() {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			code := app.Main(ctx, p, os.Args[1:], os.Stdout, os.Stderr, os.Getenv)
			stop()
			os.Exit(code)
		}
	}
	testscript.Main(m, map[string]func(){
		"charter-node":   run(app.CharterNode()),
		"charter-server": run(app.CharterServer(app.Compiler{Check: compile.Check, Build: compile.Build, Lint: policytest.Lint})),
	})
}

// patience is how long anything may take.
const patience = 60 * time.Second

// process is a program that runs.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}

	mu  sync.Mutex
	log bytes.Buffer // guarded by mu
}

func (p *process) Write(data []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(data)
}

// start runs a program until the test ends, or kill.
func start(t *testing.T, dir, program string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(program, args...), done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, p, p
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // killed
		close(p.done)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			text := p.log.String()
			t.Logf("%s logged: %s", filepath.Base(program), text[max(0, len(text)-6000):])
		}
	})
	return p
}

// kill ends the process without a warning.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // or it has ended
	<-p.done
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

// ask returns the body of an answer with status 200. Token may be "".
func ask(ctx context.Context, method, url, token, body string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	answer, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", res.Status, answer)
	}
	return string(answer), err
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, string(before)+text)
}

// trusting writes a trust policy for a key.
func trusting(t *testing.T, dir string, key *releases.Key) string {
	t.Helper()
	write(t, filepath.Join(dir, "release.pub"), string(key.Public()))
	return write(t, filepath.Join(dir, "trust.yaml"), "apiVersion: charter/v1\nkind: Trust\nchannel: "+releases.Channel+"\nsigners:\n  - {name: release, key: release.pub}\n")
}

// decides fails unless what answers at a URL decides by that version; 0 is none. Before
// and after frame the question.
func decides(url, before, after string, version int) error {
	for v := 1; v <= version+1; v++ {
		q := releases.Question(v)
		q.Time = "" // stamped by who answers; OPA needs none
		body, err := json.Marshal(q)
		if err != nil {
			return err
		}
		answer, err := ask(context.Background(), http.MethodPost, url, "", before+string(body)+after)
		if err != nil {
			return err
		}
		if want := fmt.Sprintf(`"allow":%t`, v == version); !strings.Contains(strings.ReplaceAll(answer, " ", ""), want) {
			return fmt.Errorf("about version %d: %s", v, answer)
		}
	}
	return nil
}

package monitoring

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/westworld-charter/charter/tests/internal/judge"
)

// patience is how long anything may take that is not measured.
const patience = 60 * time.Second

// faster is by how much durations of the shipped files are divided: the shortest
// that matters, 5 minutes, is 5 seconds then.
const faster = 60

// durations are those of rules and of Alertmanager: in brackets, after offset, for
// and the settings of groups.
var durations = regexp.MustCompile(`(\[|offset |for: |group_wait: |group_interval: |repeat_interval: |resolve_timeout: |_interval: |scrape_timeout: )(\d+)([smhd])\b`)

// shorten divides every duration in a file by faster; none gets below a second.
func shorten(text string) string {
	unit := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}
	return durations.ReplaceAllStringFunc(text, func(found string) string {
		m := durations.FindStringSubmatch(found)
		n, _ := strconv.Atoi(m[2]) // digits
		d := max(time.Duration(n)*unit[m[3]]/faster, time.Second)
		return m[1] + strconv.Itoa(int(d/time.Second)) + "s"
	})
}

// program builds charter-server once, and charter-node beside it.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "charter-monitoring-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "charter-server")
	if out, err := exec.Command("go", "build", "-o", dir+"/", "../../cmd/charter-server", "../../cmd/charter-node").CombinedOutput(); err != nil {
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

// process is a program that runs until the test ends.
type process struct {
	cmd *exec.Cmd
	log safeBuffer
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// run starts a program. The authority of the test is the one that it trusts.
func run(t *testing.T, ca authority, path string, args ...string) *process {
	t.Helper()
	p := &process{}
	p.cmd = exec.Command(path, args...)
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	p.cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+ca.file, "SSL_CERT_DIR="+filepath.Dir(ca.file))
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait() // killed
		if t.Failed() {
			text := p.log.String()
			t.Logf("%s logged: %s", filepath.Base(path), text[max(0, len(text)-6000):])
		}
	})
	return p
}

// judgePath is the path of a server that is a judge. Debian calls Alertmanager
// prometheus-alertmanager.
func judgePath(t *testing.T, name string) string {
	t.Helper()
	return judge.Path(t, name)
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
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := holds()
		if err == nil {
			return
		}
		select {
		case <-deadline.C:
			t.Fatalf("%s: not within %v: %v", what, patience, err)
		case <-tick.C:
		}
	}
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
	return path
}

// fetch sends a request and returns the body of a 2xx answer.
func fetch(ctx context.Context, c *http.Client, method, url, body string, header ...string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := c.Do(req)
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return "", err
	}
	if res.StatusCode/100 != 2 {
		return string(text), fmt.Errorf("%s %s: %d: %.500s", method, url, res.StatusCode, text)
	}
	return string(text), nil
}

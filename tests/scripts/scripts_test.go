// Package scripts runs the txtar scripts in testdata over the real command
// lines of charter-admin and charter-server. A script says what a person or a
// CI job types and what they get: output, exit code, files.
//
// Beside the commands of testscript there are
//
//	code N PROGRAM ARG...      run a program that must exit with code N
//	replace FILE OLD NEW       replace every OLD in a file; there must be one
//	freeport VAR               put a free port of the loopback into a variable
//	registry VAR [USER PASSWORD]
//	                           start a container registry; its address into a variable
//	http STATUS METHOD URL [FILE [HEADER...]]
//	                           ask until the server answers; body to stdout.
//	                           FILE - is none, a HEADER is NAME:VALUE
package scripts

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/westworld-charter/charter/tests/internal/standin"
)

var update = flag.Bool("update", false, "rewrite the expected outputs in the scripts")

func TestMain(m *testing.M) { standin.Main(m) }

func TestScripts(t *testing.T) {
	if testing.CoverMode() != "" {
		var stderr strings.Builder
		probe := exec.Command("charter-admin", "version")
		probe.Stderr = &stderr
		if err := probe.Run(); err != nil || stderr.Len() > 0 {
			t.Skipf("with -cover alone nothing is instrumented and every program says so on stderr (%s): add -coverpkg=./internal/...",
				strings.TrimSpace(stderr.String()))
		}
	}
	repo, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("REPO", repo)
			env.Setenv("ESC", "\x1b")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code":     exitCode,
			"replace":  replace,
			"freeport": freePort,
			"registry": startRegistry,
			"http":     ask,
		},
	})
}

func exitCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N PROGRAM ARG...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	switch err := ts.Exec(args[1], args[2:]...); {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	default:
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func replace(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: replace FILE OLD NEW")
	}
	path := ts.MkAbs(args[0])
	text := ts.ReadFile(args[0])
	if !strings.Contains(text, args[1]) {
		ts.Fatalf("%s does not hold %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(path, []byte(strings.ReplaceAll(text, args[1], args[2])), 0o644))
}

// freePort names a port that nobody listens on; somebody else could take it
// before the script does, which has to be accepted.
func freePort(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: freeport VAR")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	_, port, err := net.SplitHostPort(l.Addr().String())
	ts.Check(err)
	ts.Check(l.Close())
	ts.Setenv(args[0], port)
}

// startRegistry serves an empty container registry until the script ends, to
// everybody or to one user.
func startRegistry(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 && len(args) != 3 {
		ts.Fatalf("usage: registry VAR [USER PASSWORD]")
	}
	backend := registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); len(args) == 3 && (user != args[1] || password != args[2]) {
			w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		backend.ServeHTTP(w, r)
	}))
	ts.Defer(server.Close)
	ts.Setenv(args[0], strings.TrimPrefix(server.URL, "http://"))
}

// ask repeats a request while the server is not there yet.
func ask(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: http STATUS METHOD URL [FILE [HEADER...]]")
	}
	body, header := "", http.Header{"Content-Type": {"application/json"}}
	if len(args) > 3 && args[3] != "-" {
		body = ts.ReadFile(args[3])
	}
	for _, h := range args[min(4, len(args)):] {
		name, value, _ := strings.Cut(h, ":")
		header.Set(name, value)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	for {
		status, answer, err := request(ctx, args[1], args[2], body, header)
		switch {
		case err == nil && strconv.Itoa(status) != args[0]:
			ts.Fatalf("status %d, want %s: %s", status, args[0], answer)
		case err == nil:
			_, err := ts.Stdout().Write(answer)
			ts.Check(err)
			return
		case !errors.Is(err, syscall.ECONNREFUSED):
			ts.Fatalf("%v", err)
		}
		select {
		case <-retry.C:
		case <-ctx.Done():
			ts.Fatalf("no answer: %v", err)
		}
	}
}

func request(ctx context.Context, method, url, body string, header http.Header) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewBufferString(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header = header
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, answer, errors.Join(err, resp.Body.Close())
}

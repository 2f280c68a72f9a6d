package opaclient_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/app"
	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/compile"
	"github.com/westworld-charter/charter/internal/policytest"
	"github.com/westworld-charter/charter/tests/internal/fetch"
	"github.com/westworld-charter/charter/tests/internal/judge"
	"github.com/westworld-charter/charter/tests/internal/poll"
	"github.com/westworld-charter/charter/tests/internal/process"
	"github.com/westworld-charter/charter/tests/releases"
)

const (
	// bundleName is what both servers call the bundle: the name of the charter.
	bundleName = "production"
	// moment is a time at which the charter says what it says now.
	moment = "2026-06-01T00:00:00Z"
)

func charterFile(t *testing.T) string {
	t.Helper()
	return filepath.Join(judge.Root(t), "policies", bundleName, "charter.yaml")
}

func production(t *testing.T) *bundle.Bundle {
	t.Helper()
	return releases.Compile(t, charterFile(t))
}

// server is a stock OPA behind a socket.
type server struct{ http *http.Client }

// stock starts opa over the bundle and waits until it answers.
func stock(t *testing.T, opa string, b *bundle.Bundle) server {
	t.Helper()
	dir := t.TempDir()
	if err := b.WriteDir(filepath.Join(dir, bundleName)); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "opa.sock")
	p := process.Start(t, process.Options{Dir: dir}, opa, "run", "--server", "--disable-telemetry", "--log-level", "error",
		"--addr", "unix://"+socket, "--set", "default_decision=/charter/decision", "--bundle", bundleName)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	s := server{&http.Client{Transport: &http.Transport{DialContext: dial, DisableCompression: true}, Timeout: time.Minute}}
	p.Ready(t, func() error {
		_, err := fetch.Text(t.Context(), s.http, http.MethodGet, "http://opa/health?bundles", "")
		return err
	})
	return s
}

// ours starts charter-server in this process and returns the URLs of its listeners.
func ours(t *testing.T, charterPath string, change ...func(*app.Options)) (public, diagnostics string) {
	t.Helper()
	o := app.Defaults()
	o.Charter, o.Listen, o.Diagnostics = charterPath, "127.0.0.1:0", "127.0.0.1:0"
	o.InsecureSelfAsserted, o.Data = true, t.TempDir()
	for _, f := range change {
		f(&o)
	}
	var log lines
	s, err := app.New(t.Context(), app.CharterServer(app.Compiler{Check: compile.Check, Build: compile.Build, Lint: policytest.Lint}), o, slog.New(slog.NewJSONHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	addr, err := s.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	poll.Until(t, "the diagnostics listener is there", func() error {
		if diagnostics = log.find("diagnostics", "address"); diagnostics == "" {
			return errors.New("it is not in the log")
		}
		return nil
	})
	return "http://" + addr.String(), "http://" + diagnostics
}

// lines keeps a log.
type lines struct {
	mu   sync.Mutex
	text strings.Builder // guarded by mu
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// find returns an attribute of the first line with a message.
func (l *lines) find(message, attribute string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		var entry map[string]any
		if json.Unmarshal([]byte(line), &entry) == nil && entry["msg"] == message {
			value, _ := entry[attribute].(string)
			return value
		}
	}
	return ""
}

package opaclient_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/app"
	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/compile"
	"github.com/westworld-charter/charter/internal/policytest"
	"github.com/westworld-charter/charter/tests/internal/judge"
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
	c, findings := charter.Load(charterFile(t))
	if c == nil || findings.HasErrors() {
		t.Fatal(findings)
	}
	b, err := compile.Build(c)
	if err != nil {
		t.Fatal(err)
	}
	return b
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
	ctx, cancel := context.WithCancel(context.Background())
	var output bytes.Buffer
	cmd := exec.CommandContext(ctx, opa, "run", "--server", "--disable-telemetry", "--log-level", "error",
		"--addr", "unix://"+socket, "--set", "default_decision=/charter/decision", "--bundle", bundleName)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &output, &output
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	t.Cleanup(func() {
		cancel()
		<-exited
	})
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	s := server{&http.Client{Transport: &http.Transport{DialContext: dial, DisableCompression: true}, Timeout: time.Minute}}
	eventually(t, "opa to answer", func() bool {
		select {
		case err := <-exited:
			exited <- err
			t.Fatalf("opa run: %v\n%s", err, output.String())
		default:
		}
		res, err := s.http.Get("http://opa/health?bundles")
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
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
	eventually(t, "the diagnostics listener", func() bool {
		diagnostics = log.find("diagnostics", "address")
		return diagnostics != ""
	})
	return "http://" + addr.String(), "http://" + diagnostics
}

// eventually polls until what is true.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick, deadline := time.NewTicker(10*time.Millisecond), time.After(time.Minute)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited a minute for %s", what)
		}
	}
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

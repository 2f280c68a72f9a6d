package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/ledger"
)

// sink is a channel that keeps what it gets.
type sink struct {
	mu     sync.Mutex
	got    []arrival
	answer func(attempt int, d *delivery) outcome // nil takes everything
}

type arrival struct {
	delivery
	at time.Time
}

func (s *sink) send(ctx context.Context, d *delivery) outcome {
	s.mu.Lock()
	s.got = append(s.got, arrival{*d, time.Now()})
	n, answer := len(s.got), s.answer
	s.mu.Unlock()
	if answer == nil {
		return outcome{}
	}
	o := answer(n, d)
	if o.code == "hang" {
		<-ctx.Done()
		return failed(CodeTimeout, "hung")
	}
	return o
}

func (s *sink) arrivals() []arrival {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]arrival(nil), s.got...)
}

// told keeps what the ledger would get.
type told struct {
	mu   sync.Mutex
	list []ledger.Delivery
	sev  []string
}

func (l *told) add(severity string, d ledger.Delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list, l.sev = append(l.list, d), append(l.sev, severity)
}

func (l *told) states() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []string
	for _, d := range l.list {
		all = append(all, d.State)
	}
	return all
}

// journal is a log that can be searched.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

func (j *journal) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// running runs a Notifier until the test ends, or the returned function is called.
func running(t *testing.T, o Options) (*Notifier, func()) {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	n, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	var once sync.Once
	stop := func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("run: %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return n, stop
}

func hook(name string) charter.Receiver {
	return charter.Receiver{Name: name, Webhook: &charter.Webhook{URL: "http://127.0.0.1:1/"}}
}

func violation(id, severity, node string) Message {
	return Message{ID: id, Kind: "violation", Severity: severity, Node: node, Clause: "privacy.location", Title: node + " asked for its location"}
}

// eventually polls until f holds.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		<-tick.C
	}
}

func env(values map[string]string) func(string) string {
	return func(name string) string { return values[name] }
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// everything is the text of all files below a directory.
func everything(t *testing.T, dir string) string {
	t.Helper()
	var all bytes.Buffer
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		all.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

func text(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// pass lets time pass, in a bubble of synctest.
func pass(d time.Duration) { <-time.After(d) }

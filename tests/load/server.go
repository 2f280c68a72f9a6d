package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/westworld-charter/charter/tests/internal/program"
)

// patience is how long the server may take to start, to answer and to reload.
const patience = 30 * time.Second

// server is a charter-server in a process of its own, logging into a file as it
// is shipped.
type server struct {
	cmd    *exec.Cmd
	done   chan struct{} // closed when the process has ended
	dir    string
	client *client
	pool   []question
	names  []string // of the revisions
	// inForce is the revision that must answer, "" while it is being replaced.
	inForce atomic.Pointer[string]
}

// measure runs the load.
func measure(ctx context.Context, o options) (*result, error) {
	questions, names, err := pool(ctx, o.pool, o.metrics)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "charter-load-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	s := &server{dir: dir, pool: questions, names: names}
	if err := s.start(ctx, o); err != nil {
		return nil, err
	}
	r, err := s.load(ctx, o)
	s.stop()
	if state := s.cmd.ProcessState; state != nil && err == nil {
		r.cores = (state.UserTime() + state.SystemTime()).Seconds() / o.duration.Seconds()
	}
	return r, err
}

// load asks and reloads at the same time.
func (s *server) load(ctx context.Context, o options) (*result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	reloaded := make(chan []time.Duration)
	go func() { reloaded <- s.alternate(ctx, cancel, o) }()
	r := flood(ctx, s, o.rate, o.duration)
	err := context.Cause(ctx) // before it ends for the reloads
	cancel(nil)
	r.reloads = <-reloaded
	slices.Sort(r.reloads)
	return r, err
}

// start serves the first charter.
func (s *server) start(ctx context.Context, o options) error {
	if o.server == "" {
		built, err := program.Build("charter-server")
		if err != nil {
			return err
		}
		o.server = built
	}
	if err := s.put(0, o.metrics); err != nil {
		return err
	}
	address, err := free(ctx)
	if err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // the child has its own
	s.cmd = exec.CommandContext(ctx, o.server, "--charter", s.path(), "--listen", address, "--data", filepath.Join(s.dir, "data"),
		"--watch", "0", "--insecure-self-asserted")
	s.cmd.Stderr = log
	if err := s.cmd.Start(); err != nil {
		return err
	}
	s.client, s.done = &client{address: address}, make(chan struct{})
	go func() {
		_ = s.cmd.Wait() // it is killed: how it ends says nothing
		close(s.done)
	}()
	if err := s.wait(ctx); err != nil {
		s.stop()
		text, _ := os.ReadFile(log.Name())
		return fmt.Errorf("start charter-server: %w: %.2000s", err, text)
	}
	s.inForce.Store(&s.names[0])
	return nil
}

func (s *server) stop() {
	s.client.close()
	_ = s.cmd.Process.Kill() // it may have ended already
	<-s.done
}

func (s *server) path() string { return filepath.Join(s.dir, "charter.yaml") }

// put writes a charter in one step.
func (s *server) put(revision, metrics int) error {
	next := s.path() + ".next"
	if err := os.WriteFile(next, document(revision, metrics), 0o600); err != nil {
		return err
	}
	return os.Rename(next, s.path())
}

// free returns a loopback address that nobody listens on.
func free(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// wait waits until the server is healthy.
func (s *server) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := s.client.send(ctx, http.MethodGet, "/health", nil); err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-s.done:
			return errors.New("it ended early")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ask implements target.
func (s *server) ask(ctx context.Context, i int) verdict {
	q := &s.pool[i%len(s.pool)]
	before := s.inForce.Load()
	answer, err := s.client.send(ctx, http.MethodPost, "/v1/check", q.body)
	if err != nil {
		return verdict{trouble: err.Error()}
	}
	revision := ""
	if before != nil && before == s.inForce.Load() {
		revision = *before
	}
	return verdict{wrong: q.judge(answer, revision)}
}

// alternate replaces the charter until ctx ends, and says how long each reload
// took. A reload that fails ends the load.
func (s *server) alternate(ctx context.Context, fail context.CancelCauseFunc, o options) (took []time.Duration) {
	if o.reload == 0 {
		return nil
	}
	tick := time.NewTicker(o.reload)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return took
		}
		start := time.Now()
		if err := s.replace(ctx, n%revisions, o.metrics); err != nil {
			if ctx.Err() == nil {
				fail(err)
			}
			return took
		}
		took = append(took, time.Since(start))
	}
}

// replace puts another charter in force.
func (s *server) replace(ctx context.Context, revision, metrics int) error {
	if err := s.put(revision, metrics); err != nil {
		return err
	}
	s.inForce.Store(nil)
	answer, err := s.client.send(ctx, http.MethodPost, "/v1/reload", nil)
	if err != nil {
		return err
	}
	var done struct {
		Revision string
		Changed  bool
	}
	if err := json.Unmarshal(answer, &done); err != nil || !done.Changed || done.Revision != s.names[revision] {
		return fmt.Errorf("reload: %s, want revision %s (%w)", answer, s.names[revision], err)
	}
	name := s.names[revision] // a pointer of its own: the same revision comes back
	s.inForce.Store(&name)
	return nil
}

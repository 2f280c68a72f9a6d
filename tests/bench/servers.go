package main

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
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/tests/bench/measure"
	"github.com/westworld-charter/charter/tests/bench/rival"
	"github.com/westworld-charter/charter/tests/bench/workload"
)

// patience is how long a server may take to load.
const patience = 60 * time.Second

// server is a child process that answers over HTTP, on one connection that is
// kept alive.
type server struct {
	cmd    *exec.Cmd
	stderr *bytes.Buffer
	done   chan struct{} // closed when the process has ended
	client *http.Client
	url    string // of the questions
	encode func(decision.Input) any
	allow  func(body []byte) (bool, error)
}

// start runs cmd and waits until it is healthy.
func start(ctx context.Context, cmd *exec.Cmd, address, path string) (*server, error) {
	s := &server{
		cmd: cmd, stderr: &bytes.Buffer{}, done: make(chan struct{}), url: "http://" + address + path,
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}},
	}
	cmd.Env = append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(threads))
	cmd.Stderr = s.stderr
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	go func() {
		_ = cmd.Wait() // servers are killed: how they end says nothing
		close(s.done)
	}()
	if err := s.wait(ctx, "http://"+address+"/health"); err != nil {
		s.stop()
		return nil, fmt.Errorf("start %s: %w: %s", cmd.Path, err, s.stderr)
	}
	return s, nil
}

func (s *server) wait(ctx context.Context, health string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if s.healthy(ctx, health) {
			return nil
		}
		select {
		case <-tick.C:
		case <-s.done:
			return errors.New("ended early")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *server) healthy(ctx context.Context, url string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	response, err := s.client.Do(request)
	if err != nil {
		return false
	}
	_, _ = io.Copy(io.Discard, response.Body)
	return response.Body.Close() == nil && response.StatusCode == http.StatusOK
}

func (s *server) stop() {
	_ = s.cmd.Process.Kill() // it may have ended already
	<-s.done
}

// post sends one body and returns the answer.
func (s *server) post(ctx context.Context, body []byte) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := s.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close() //nolint:errcheck // only read
	answer, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %.200s", response.StatusCode, answer)
	}
	return answer, err
}

// decide asks one question.
func (s *server) decide(ctx context.Context, in decision.Input) (bool, error) {
	body, err := json.Marshal(s.encode(in))
	if err != nil {
		return false, err
	}
	answer, err := s.post(ctx, body)
	if err != nil {
		return false, err
	}
	return s.allow(answer)
}

// side asks questions that are encoded beforehand: the client's cost is not
// measured, but it should not keep the machine busy either.
func (s *server) side(questions []decision.Input) (measure.Side, error) {
	bodies := make([][]byte, len(questions))
	for i, in := range questions {
		body, err := json.Marshal(s.encode(in))
		if err != nil {
			return measure.Side{}, err
		}
		bodies[i] = body
	}
	return measure.Side{CPU: measure.Process(s.cmd.Process.Pid), Warm: 200, Ask: func(ctx context.Context, i int) error {
		_, err := s.post(ctx, bodies[i])
		return err
	}}, nil
}

// free returns a loopback address nobody listens on.
func free(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// opaServer is `opa run --server`. It and our servers log errors only: by default
// it would write two lines per request.
func (b *bench) opaServer(ctx context.Context, document string, files ...string) (*server, error) {
	if b.opa == "" {
		return nil, skipped("there is no opa: `make judges` builds it, -opa names it")
	}
	address, err := free(ctx)
	if err != nil {
		return nil, err
	}
	args := append([]string{"run", "--server", "--addr", address, "--log-level", "error", "--disable-telemetry"}, files...)
	s, err := start(ctx, exec.CommandContext(ctx, b.opa, args...), address, "/v1/data/"+document)
	if err != nil {
		return nil, err
	}
	s.encode = func(in decision.Input) any { return map[string]any{"input": rival.Document(in)} }
	return s, nil
}

// opaBundle serves our bundle with stock OPA.
func (b *bench) opaBundle(ctx context.Context, subject *subject) (*server, error) {
	path, err := subject.write(b.dir)
	if err != nil {
		return nil, err
	}
	s, err := b.opaServer(ctx, "charter/decision", "--bundle", path)
	if err != nil {
		return nil, err
	}
	s.allow = func(body []byte) (bool, error) {
		var answer struct{ Result decision.Decision }
		err := json.Unmarshal(body, &answer)
		return answer.Result.Allow, err
	}
	return s, nil
}

// opaNaive serves the naive policy with stock OPA.
func (b *bench) opaNaive(ctx context.Context, spec *workload.Spec) (*server, error) {
	module, data := filepath.Join(b.dir, "naive.rego"), filepath.Join(b.dir, "naive.json")
	text, err := json.Marshal(rival.NaiveData(spec))
	if err != nil {
		return nil, err
	}
	err = errors.Join(os.WriteFile(module, []byte(rival.NaiveModule()), 0o600), os.WriteFile(data, text, 0o600))
	if err != nil {
		return nil, err
	}
	s, err := b.opaServer(ctx, "naive/allow", module, data)
	if err != nil {
		return nil, err
	}
	s.allow = func(body []byte) (bool, error) {
		var answer struct{ Result bool }
		err := json.Unmarshal(body, &answer)
		return answer.Result, err
	}
	return s, nil
}

// charterServer is the server as it is shipped, with its cache.
func (b *bench) charterServer(ctx context.Context, subject *subject) (*server, error) {
	return b.shipped(ctx, subject)
}

// uncachedServer is the same, and keeps no answer.
func (b *bench) uncachedServer(ctx context.Context, subject *subject) (*server, error) {
	return b.shipped(ctx, subject, "--cache-size", "0")
}

func (b *bench) shipped(ctx context.Context, subject *subject, flags ...string) (*server, error) {
	path, err := subject.write(b.dir)
	if err != nil {
		return nil, err
	}
	if b.server == "" {
		b.server = filepath.Join(b.dir, "charter-server")
		root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", product).Output()
		if err != nil {
			return nil, fmt.Errorf("find %s: %w", product, err)
		}
		build := exec.CommandContext(ctx, "go", "build", "-o", b.server, "./cmd/charter-server")
		build.Dir = strings.TrimSpace(string(root)) // whose go.sum knows all that it needs
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build charter-server: %w: %s", err, out)
		}
	}
	address, err := free(ctx)
	if err != nil {
		return nil, err
	}
	// Neither server keeps a record: that is another comparison.
	flags = append(flags, "--bundle", path, "--listen", address, "--insecure-no-ledger", "--log-level", "error", "--insecure-self-asserted")
	return ours(start(ctx, exec.CommandContext(ctx, b.server, flags...), address, checkPath))
}

const checkPath = "/v1/check"

// ours speaks the API of charter-server, which stamps the time itself.
func ours(s *server, err error) (*server, error) {
	if err != nil {
		return nil, err
	}
	s.encode = func(in decision.Input) any {
		in.Time = ""
		return in
	}
	s.allow = func(body []byte) (bool, error) {
		var d decision.Decision
		err := json.Unmarshal(body, &d)
		return d.Allow, err
	}
	return s, nil
}

package cases_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/westworld-charter/charter/tests/internal/judge"
)

// TestStockOPA serves every bundle of the corpus with an unmodified opa and asks it the
// whole corpus. It fails when a community that runs OPA would be governed otherwise than
// one that runs charter-server.
func TestStockOPA(t *testing.T) {
	opa := judge.Path(t, "opa")
	for _, tb := range allTables(t) {
		t.Run(tb.Path, func(t *testing.T) {
			t.Parallel()
			client := serve(t, opa, tb)
			for _, c := range tb.Cases {
				client.setState(t, c.State)
				got := client.decide(t, c.Input)
				want := eval(t, withState(t, tb.policy, c.State), c.Input)
				if !reflect.DeepEqual(got, want) {
					t.Errorf("%s: %s:\nopa    %v\nengine %v", c.Pos, c.Name, got, want)
				}
			}
		})
	}
}

// stockOPA talks to one `opa run --server` over a socket.
type stockOPA struct {
	http  *http.Client
	state bool // a state document is stored
}

// serve starts opa over the unpacked bundle of a table and waits until it answers.
func serve(t *testing.T, opa string, tb *table) *stockOPA {
	t.Helper()
	dir := t.TempDir()
	unpacked, socket := filepath.Join(dir, "bundle"), filepath.Join(dir, "opa.sock")
	if err := tb.bundle.WriteDir(unpacked); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var output bytes.Buffer
	cmd := exec.CommandContext(ctx, opa, "run", "--server", "--disable-telemetry", "--log-level", "error",
		"--addr", "unix://"+socket, "--bundle", unpacked)
	cmd.Stdout, cmd.Stderr = &output, &output
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
	s := &stockOPA{http: &http.Client{Transport: &http.Transport{DialContext: dial}, Timeout: 30 * time.Second}}
	tick, deadline := time.NewTicker(20*time.Millisecond), time.After(time.Minute)
	defer tick.Stop()
	for {
		if res, err := s.http.Get("http://opa/health?bundles"); err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return s
			}
		}
		select {
		case err := <-exited:
			exited <- err
			t.Fatalf("opa run: %v\n%s", err, output.String())
		case <-deadline:
			t.Fatal("opa did not come up within a minute")
		case <-tick.C:
		}
	}
}

// setState makes state the document data.charter_state; nil removes it.
func (s *stockOPA) setState(t *testing.T, state map[string]any) {
	t.Helper()
	switch {
	case state != nil:
		s.call(t, http.MethodPut, "/v1/data/charter_state", state)
	case s.state:
		s.call(t, http.MethodDelete, "/v1/data/charter_state", nil)
	}
	s.state = state != nil
}

// decide asks for the decision document; it is undefined when the answer has no result.
func (s *stockOPA) decide(t *testing.T, input any) any {
	t.Helper()
	var body struct {
		Result any `json:"result"`
	}
	dec := json.NewDecoder(bytes.NewReader(s.call(t, http.MethodPost, "/v1/data/charter/decision", map[string]any{"input": input})))
	dec.UseNumber()
	if err := dec.Decode(&body); err != nil {
		t.Fatal(err)
	}
	return body.Result
}

func (s *stockOPA) call(t *testing.T, method, path string, body any) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://opa"+path, bytes.NewReader(toJSON(t, body)))
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil || res.StatusCode >= http.StatusBadRequest {
		t.Fatalf("%s %s: %s %v\n%s", method, path, res.Status, err, data)
	}
	return data
}

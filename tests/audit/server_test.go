package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledgerdb"
	"github.com/westworld-charter/charter/tests/internal/poll"
	"github.com/westworld-charter/charter/tests/internal/process"
	"github.com/westworld-charter/charter/tests/internal/program"
)

// server is a charter-server in a process of its own.
type server struct {
	*process.Process
	url  string
	data string
	http *http.Client
}

// start serves the charter of these tests with a ledger in a directory.
func start(t *testing.T, data string, args ...string) *server {
	t.Helper()
	s := begin(t, data, args...)
	s.Ready(t, func() error { return s.health(http.StatusOK) })
	return s
}

func begin(t *testing.T, data string, args ...string) *server {
	t.Helper()
	address := process.FreeAddress(t)
	return &server{
		url: "http://" + address, data: data, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: poll.Patience},
		Process: process.Start(t, process.Options{}, program.Path(t, "charter-server"), append([]string{
			"--charter", "charter.yaml", "--listen", address, "--data", data, "--insecure-self-asserted", "--log-level", "warn", "--watch", "0", "--rate-limit", "0",
		}, args...)...),
	}
}

// kill ends the process at once.
func (s *server) kill() {
	s.http.CloseIdleConnections()
	s.Kill()
}

// stop ends the process as an operator does.
func (s *server) stop(t *testing.T) {
	t.Helper()
	s.http.CloseIdleConnections()
	if err := s.End(syscall.SIGTERM); err != nil {
		t.Fatalf("%v: %s", err, s)
	}
}

// answer is what the tests look at.
type answer struct {
	status int
	retry  string
	Allow  bool
	Code   string
	ID     string `json:"decision_id"`
}

// ask asks about a metric, with secrets for label values.
func (s *server) ask(ctx context.Context, metric string, header ...string) (answer, error) {
	body := fmt.Sprintf(`{"metric":%q,"node":"edge-1","role":"node_operator","operation":"collect","claims":["mtls"],"labels":{"device":"secret-device","zone":"secret-zone"}}`, metric)
	return s.post(ctx, "/v1/check", body, header...)
}

func (s *server) post(ctx context.Context, path, body string, header ...string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := s.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	text, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return answer{}, err
	}
	a := answer{status: res.StatusCode, retry: res.Header.Get("Retry-After")}
	if err := json.Unmarshal(text, &a); err != nil {
		return a, fmt.Errorf("%w: %s", err, text)
	}
	return a, nil
}

func (s *server) must(t *testing.T, metric string) answer {
	t.Helper()
	a, err := s.ask(t.Context(), metric)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (s *server) health(want int) error {
	res, err := s.http.Get(s.url + "/health")
	if err != nil {
		return err
	}
	text, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return err
	}
	if res.StatusCode != want || want != http.StatusOK && !bytes.Contains(text, []byte(`"audit_unavailable"`)) {
		return fmt.Errorf("%d: %s", res.StatusCode, text)
	}
	return nil
}

// record is all that a ledger holds.
type record struct {
	entries []ledger.Entry
	denials map[string]int // by decision id
	counts  map[string]uint64
	gaps    []ledger.Missing
	open    map[string]bool // windows without an end
}

// read verifies the ledger of a data directory and reads all of it.
func read(t *testing.T, data string) record {
	t.Helper()
	return readFrom(t, filepath.Join(data, "ledger"), data)
}

// readFrom is read for a ledger that is elsewhere.
func readFrom(t *testing.T, ref, data string) record {
	t.Helper()
	store, err := ledgerdb.Open(t.Context(), ref, ledgerdb.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close() //nolint:errcheck // only read
	key, err := note.NewVerifier(text(t, filepath.Join(data, "ledger.pub")))
	if err != nil {
		t.Fatal(err)
	}
	report, err := ledger.Verify(t.Context(), store, ledger.VerifyOptions{Keys: ledger.Keys{Origin: key.Name(), Log: []note.Verifier{key}, IgnoreUnknown: true}})
	if err != nil {
		t.Fatal(err)
	}
	r := record{denials: map[string]int{}, counts: map[string]uint64{}, open: map[string]bool{}}
	for row, err := range store.Rows(t.Context(), 0, report.Size) {
		if err != nil {
			t.Fatal(err)
		}
		e, err := ledger.ParseEntry(row.Body)
		if err != nil {
			t.Fatal(err)
		}
		r.add(t, e)
	}
	return r
}

func (r *record) add(t *testing.T, e ledger.Entry) {
	t.Helper()
	r.entries = append(r.entries, e)
	data := func(to any) {
		if err := json.Unmarshal(e.Data, to); err != nil {
			t.Fatal(err)
		}
	}
	switch e.Kind {
	case ledger.Denial:
		r.denials[e.DecisionID]++
	case ledger.WindowOpen, ledger.WindowClose:
		var w ledger.Window
		data(&w)
		if e.Kind == ledger.WindowOpen {
			r.open[w.ID] = true
			return
		}
		for _, c := range w.Counts {
			r.counts[c.Metric] += c.Count
		}
		if !w.More {
			delete(r.open, w.ID)
		}
	case ledger.Gap:
		var m ledger.Missing
		data(&m)
		r.gaps = append(r.gaps, m)
		delete(r.open, m.Window)
	}
}

// kinds counts the entries.
func (r *record) kinds() map[ledger.Kind]int {
	counts := map[ledger.Kind]int{}
	for _, e := range r.entries {
		counts[e.Kind]++
	}
	return counts
}

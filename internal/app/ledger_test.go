package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/audit"
	"github.com/westworld-charter/charter/internal/decision"
	decisionapi "github.com/westworld-charter/charter/internal/httpapi/decision"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledger/ledgertest"
	"github.com/westworld-charter/charter/internal/metrics"
)

// unrecorded are options for tests that are not about the record: servers that
// are made and never run would keep a ledger open.
func unrecorded() Options {
	o := Defaults()
	o.Ledger.InsecureNone = true
	return o
}

// recording is a server with a ledger; it neither listens nor watches, and nobody
// looks after its ledger.
func recording(t *testing.T, o Options) *serving {
	t.Helper()
	o.Ledger.InsecureNone, o.Data = false, t.TempDir()
	s := offered(t, o)
	t.Cleanup(func() {
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// recorded yields the entries of some kinds and what they say.
func recorded[T any](t *testing.T, s *Server, kinds ...ledger.Kind) iter.Seq2[ledger.Entry, T] {
	return func(yield func(ledger.Entry, T) bool) {
		for row, err := range s.keeper.relay.Find(t.Context(), ledger.Filter{Kinds: kinds}) {
			if err != nil {
				t.Fatal(err)
			}
			e, err := ledger.ParseEntry(row.Body)
			if err != nil {
				t.Fatal(err)
			}
			var data T
			if err := json.Unmarshal(e.Data, &data); err != nil {
				t.Fatal(err)
			}
			if !yield(e, data) {
				return
			}
		}
	}
}

// policies returns what the ledger says about policies, one line an entry.
func (s *serving) policies(t *testing.T) []string {
	t.Helper()
	if err := s.keeper.drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	type entry struct {
		audit.Load
		Previous, State string
		Percent         *int
	}
	var lines []string
	for e, d := range recorded[entry](t, s.Server, ledger.Load, ledger.Activation) {
		if _, err := time.Parse(time.RFC3339, d.At); err != nil {
			t.Errorf("%s: %v", e.Data, err)
		}
		line := strings.Join(strings.Fields(fmt.Sprint(e.Kind, " ", d.Part, " ", d.Result, " ", d.Code, " ", d.Trigger, " ", short(d.Previous), " ", short(e.Revision))), " ")
		if d.Percent != nil {
			line += fmt.Sprintf(" %d%%", *d.Percent)
		}
		if d.State != "" {
			line += " with state"
		}
		lines = append(lines, line)
	}
	return lines
}

func short(revision string) string {
	before, _, _ := strings.Cut(revision, "+")
	return before
}

// Which policy was in force when is part of the record, and so is what was refused.
func TestPoliciesAreRecorded(t *testing.T) {
	dir := t.TempDir()
	text := read(t, example1)
	o := selfAsserted(put(t, filepath.Join(dir, "charter.yaml"), text))
	o.State = put(t, filepath.Join(dir, "state.json"), `{}`)
	o.Candidate.Path = put(t, filepath.Join(dir, "next.yaml"), strings.Replace(text, "version: 1.0.0", "version: 2.0.0", 1))
	o.Diagnostics = "127.0.0.1:0"
	s := recording(t, o)
	put(t, o.Charter, strings.Replace(text, "version: 1.0.0", "version: 1.1.0", 1))
	if _, err := s.Reload(t.Context(), "api"); err != nil {
		t.Fatal(err)
	}
	put(t, o.State, `{"standing":{}}`)
	if _, err := s.Reload(t.Context(), "SIGHUP"); err != nil {
		t.Fatal(err)
	}
	put(t, o.Charter, "no charter")
	if _, err := s.Reload(t.Context(), "watch"); err == nil {
		t.Fatal("loaded")
	}
	for _, body := range []string{`{"percent": 20}`, `{"promote": true}`} {
		if status, answer := ask(t, s.diag+"/v1/candidate", body); status != http.StatusOK {
			t.Fatalf("%s: %d %s", body, status, answer)
		}
	}
	want := []string{
		"charter-load policy loaded start example-1.0.0",
		"activation start example-1.0.0 with state",
		"charter-load candidate loaded start example-2.0.0",
		"charter-load policy loaded api example-1.1.0",
		"activation api example-1.0.0 example-1.1.0 with state",
		"charter-load policy loaded SIGHUP example-1.1.0",
		"activation SIGHUP example-1.1.0 example-1.1.0 with state",
		"charter-load policy refused invalid_charter watch",
		"activation canary example-1.1.0 example-2.0.0 20% with state",
		"activation promotion example-1.1.0 example-2.0.0 with state",
	}
	got := s.policies(t)
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("got\n%s\nwant\n%s", g, w)
	}
}

// A fix must come into force also while the ledger is down; it is recorded before
// anything is allowed.
func TestActivationWithoutLedger(t *testing.T) {
	text := read(t, example1)
	o := selfAsserted(put(t, filepath.Join(t.TempDir(), "charter.yaml"), text))
	s := recording(t, o)
	s.keeper.down(errors.New("pulled out"), time.Now())
	s.keeper.shut()
	put(t, o.Charter, strings.Replace(text, "version: 1.0.0", "version: 1.1.0", 1))
	if done, err := s.Reload(t.Context(), "api"); err != nil || !done.Changed {
		t.Fatal(done, err)
	}
	if status, body := ask(t, s.url+"/v1/check", collect); status != http.StatusServiceUnavailable || !strings.Contains(body, codeAuditUnavailable) {
		t.Errorf("%d %s", status, body)
	}
	if status, body := fetch(t, s.url+"/v1/ledger/checkpoint"); status < 500 {
		t.Errorf("%d %s", status, body)
	}
	if status, body := fetch(t, s.url+"/health"); status != http.StatusServiceUnavailable || !strings.Contains(body, codeAuditUnavailable) || strings.Contains(body, "pulled") {
		t.Errorf("%d %s", status, body)
	}
	s.keeper.tend(t.Context(), time.Now())
	if status, body := ask(t, s.url+"/v1/check", collect); status != http.StatusOK || !decided(t, body).Allow {
		t.Errorf("%d %s", status, body)
	}
	if got := s.policies(t); len(got) != 4 || got[3] != "activation api example-1.0.0 example-1.1.0" {
		t.Errorf("%q", got)
	}
	if status, body := fetch(t, s.url+"/v1/ledger/checkpoint"); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
}

// keeping is a keeper over a store in memory.
func keeping(t *testing.T, store *ledgertest.Memory) *keeper {
	t.Helper()
	signer := ledgertest.NewSigner(t)
	k := &keeper{metrics: metrics.New(metrics.Build{}), log: slog.New(slog.DiscardHandler), wake: make(chan struct{}, 1)}
	k.open = func(ctx context.Context, heads []ledger.HeadSource) (*opened, error) {
		l, err := ledger.Open(ctx, store, ledger.Options{Origin: ledgertest.Origin, Signers: []ledger.Signer{signer}, Heads: heads})
		if err != nil {
			return nil, err
		}
		return &opened{l, store}, nil
	}
	k.auditor = audit.New(audit.Options{Log: k})
	if err := k.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.stop(t.Context()) })
	return k
}

// After a commit that failed nothing is tried again blindly: the ledger is opened
// anew, and later each time that fails.
func TestKeeperOpensAgain(t *testing.T) {
	store := ledgertest.NewMemory()
	k := keeping(t, store)
	broken := errors.New("disk broken")
	store.OnCommit = func(ledger.Commit) error { return broken }
	denial := ledger.Entry{Kind: ledger.Denial}
	if _, err := k.AppendAll(t.Context(), []ledger.Entry{denial}, ledger.Durable); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	now := time.Now()
	k.tend(t.Context(), now)
	if k.current.Load() != nil || k.fault.Load() == nil {
		t.Fatal("goes on with a log that has stopped")
	}
	if _, err := k.AppendAll(t.Context(), []ledger.Entry{denial}, ledger.Durable); !errors.Is(err, ledger.ErrStopped) {
		t.Error(err)
	}
	store.FailProbe = broken
	attempts := 0
	open := k.open
	k.open = func(ctx context.Context, heads []ledger.HeadSource) (*opened, error) {
		attempts++
		return open(ctx, heads)
	}
	for second := range 60 {
		k.tend(t.Context(), now.Add(time.Duration(second)*time.Second))
	}
	if attempts < 5 || attempts > 9 {
		t.Errorf("%d attempts in a minute", attempts)
	}
	store.OnCommit, store.FailProbe = nil, nil
	k.tend(t.Context(), now.Add(2*time.Minute))
	if _, err := k.AppendAll(t.Context(), []ledger.Entry{denial}, ledger.Durable); err != nil || k.fault.Load() != nil {
		t.Error(err)
	}
}

// A store that lost its end behind our back is not gone on with.
func TestKeeperRefusesAnOlderLedger(t *testing.T) {
	store := ledgertest.NewMemory()
	k := keeping(t, store)
	for range 3 {
		if _, err := k.AppendAll(t.Context(), []ledger.Entry{{Kind: ledger.Denial}}, ledger.Durable); err != nil {
			t.Fatal(err)
		}
	}
	k.shut()
	store.Entries = store.Entries[:2]
	k.tend(t.Context(), time.Now())
	if f := k.fault.Load(); f == nil || !errors.Is(f.err, ledger.ErrBehind) {
		t.Errorf("%+v", f)
	}
}

// Prometheus must be able to read what is exported about the ledger.
func TestLedgerMetrics(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CHARTER_JUDGES_REQUIRED") != "" {
			t.Fatal(err)
		}
		t.Skip("judge promtool is missing")
	}
	s := recording(t, selfAsserted(example1))
	ask(t, s.url+"/v1/check", strings.Replace(collect, "latency_p50", "home_location", 1))
	_, body := fetch(t, s.url+"/metrics")
	for _, line := range []string{"charter_ledger_up 1", "charter_ledger_size 3", `charter_ledger_entries_total{kind="denial"} 1`, "charter_ledger_lost_total 0"} {
		if !strings.Contains(body, "\n"+line+"\n") {
			t.Errorf("/metrics lacks %s", line)
		}
	}
	cmd := exec.CommandContext(t.Context(), promtool, "check", "metrics")
	cmd.Stdin = strings.NewReader(body)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
}

// Recording an allowance that is in the cache allocates nothing.
func TestAuditOfCachedDecisions(t *testing.T) {
	s := recording(t, selfAsserted(example1))
	in := decision.Input{Metric: "latency_p50", Node: "edge-1", Role: "node_operator", Operation: decision.Collect, Claims: []string{"mtls"}, Time: "2026-06-01T00:00:00Z"}
	allocations := func(d decisionapi.Decider) float64 {
		if a, err := d.Decide(t.Context(), in); err != nil || !a.Allow {
			t.Fatal(a, err)
		}
		return testing.AllocsPerRun(200, func() { _, _ = d.Decide(t.Context(), in) })
	}
	alone := allocations(s.rollout)
	if recorded := allocations(s.keeper.auditor); recorded > alone {
		t.Errorf("%v allocations with the record, %v without", recorded, alone)
	}
}

func BenchmarkCachedDecision(b *testing.B) {
	o := selfAsserted(example1)
	o.Ledger.InsecureNone, o.Data = false, b.TempDir()
	s, err := New(b.Context(), server(), o, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close(b.Context()) //nolint:errcheck // of a benchmark
	in := decision.Input{Metric: "latency_p50", Node: "edge-1", Role: "node_operator", Operation: decision.Collect, Claims: []string{"mtls"}, Time: "2026-06-01T00:00:00Z"}
	for name, d := range map[string]decisionapi.Decider{"alone": s.rollout, "recorded": s.keeper.auditor} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = d.Decide(b.Context(), in)
			}
		})
	}
}

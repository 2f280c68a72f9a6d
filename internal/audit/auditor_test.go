package audit

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/ledger"
)

// answering decides by the metric's name.
type answering struct{}

func (answering) Decide(_ context.Context, in decision.Input) (decision.Decision, error) {
	d := decision.Decision{Allow: true, Outcome: decision.Allowed, Clause: "net.latency", Severity: "none", Revision: "r-1", Mode: decision.Enforce, DecisionID: "id"}
	no := decision.Decision{
		Outcome: decision.Forbidden, Clause: "privacy.location", Severity: "critical", Revision: "r-1", Mode: decision.Enforce,
		Reasons: []decision.Reason{{Code: decision.CodeForbiddenMetric, Clause: "privacy.location", Severity: "critical", Message: "no"}},
	}
	switch {
	case strings.HasPrefix(in.Metric, "gps"):
		return no, nil
	case strings.HasPrefix(in.Metric, "low"):
		no.Severity, no.Outcome = "low", decision.UnknownMetric
		return no, nil
	case strings.HasPrefix(in.Metric, "warned"):
		d.Mode, d.WouldDeny = decision.Warn, &no
	case in.Metric == "broken":
		return d, errors.New("broken")
	}
	return d, nil
}

func (a answering) DecideBatch(ctx context.Context, in []decision.Input) []decision.Decision {
	answers := make([]decision.Decision, len(in))
	for i := range in {
		answers[i], _ = a.Decide(ctx, in[i])
	}
	return answers
}

// memory is a log that can fail.
type memory struct {
	mu     sync.Mutex
	rows   []ledger.Row
	levels []ledger.Level
	err    error
}

func (m *memory) AppendAll(_ context.Context, entries []ledger.Entry, level ledger.Level) ([]ledger.Position, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return nil, m.err
	}
	for _, e := range entries {
		e.Schema, e.Time = ledger.Schema, "2026-06-01T00:00:00.000000000Z"
		body, err := e.Body()
		if err != nil {
			return nil, err
		}
		columns, err := e.Columns()
		if err != nil {
			return nil, err
		}
		m.rows = append(m.rows, ledger.Row{Index: uint64(len(m.rows)), Body: body, Columns: columns})
		m.levels = append(m.levels, level)
	}
	return make([]ledger.Position, len(entries)), nil
}

func (m *memory) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

// Find supports what Recover asks for.
func (m *memory) Find(_ context.Context, f ledger.Filter) iter.Seq2[ledger.Row, error] {
	return func(yield func(ledger.Row, error) bool) {
		for i := len(m.rows) - 1; i >= 0; i-- {
			for _, kind := range f.Kinds {
				if m.rows[i].Kind == kind && !yield(m.rows[i], nil) {
					return
				}
			}
		}
	}
}

// of returns the entries of a kind.
func (m *memory) of(t *testing.T, kind ledger.Kind) []ledger.Entry {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []ledger.Entry
	for _, row := range m.rows {
		e, err := ledger.ParseEntry(row.Body)
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == kind {
			found = append(found, e)
		}
	}
	return found
}

// windows merges the parts of all recorded windows.
func (m *memory) windows(t *testing.T) (counts map[string]uint64, overflow uint64) {
	t.Helper()
	counts = map[string]uint64{}
	for _, e := range m.of(t, ledger.WindowClose) {
		var w ledger.Window
		if err := json.Unmarshal(e.Data, &w); err != nil {
			t.Fatal(err)
		}
		for _, c := range w.Counts {
			counts[fmt.Sprint(c.Metric, c.Labels, c.Claims)] += c.Count
		}
		overflow += w.Overflow
	}
	return counts, overflow
}

func auditing(rules Rules, change func(*Options)) (*Auditor, *memory) {
	log := &memory{}
	o := Options{Next: answering{}, Log: log, Rules: func() Rules { return rules }}
	if change != nil {
		change(&o)
	}
	return New(o), log
}

func question(metric string) decision.Input {
	return decision.Input{
		Metric: metric, Node: "edge-1", Role: "node_operator", Operation: decision.Collect, Time: "2026-06-01T00:00:00Z",
		Claims: []string{"mtls", "a", "mtls"}, Labels: map[string]string{"b": "secret-b", "a": "secret-a", "gone": ""},
	}
}

// A denial that an auditor cannot find, or that shows more than was decided on, is
// what this package is for.
func TestDenialIsRecordedBeforeItIsAnswered(t *testing.T) {
	a, log := auditing(Rules{Critical: ledger.Witnessed}, nil)
	ctx := WithCaller(t.Context(), Caller{Principal: "cert:edge-1", RequestID: "req-1"})
	d, err := a.Decide(ctx, question("gps_fix"))
	if err != nil || d.Allow {
		t.Fatal(d, err)
	}
	entries := log.of(t, ledger.Denial)
	if len(entries) != 1 || log.levels[0] != ledger.Witnessed {
		t.Fatalf("%+v at %v", entries, log.levels)
	}
	want := ledger.Entry{
		Schema: 1, Kind: ledger.Denial, Time: "2026-06-01T00:00:00.000000000Z", Metric: "gps_fix", Node: "edge-1", Role: "node_operator",
		Operation: "collect", Labels: []string{"a", "b"}, Claims: []string{"a", "mtls"}, Asked: "2026-06-01T00:00:00Z",
		Outcome: "forbidden", Clause: "privacy.location", Severity: "critical", Mode: "enforce", Revision: "r-1",
		Reasons:   []ledger.Reason{{Code: "forbidden_metric", Clause: "privacy.location", Severity: "critical"}},
		Principal: "cert:edge-1", RequestID: "req-1",
	}
	if !reflect.DeepEqual(entries[0], want) {
		t.Errorf("got  %+v\nwant %+v", entries[0], want)
	}
	if strings.Contains(string(log.rows[0].Body), "secret") {
		t.Errorf("a label value is recorded: %s", log.rows[0].Body)
	}
}

// What warn mode lifts would have been a denial, and is recorded as one.
func TestLiftedDenial(t *testing.T) {
	a, log := auditing(Rules{}, nil)
	d, err := a.Decide(t.Context(), question("warned"))
	if err != nil || !d.Allow {
		t.Fatal(d, err)
	}
	if e := log.of(t, ledger.Denial); len(e) != 1 || e[0].Outcome != decision.Forbidden || e[0].Mode != decision.Warn {
		t.Errorf("%+v", e)
	}
}

// With the ledger down a denial is still a denial, nothing new is allowed, and the
// ledger says later what is missing from it.
func TestLedgerDown(t *testing.T) {
	down := errors.New("disk full")
	for _, allowed := range []Allowances{Counted, Each} {
		var told []error
		a, log := auditing(Rules{Allowed: allowed}, func(o *Options) { o.Failed = func(err error) { told = append(told, err) } })
		log.fail(down)
		if d, err := a.Decide(t.Context(), question("gps_fix")); err != nil || d.Outcome != decision.Forbidden {
			t.Errorf("denial: %+v, %v", d, err)
		}
		if d, err := a.Decide(t.Context(), question("latency")); !errors.Is(err, ErrUnavailable) || !errors.Is(err, down) || d.Allow {
			t.Errorf("allowance: %+v, %v", d, err)
		}
		batch, err := a.DecideBatch(t.Context(), []decision.Input{question("gps_a"), question("latency"), question("gps_b")})
		if !errors.Is(err, ErrUnavailable) || batch != nil {
			t.Errorf("batch: %+v, %v", batch, err)
		}
		if len(told) == 0 {
			t.Error("nobody was told")
		}
		if err := a.Flush(t.Context()); !errors.Is(err, down) {
			t.Errorf("flush: %v", err)
		}
		log.fail(nil)
		if err := a.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		gaps := log.of(t, ledger.Gap)
		var m ledger.Missing
		if len(gaps) != 1 || json.Unmarshal(gaps[0].Data, &m) != nil || m.Reason != ledger.ReasonUnavailable || *m.Count < 1 {
			t.Errorf("gaps: %+v", gaps)
		}
		if d, err := a.Decide(t.Context(), question("latency")); err != nil || !d.Allow {
			t.Errorf("afterwards: %+v, %v", d, err)
		}
	}
}

func TestNoneIsRecordedWhereTheCharterSaysSo(t *testing.T) {
	a, log := auditing(Rules{Allowed: None}, nil)
	log.fail(errors.New("down"))
	if d, err := a.Decide(t.Context(), question("latency")); err != nil || !d.Allow {
		t.Error(d, err)
	}
}

// Counts are exact under concurrency, over as many windows as there are.
func TestWindowsCountExactly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, log := auditing(Rules{}, func(o *Options) { o.Window = time.Second })
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- a.Run(ctx) }()
		var asking sync.WaitGroup
		const workers, each = 8, 200
		for w := range workers {
			asking.Go(func() {
				for i := range each {
					in := question(fmt.Sprintf("m%d", i%3))
					if i%2 == 0 {
						in.Labels = nil
					}
					if _, err := a.Decide(t.Context(), in); err != nil {
						t.Error(err)
					}
					<-time.After(time.Duration(w+1) * 7 * time.Millisecond)
				}
			})
		}
		asking.Wait()
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		counts, overflow := log.windows(t)
		var sum uint64
		for _, n := range counts {
			sum += n
		}
		if sum != workers*each || overflow != 0 || len(counts) != 6 {
			t.Errorf("%d counted as %v, %d not told apart", sum, counts, overflow)
		}
		opened, closed := len(log.of(t, ledger.WindowOpen)), len(log.of(t, ledger.WindowClose))
		if opened < 5 || opened != closed {
			t.Errorf("%d windows announced, %d recorded", opened, closed)
		}
		if _, err := a.Decide(t.Context(), question("late")); !errors.Is(err, ErrUnavailable) {
			t.Errorf("allowed after the last window was recorded: %v", err)
		}
	})
}

// A flood of different names must not fill the memory, and must not go uncounted.
func TestDistinctQuestionsAreBounded(t *testing.T) {
	a, log := auditing(Rules{}, func(o *Options) { o.Distinct = 10 })
	for i := range 25 {
		if _, err := a.Decide(t.Context(), question(fmt.Sprintf("m%d", i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	counts, overflow := log.windows(t)
	if len(counts) != 10 || overflow != 15 {
		t.Errorf("%d told apart, %d not", len(counts), overflow)
	}
}

// A window of many questions fits into entries of limited size.
func TestLargeWindow(t *testing.T) {
	a, log := auditing(Rules{}, nil)
	const n = 1500
	for i := range n {
		if _, err := a.Decide(t.Context(), question(fmt.Sprintf("%s_%d", strings.Repeat("m", 100), i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if counts, _ := log.windows(t); len(counts) != n || len(log.of(t, ledger.WindowClose)) < 2 {
		t.Errorf("%d of %d counts in %d entries", len(counts), n, len(log.of(t, ledger.WindowClose)))
	}
	if err := New(a.Options).Recover(t.Context(), log); err != nil || len(log.of(t, ledger.Gap)) != 1 {
		// The window that Flush began is open.
		t.Errorf("%v, gaps: %+v", err, log.of(t, ledger.Gap))
	}
}

// A crash loses the counts of a window. The ledger has to say so, once.
func TestCrashLeavesAGap(t *testing.T) {
	a, log := auditing(Rules{}, nil)
	if _, err := a.Decide(t.Context(), question("latency")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := New(a.Options).Recover(t.Context(), log); err != nil {
			t.Fatal(err)
		}
	}
	gaps := log.of(t, ledger.Gap)
	var m ledger.Missing
	if len(gaps) != 1 || json.Unmarshal(gaps[0].Data, &m) != nil || m.Reason != ledger.ReasonCrash || m.Window == "" || m.Count != nil {
		t.Errorf("gaps: %+v", gaps)
	}
}

// A batch is recorded together and answered in its order.
func TestBatch(t *testing.T) {
	a, log := auditing(Rules{Allowed: Each}, nil)
	answers, err := a.DecideBatch(t.Context(), []decision.Input{question("gps_a"), question("latency"), question("gps_b"), question("warned")})
	if err != nil || len(answers) != 4 || answers[0].Allow || !answers[1].Allow {
		t.Fatal(answers, err)
	}
	if d, ok := log.of(t, ledger.Denial), log.of(t, ledger.Allowance); len(d) != 3 || len(ok) != 1 || d[0].Metric != "gps_a" || d[1].Metric != "gps_b" {
		t.Errorf("%+v, %+v", d, ok)
	}
}

// Counting stands in the way of every allowed question.
func TestCountingDoesNotAllocate(t *testing.T) {
	a, _ := auditing(Rules{}, nil)
	in := question("latency")
	d, err := a.Decide(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	w := a.current.Load()
	if n := testing.AllocsPerRun(100, func() { w.count(&in, &d) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkCount(b *testing.B) {
	a, _ := auditing(Rules{}, nil)
	in := question("latency")
	d, err := a.Decide(b.Context(), in)
	if err != nil {
		b.Fatal(err)
	}
	w := a.current.Load()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			w.count(&in, &d)
		}
	})
}

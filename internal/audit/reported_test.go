package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledger/ledgertest"
)

// reports makes decisions of an OPA as it uploads them: of every metric one, its id
// being that of its place.
func reports(t *testing.T, metrics ...string) []Reported {
	t.Helper()
	list := make([]Reported, len(metrics))
	for i, metric := range metrics {
		in := question(metric)
		d, err := answering{}.Decide(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		list[i] = Reported{ID: fmt.Sprintf("%s/%d", metric, i), At: time.Unix(1_800_000_000+int64(i), 0), Input: in, Decision: d}
	}
	return list
}

// reportingTo returns an auditor over a real log, and a function that returns the
// entries in it.
func reportingTo(t *testing.T, rules Rules) (*Auditor, func() []ledger.Entry) {
	t.Helper()
	log := ledgertest.NewLog(t, nil, ledgertest.NewSigner(t), nil)
	a := New(Options{Next: answering{}, Log: log, Rules: func() Rules { return rules }})
	return a, func() []ledger.Entry {
		var all []ledger.Entry
		for row, err := range log.Reader().Rows(t.Context(), 0, log.Stats().Size) {
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(row.Body), "secret") {
				t.Errorf("a label value is recorded: %s", row.Body)
			}
			e, err := ledger.ParseEntry(row.Body)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, e)
		}
		return all
	}
}

func edge1() Reporter { return Reporter{Principal: "cert:edge-1", Instance: "opa-1"} }

func TestReport(t *testing.T) {
	a, entries := reportingTo(t, Rules{})
	list := reports(t, "gps_fix", "cpu", "cpu", "low", "warned", "mem")
	list[3].Refused = "node_mismatch"
	got, err := a.Report(t.Context(), edge1(), list)
	if want := (ReportedCounts{Denied: 3, Allowed: 3, Refused: 1}); err != nil || got != want {
		t.Fatalf("%+v, %v, want %+v", got, err, want)
	}
	all := entries()
	if len(all) != 4 {
		t.Fatalf("%d entries: %+v", len(all), all)
	}
	for i, want := range []struct{ metric, outcome, code, mode string }{
		{"gps_fix", decision.Forbidden, decision.CodeForbiddenMetric, decision.Enforce},
		{"low", decision.Denied, "node_mismatch", decision.Enforce},
		{"warned", decision.Forbidden, decision.CodeForbiddenMetric, decision.Warn},
	} {
		j := slices.IndexFunc(all, func(e ledger.Entry) bool { return e.Metric == want.metric })
		if j < 0 {
			t.Fatalf("%s is not recorded", want.metric)
		}
		e := all[j]
		if e.Kind != ledger.Denial || e.Outcome != want.outcome || e.Reasons[0].Code != want.code || e.Mode != want.mode {
			t.Errorf("%d: %+v", i, e)
		}
		if e.Principal != "opa:cert:edge-1" || e.RequestID != e.DecisionID || !slices.Equal(e.Labels, []string{"a", "b"}) ||
			!strings.HasPrefix(string(e.Data), `{"reported":{"at":"2027-01-15T08:00:0`) {
			t.Errorf("%d: %+v %s", i, e, e.Data)
		}
	}
	w := windowIn(t, all)
	if w.Reported != "opa-1" || w.From != "2027-01-15T08:00:01Z" || w.To != "2027-01-15T08:00:05Z" || len(w.Counts) != 2 || w.Counts[0].Count != 2 {
		t.Errorf("%+v", w)
	}
}

func windowIn(t *testing.T, all []ledger.Entry) (w ledger.Window) {
	t.Helper()
	i := slices.IndexFunc(all, func(e ledger.Entry) bool { return e.Kind == ledger.WindowClose })
	if i < 0 || all[i].Principal != "opa:cert:edge-1" {
		t.Fatalf("no window of the reporter: %+v", all)
	}
	if err := json.Unmarshal(all[i].Data, &w); err != nil {
		t.Fatal(err)
	}
	return w
}

// OPA uploads again what it does not know to have arrived.
func TestReportAgain(t *testing.T) {
	for name, rules := range map[string]Rules{"counted": {}, "each": {Allowed: Each}, "none": {Allowed: None}} {
		a, entries := reportingTo(t, rules)
		list := reports(t, "gps_fix", "cpu", "cpu", "warned")
		if _, err := a.Report(t.Context(), edge1(), list); err != nil {
			t.Fatal(err)
		}
		want := len(entries())
		list[0], list[3] = list[3], list[0] // the order does not matter
		got, err := New(a.Options).Report(t.Context(), edge1(), list)
		repeated := uint64(4)
		if rules.Allowed == None {
			repeated = 2
		}
		if err != nil || got.Repeated != repeated || len(entries()) != want {
			t.Errorf("%s: %+v, %v, %d entries, were %d", name, got, err, len(entries()), want)
		}
		other := edge1()
		other.Principal = "cert:edge-2"
		if got, err := a.Report(t.Context(), other, list); err != nil || got.Repeated != 0 {
			t.Errorf("%s: somebody else's ids are not taken: %+v, %v", name, got, err)
		}
	}
}

// A second decision under an id must not hide.
func TestReportConflict(t *testing.T) {
	a, entries := reportingTo(t, Rules{})
	list := reports(t, "gps_fix", "gps_lat")
	list[1].ID = list[0].ID
	if _, err := a.Report(t.Context(), edge1(), list); err != nil {
		t.Fatal(err)
	}
	if all := entries(); len(all) != 2 || all[1].Kind != ledger.Conflict || all[1].Metric != "gps_lat" {
		t.Errorf("%+v", all)
	}
	// The same id among allowances is the same decision.
	twice := reports(t, "cpu", "cpu")
	twice[1].ID = twice[0].ID
	if got, err := a.Report(t.Context(), edge1(), twice); err != nil || got.Allowed != 2 || got.Repeated != 1 || windowIn(t, entries()).Counts[0].Count != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

// What fails is reported again in full, and nothing is missing or there twice then.
func TestReportWhileTheLedgerIsDown(t *testing.T) {
	a, entries := reportingTo(t, Rules{})
	up, down := a.Log, errors.New("disk full")
	list := reports(t, "gps_fix", "cpu", "mem")
	for calls := range 2 {
		a.Log = &failing{Log: up, after: calls, err: down}
		if _, err := a.Report(t.Context(), edge1(), list); !errors.Is(err, ErrUnavailable) || !errors.Is(err, down) {
			t.Fatal(err)
		}
	}
	a.Log = up
	if got, err := a.Report(t.Context(), edge1(), list); err != nil || got.Repeated != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	if all := entries(); len(all) != 2 || len(windowIn(t, all).Counts) != 2 {
		t.Errorf("%+v", all)
	}
	if a.Stats().Lost != 0 {
		t.Error("what will be reported again is not lost")
	}
}

// failing fails after some calls.
type failing struct {
	Log
	after int
	err   error
}

func (f *failing) AppendAll(ctx context.Context, entries []ledger.Entry, level ledger.Level) ([]ledger.Position, error) {
	if f.after--; f.after < 0 {
		return nil, f.err
	}
	return f.Log.AppendAll(ctx, entries, level)
}

// A large report has a window of several entries.
func TestReportLarge(t *testing.T) {
	a, entries := reportingTo(t, Rules{})
	metrics := make([]string, 3000)
	for i := range metrics {
		metrics[i] = fmt.Sprintf("metric_%d_%s", i, strings.Repeat("x", 100))
	}
	list := reports(t, metrics...)
	for range 2 {
		if _, err := a.Report(t.Context(), edge1(), list); err != nil {
			t.Fatal(err)
		}
	}
	var n uint64
	for _, e := range entries() {
		n += decisionsIn(&e)
	}
	if n != 3000 {
		t.Errorf("%d decisions are recorded", n)
	}
}

package report_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledger/ledgertest"
	"github.com/westworld-charter/charter/internal/report"
)

var q4 = must(report.ParseQuarter("2026Q4"))

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// verified is the report that a verification of the whole ledger makes.
func verified(t *testing.T, h *history, b report.Builder) report.Document {
	t.Helper()
	r, err := ledger.Verify(t.Context(), h.store, ledger.VerifyOptions{Keys: h.keys, Pinned: true, Visit: b.Add})
	if err != nil {
		t.Fatal(err)
	}
	d, err := b.Document(r.Head, report.Assurance{Level: string(r.Level), Signed: true, Keys: []string{"k"}, KeysFrom: "--key"})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// All that is counted can be recounted from the entries that a figure cites, and by
// somebody who knows nothing of this package.
func TestAuditIsExact(t *testing.T) {
	for seed := range uint64(8) {
		h := newHistory(t, q4.From.AddDate(0, 0, -120))
		h.random(mathrand.New(mathrand.NewPCG(seed, 1)), 1200)
		d := verified(t, h, report.NewAudit(report.Options{Period: q4})).(*report.Audit)
		want := recount(t, h, q4)
		got := map[string]uint64{
			"allowed": d.Decisions.Allowed.Count, "denied": d.Decisions.Denied.Count, "lifted": d.Decisions.Lifted.Count,
			"incidents": d.Violations.Incidents.Count, "reports": d.Violations.Reports.Count, "entries": d.Ledger.Entries.Count,
			"delivered": d.Notifications.Delivered.Count, "dead": d.Notifications.Dead.Count, "gaps": uint64(len(d.Completeness.Gaps)),
			"overflow": d.Completeness.Overflow.Count,
		}
		for name, b := range map[string]report.Breakdown{
			"clause": d.Decisions.ByClause, "severity": d.Decisions.BySeverity, "reason": d.Decisions.ByReason, "node": d.Violations.ByNode, "kind": d.Ledger.ByKind,
		} {
			for _, row := range b.Rows {
				got[name+" "+row.Name] = row.Count
			}
		}
		if !reflect.DeepEqual(got, want) || len(want) < 30 {
			t.Errorf("seed %d:\n got %v\nwant %v", seed, got, want)
		}
		before := recount(t, h, q4.Before())
		for _, row := range d.Comparison.Rows {
			if n, known := before[row.Name]; known && n != row.Before.Count || row.Difference != int64(row.Now.Count)-int64(row.Before.Count) {
				t.Errorf("seed %d: %+v, want %d before", seed, row, n)
			}
		}
		for _, row := range d.Ledger.ByKind.Rows {
			checkCitation(t, h, row.Entries, func(r *ledger.Row) bool { return string(r.Kind) == row.Name })
		}
	}
}

// checkCitation looks at the entries that a figure cites.
func checkCitation(t *testing.T, h *history, c report.Citation, belongs func(*ledger.Row) bool) {
	t.Helper()
	found, others := uint64(0), uint64(0)
	for _, r := range c.Ranges {
		for i := r[0]; i <= r[1]; i++ {
			if belongs(&h.store.Entries[i]) {
				found++
			} else {
				others++
			}
		}
	}
	if found != c.Count || c.Exact != (others == 0) || len(c.Ranges) > report.MaxRanges {
		t.Errorf("%+v: holds %d and %d others", c, found, others)
	}
}

// recount counts without this package.
func recount(t *testing.T, h *history, p report.Period) map[string]uint64 {
	t.Helper()
	n := map[string]uint64{}
	for row, err := range h.rows() {
		if err != nil {
			t.Fatal(err)
		}
		e := must(ledger.ParseEntry(row.Body))
		at := must(e.At())
		if at.Before(p.From) || !at.Before(p.To) {
			continue
		}
		n["entries"]++
		n["kind "+string(e.Kind)]++
		var data struct {
			Source, State string
			Counts        []struct{ Count uint64 }
			Overflow      uint64
		}
		if e.Data != nil {
			if err := json.Unmarshal(e.Data, &data); err != nil {
				t.Fatal(err)
			}
		}
		switch {
		case e.Kind == ledger.Denial && e.Mode != "enforce":
			n["lifted"]++
		case e.Kind == ledger.Denial:
			n["denied"]++
			n["clause "+e.Clause]++
			n["severity "+e.Severity]++
			for _, r := range e.Reasons {
				n["reason "+r.Code]++
			}
		case e.Kind == ledger.WindowClose:
			for _, c := range data.Counts {
				n["allowed"] += c.Count
			}
			n["allowed"] += data.Overflow
			n["overflow"] += data.Overflow
		case e.Kind == ledger.Violation:
			n[map[string]string{"denial": "incidents", "report": "reports"}[data.Source]]++
			n["node "+e.Node]++
		case e.Kind == ledger.Notification && data.State != "failed":
			n[data.State]++
		case e.Kind == ledger.Gap:
			n["gaps"]++
		}
	}
	return n
}

// A node's report counts what is the node's, and nobody else's.
func TestCollectionIsExact(t *testing.T) {
	h := newHistory(t, q4.From.AddDate(0, -1, 0))
	h.random(mathrand.New(mathrand.NewPCG(7, 7)), 1500)
	d := verified(t, h, report.NewCollection("edge-3", report.Options{Period: q4})).(*report.Collection)
	want := map[string]uint64{}
	denied := uint64(0)
	for row := range h.rows() {
		e := must(ledger.ParseEntry(row.Body))
		at := must(e.At())
		if at.Before(q4.From) || !at.Before(q4.To) {
			continue
		}
		switch e.Kind {
		case ledger.Denial:
			if e.Node == "edge-3" && e.Mode == "enforce" {
				denied++
			}
		case ledger.WindowClose:
			var w ledger.Window
			if err := json.Unmarshal(e.Data, &w); err != nil {
				t.Fatal(err)
			}
			for _, c := range w.Counts {
				if c.Node == "edge-3" {
					want[fmt.Sprint(c.Operation, c.Metric, c.Clause, c.Role, c.Purpose)] += c.Count
				}
			}
		}
	}
	got, kept := map[string]uint64{}, uint64(0)
	sum := d.Summary.Collected.Count + d.Summary.Read.Count + d.Summary.Exported.Count
	for _, u := range d.Allowed.Rows {
		got[fmt.Sprint(u.Operation, u.Metric, u.Clause, u.Role, u.Purpose)] += u.Count
		sum -= u.Count
	}
	for _, k := range d.Kept {
		kept += k.Count
	}
	if !reflect.DeepEqual(got, want) || sum != 0 || kept != d.Summary.Collected.Count+d.Summary.Read.Count+d.Summary.Exported.Count {
		t.Errorf("sum %d, kept %d\n got %v\nwant %v", sum, kept, got, want)
	}
	if d.Summary.Denied.Count != denied || denied == 0 {
		t.Errorf("%d denied, want %d", d.Summary.Denied.Count, denied)
	}
}

// A verification and a reader of the index make the same report, but for what the
// report says about that.
func TestMakeAgreesWithVerify(t *testing.T) {
	for seed := range uint64(6) {
		h := newHistory(t, q4.From.AddDate(0, 0, -120))
		h.random(mathrand.New(mathrand.NewPCG(seed, 2)), 900)
		if seed%2 == 1 {
			if err := h.store.Prune(t.Context(), 100); err != nil {
				t.Fatal(err)
			}
		}
		for _, fresh := range []func() report.Builder{
			func() report.Builder { return report.NewAudit(report.Options{Period: q4}) },
			func() report.Builder { return report.NewCollection("edge-2", report.Options{Period: q4}) },
		} {
			all := fresh()
			for row, err := range h.rows() {
				if err == nil {
					err = all.Add(row)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			_, head, err := h.store.Head(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			a := report.Assurance{Level: report.Unverified}
			want := must(all.Document(head, a))
			got, err := report.Make(t.Context(), ledger.NewReader(h.store, ledgertest.Origin), fresh(), a)
			if err != nil {
				t.Fatal(err)
			}
			if g, w := render(t, report.JSON, got), render(t, report.JSON, want); g != w {
				t.Errorf("seed %d: two readers make two reports of %T", seed, got)
			}
		}
	}
}

func render(t *testing.T, f report.Format, d report.Document) string {
	t.Helper()
	var out bytes.Buffer
	if err := report.Write(&out, f, d); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// However many names there are, a report is bounded and loses no count.
func TestBoundedByRows(t *testing.T) {
	h := newHistory(t, q4.From)
	for i := range 50 {
		var batch []ledger.Entry
		for j := range 20 {
			batch = append(batch, denial(fmt.Sprintf("n%d-%d", i, j), fmt.Sprintf("m%d-%d", i, j), fmt.Sprintf("c%d-%d", i, j), "enforce", "forbidden_metric"))
		}
		h.add(time.Hour, batch...)
		h.add(0, window(fmt.Sprint(i), h.now, 0, allowed("edge-1", fmt.Sprintf("m%d", i), fmt.Sprintf("c%d", i), 3)))
		h.add(0, entry(ledger.Investigation, "edge-1", ledger.InvestigationStep{ID: fmt.Sprint(i), Action: "open"}))
	}
	o := report.Options{Period: q4, Rows: 10}
	d := verified(t, h, report.NewAudit(o)).(*report.Audit)
	if b := d.Decisions.ByClause; len(b.Rows) != 10 || b.Other == nil || b.Other.Count != 990 || d.Decisions.Denied.Count != 1000 {
		t.Errorf("%d rows, others %+v", len(b.Rows), b.Other)
	}
	if d.NotListed["investigations"] != 40 || d.Investigations.Opened.Count != 50 {
		t.Errorf("%v", d.NotListed)
	}
	c := verified(t, h, report.NewCollection("edge-1", o)).(*report.Collection)
	if len(c.Allowed.Rows) != 10 || c.Allowed.Other == nil || c.Allowed.Other.Count != 120 || c.Summary.Collected.Count != 150 {
		t.Errorf("%+v", c.Allowed.Other)
	}
}

// What is missing is said.
func TestCompleteness(t *testing.T) {
	complete := func(change func(h *history)) report.Completeness {
		h := newHistory(t, q4.From.Add(-time.Hour))
		h.add(0, denial("edge-1", "m", "c", "enforce"))
		h.add(2*time.Hour, entry(ledger.WindowOpen, "", ledger.Window{ID: "a", From: h.now.Format(time.RFC3339)}))
		h.add(time.Minute, window("a", h.now, 0, allowed("edge-1", "m", "c", 2)))
		change(h)
		return verified(t, h, report.NewAudit(report.Options{Period: q4})).(*report.Audit).Completeness
	}
	over := func(h *history) { h.add(q4.To.Sub(h.now), denial("edge-1", "m", "c", "enforce")) }
	if c := complete(over); !c.Complete || !c.PeriodOver {
		t.Errorf("%+v", c)
	}
	for name, change := range map[string]func(*history){
		"not over": func(*history) {},
		"overflow": func(h *history) { h.add(0, window("b", h.now, 7)); over(h) },
		"gap":      func(h *history) { h.add(0, entry(ledger.Gap, "", ledger.Missing{Reason: "unavailable"})); over(h) },
		"window":   func(h *history) { h.add(0, entry(ledger.WindowOpen, "", ledger.Window{ID: "c"})); over(h) },
	} {
		if c := complete(change); c.Complete {
			t.Errorf("%s: %+v", name, c)
		}
	}
	h := newHistory(t, q4.From.Add(-time.Hour))
	h.add(2*time.Hour, window("x", q4.From.Add(-time.Minute), 1, allowed("edge-1", "m", "c", 4)))
	if c := verified(t, h, report.NewAudit(report.Options{Period: q4})).(*report.Audit).Completeness; c.Straddling.Count != 5 {
		t.Errorf("%+v", c.Straddling)
	}
}

// An entry that cannot be read ends the report: it would be wrong.
func TestMalformed(t *testing.T) {
	h := newHistory(t, q4.From)
	e := entry(ledger.WindowClose, "", nil)
	e.Data = []byte(`{"counts":"many"}`)
	h.add(0, e)
	b := report.NewAudit(report.Options{Period: q4})
	if _, err := ledger.Verify(t.Context(), h.store, ledger.VerifyOptions{Keys: h.keys, Visit: b.Add}); !errors.Is(err, ledger.ErrMalformed) {
		t.Error(err)
	}
	if _, err := b.Document([]byte("no checkpoint"), report.Assurance{}); !errors.Is(err, ledger.ErrCheckpoint) {
		t.Error(err)
	}
}

func TestEmptyLedger(t *testing.T) {
	d, err := report.Make(context.Background(), ledger.NewReader(ledgertest.NewMemory(), "x"), report.NewAudit(report.Options{Period: q4}), report.Assurance{})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range report.Formats() {
		render(t, f, d)
	}
}

func TestPeriods(t *testing.T) {
	for text, want := range map[string]string{
		"2026Q4": "2026Q4 (2026-10-01T00:00:00Z to 2027-01-01T00:00:00Z) after 2026Q3 (2026-07-01T00:00:00Z to 2026-10-01T00:00:00Z)",
		"2027Q1": "2027Q1 (2027-01-01T00:00:00Z to 2027-04-01T00:00:00Z) after 2026Q4 (2026-10-01T00:00:00Z to 2027-01-01T00:00:00Z)",
		"2026q4": "", "2026Q5": "", "1969Q4": "", "-026Q1": "", "2026Q4 ": "", "9999Q1": "",
	} {
		p, err := report.ParseQuarter(text)
		if got := p.String() + " after " + p.Before().String(); want == "" != (err != nil) || err == nil && got != want {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
	day := time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)
	p := must(report.NewPeriod(day, day.Add(36*time.Hour)))
	if got := p.Before().From; !got.Equal(day.Add(-36 * time.Hour)) {
		t.Error(got)
	}
	for _, bad := range [][2]time.Time{{day, day}, {day.Add(1), day}, {time.Unix(-1, 0), day}} {
		if p, err := report.NewPeriod(bad[0], bad[1]); err == nil {
			t.Error(p)
		}
	}
}

package enforcement

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/ledger"
)

var exploitation = Report{Type: "exploitation", Node: "a", Clause: location, Reporter: "token:ana", Description: "I saw it"}

// A report changes no standing. One that an investigation confirms is an incident, and
// one that is unfounded never was.
func TestReportsCountWhenConfirmed(t *testing.T) {
	w := newWorld(t, nil)
	w.e.Evidence = memory{map[string][]byte{}}
	investigate := func(outcome string) Violation {
		t.Helper()
		v, err := w.e.Report(t.Context(), exploitation)
		expectCode(t, err, "")
		if v.Status != Reported || v.Severity != "critical" || v.Evidence == nil {
			t.Errorf("%+v", v)
		}
		before := w.e.Node("a")
		i, err := w.e.Open(t.Context(), Step{Violation: v.ID, By: "token:ana"})
		expectCode(t, err, "")
		if w.e.Node("a") != before {
			t.Error("opening an investigation changed the node")
		}
		_, err = w.e.Open(t.Context(), Step{Violation: v.ID, By: "token:ana"})
		expectCode(t, err, AlreadyOpen)
		_, err = w.e.Assign(t.Context(), Step{ID: i.ID, Assignee: "ben"})
		expectCode(t, err, "")
		_, err = w.e.Note(t.Context(), Step{ID: i.ID, Text: "a name of a person", By: "token:ben"})
		expectCode(t, err, "")
		if outcome == "" {
			i, err = w.e.Dismiss(t.Context(), Step{ID: i.ID})
		} else {
			i, err = w.e.Resolve(t.Context(), Step{ID: i.ID, Outcome: outcome})
		}
		expectCode(t, err, "")
		if i.Assignee != "ben" || len(i.Notes) != 1 || i.Status == InvestigationOpen || i.Outcome != outcome {
			t.Errorf("%+v", i)
		}
		_, err = w.e.Resolve(t.Context(), Step{ID: i.ID, Outcome: OutcomeConfirmed})
		expectCode(t, err, AlreadyClosed)
		v, _ = w.e.Violation(v.ID)
		return v
	}
	if v := investigate(OutcomeUnfounded); v.Status != Unfounded {
		t.Errorf("%+v", v)
	}
	if v := investigate(""); v.Status != Dismissed {
		t.Errorf("%+v", v)
	}
	w.expect("a", Good)
	if v := investigate(OutcomeConfirmed); v.Status != Confirmed || v.Consequence.Level != 1 {
		t.Errorf("%+v", v)
	}
	w.expect("a", Warned)
	w.attempts("a")
	w.expect("a", Suspended)
	for _, row := range w.book.rows {
		if bytes.Contains(row.Body, []byte("I saw it")) || bytes.Contains(row.Body, []byte("a name of a person")) {
			t.Errorf("the ledger has what people wrote: %s", row.Body)
		}
	}
	w.expectRebuilt()
}

// An incident that was none counts no more, and lifts nothing.
func TestUnfoundedIncident(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.attempts("a")
		pass(2 * time.Hour)
		w.attempts("a")
		w.expect("a", Suspended)
		v := w.e.Violations(Filter{Node: "a", Limit: 1})[0]
		i, err := w.e.Open(t.Context(), Step{Violation: v.ID})
		expectCode(t, err, "")
		_, err = w.e.Resolve(t.Context(), Step{ID: i.ID, Outcome: OutcomeUnfounded})
		expectCode(t, err, "")
		w.expect("a", Suspended)
		pass(2 * time.Hour)
		w.attempts("a") // the second that counts, not the third
		w.expect("a", Suspended)
		if n := w.e.Node("a"); n.Incidents != 2 {
			t.Errorf("%+v", n)
		}
	})
}

func TestInvestigationIsOverdueOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.attempts("a")
		i, err := w.e.Open(t.Context(), Step{Violation: w.e.Violations(Filter{})[0].ID, By: "token:ana"})
		expectCode(t, err, "")
		if !i.Due.Equal(time.Now().Add(DefaultSLA)) {
			t.Errorf("due %s", i.Due)
		}
		for range 3 {
			stop := w.run()
			pass(50 * time.Hour)
			synctest.Wait()
			stop()
			w.start()
		}
		if w.e.Stats().Overdue != 1 {
			t.Errorf("%+v", w.e.Stats())
		}
		told := 0
		for _, n := range w.notices {
			if n.Kind == NoticeOverdue {
				told++
			}
		}
		if told != 1 {
			t.Errorf("told %d times", told)
		}
	})
}

func TestRefusedReports(t *testing.T) {
	w := newWorld(t, nil)
	w.e.Evidence = memory{map[string][]byte{}}
	report := func(change func(*Report)) error {
		r := exploitation
		change(&r)
		_, err := w.e.Report(t.Context(), r)
		return err
	}
	expectCode(t, report(func(r *Report) { r.Type = "gossip" }), InvalidReport)
	expectCode(t, report(func(r *Report) { r.Node = "" }), InvalidReport)
	expectCode(t, report(func(r *Report) { r.Node = "a\xff" }), InvalidReport)
	expectCode(t, report(func(r *Report) { r.Clause = "no.such" }), UnknownClause)
	expectCode(t, report(func(r *Report) { r.Description = strings.Repeat("x", MaxDescription+1) }), InvalidReport)
	expectCode(t, report(func(r *Report) { r.Evidence = make([]byte, MaxEvidence+1) }), EvidenceTooLarge)
	expectCode(t, report(func(r *Report) { r.Reporter, r.Evidence = "", make([]byte, MaxAnonymousEvidence+1) }), EvidenceTooLarge)
	expectCode(t, report(func(r *Report) { r.Reporter = "" }), "")
	w.charter.Reports.Anonymous = false
	expectCode(t, report(func(r *Report) { r.Reporter = "" }), ReportsClosed)
	_, err := w.e.Open(t.Context(), Step{Violation: "r0"})
	expectCode(t, err, UnknownViolation)
	_, err = w.e.Resolve(t.Context(), Step{ID: "i0", Outcome: OutcomeConfirmed})
	expectCode(t, err, UnknownInvestigation)
	_, err = w.e.Resolve(t.Context(), Step{ID: "i0", Outcome: "guilty"})
	expectCode(t, err, InvalidStep)
	w.e.Evidence = nil
	expectCode(t, report(func(*Report) {}), Unavailable)
}

// A flood of reports is limited by who sends them; a retry is not a report.
func TestReportsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		send := func(reporter, id string) error {
			_, err := w.e.Report(t.Context(), Report{Type: "exploitation", Node: "a", Reporter: reporter, RequestID: id})
			return err
		}
		for range burst {
			expectCode(t, send("", ""), "")
		}
		expectCode(t, send("", ""), TooManyReports)
		for range 2 * burst {
			expectCode(t, send("token:ana", "1"), "")
		}
		if got := len(w.e.Violations(Filter{})); got != burst+1 {
			t.Errorf("%d reports", got)
		}
		pass(anonymousEach)
		expectCode(t, send("", ""), "")
		expectCode(t, send("", ""), TooManyReports)
	})
}

func TestEvidence(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "evidence")
	d, err := OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := d.Put(ctx, []byte("yes"), "text/plain")
	if err != nil {
		t.Fatal(err)
	}
	again, err := d.Put(ctx, []byte("yes"), "text/plain")
	if err != nil || again.Hash == ref.Hash {
		t.Errorf("the hash tells the content: %v", err)
	}
	info, err := os.Stat(filepath.Join(path, ref.Hash+".json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	if d, err = OpenDir(path); err != nil || d.files != 2 {
		t.Fatalf("%+v %v", d, err)
	}
	if content, kind, err := d.Get(ctx, ref.Hash); err != nil || string(content) != "yes" || kind != "text/plain" {
		t.Errorf("%q %q %v", content, kind, err)
	}
	if err := d.Erase(ctx, ref.Hash); err != nil {
		t.Fatal(err)
	}
	_, _, err = d.Get(ctx, ref.Hash)
	expectCode(t, err, UnknownEvidence)
	for _, name := range []string{"", "../evidence", strings.Repeat("A", 64), ref.Hash + "0"} {
		_, _, err = d.Get(ctx, name)
		expectCode(t, err, UnknownEvidence)
		expectCode(t, d.Erase(ctx, name), UnknownEvidence)
	}
	file := filepath.Join(path, again.Hash+".json")
	text, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, bytes.Replace(text, []byte("eWVz"), []byte("bm8h"), 1), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = d.Get(ctx, again.Hash)
	expectCode(t, err, Unavailable)
	d.files = maxFiles
	_, err = d.Put(ctx, []byte("yes"), "text/plain")
	expectCode(t, err, EvidenceFull)
	_, err = d.Put(ctx, make([]byte, maxContent+1), "text/plain")
	expectCode(t, err, EvidenceTooLarge)
	if _, err := OpenDir(file); err == nil {
		t.Error("a file is no directory")
	}
}

// A ledger that is down delays consequences and loses none. A denial is answered.
func TestLedgerIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *charter.Charter) { c.Escalation = c.Escalation[1:2] })
		w.charter.Escalation[0].At = 1
		defer w.run()()
		e := attemptOf("a", location)
		positions, err := w.book.AppendAll(t.Context(), []ledger.Entry{e}, ledger.Durable)
		if err != nil {
			t.Fatal(err)
		}
		w.book.takes(0)
		w.e.Denied(t.Context(), []ledger.Entry{e}, positions)
		if st := w.e.Stats(); !errors.Is(st.Err, errCrash) || st.Late != 1 {
			t.Errorf("%+v", st)
		}
		w.expect("a", Good)
		_, err = w.e.Report(t.Context(), Report{Type: "exploitation", Node: "a"})
		expectCode(t, err, Unavailable)
		w.book.takes(-1)
		pass(3 * time.Second)
		synctest.Wait()
		w.expect("a", Suspended)
		if st := w.e.Stats(); st.Err != nil {
			t.Errorf("%+v", st)
		}
	})
}

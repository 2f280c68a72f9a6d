package enforcement

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/committee"
	"github.com/westworld-charter/charter/internal/ledger"
)

// Thirty days of a node, as the charter has it: each level at the right moment, and
// suspensions end by themselves.
func TestThirtyDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		defer w.run()()
		const day = 24 * time.Hour
		begin := time.Now()
		at := func(d time.Duration) {
			pass(time.Until(begin.Add(d)))
			synctest.Wait()
		}
		w.expect("edge-1", Good)
		w.attempts("edge-1")
		w.expect("edge-1", Warned)

		// A scrape every quarter of an hour is one incident, however long it goes on.
		for i := range 20 {
			at(time.Duration(i+1) * 15 * time.Minute)
			w.attempts("edge-1")
		}
		w.expect("edge-1", Warned)
		if v := w.e.Violations(Filter{Node: "edge-1"}); len(v) != 1 || v[0].Denials != 21 {
			t.Fatalf("%+v", v)
		}

		at(2 * day) // the second incident: a day of suspension
		w.attempts("edge-1")
		w.expect("edge-1", Suspended)
		at(3*day - time.Second)
		w.expect("edge-1", Suspended)
		at(3*day + time.Second)
		w.expect("edge-1", Good)

		at(10 * day)
		w.attempts("edge-1")
		w.expect("edge-1", Quarantined)
		w.deny(attemptOf("edge-1", "privacy.identity")) // the fourth: level 3 again, and nothing changes
		w.expect("edge-1", Quarantined)
		at(20 * day)
		w.attempts("edge-1") // the fifth: it is referred
		w.expect("edge-1", Quarantined)
		if v := w.e.Violations(Filter{Limit: 1}); v[0].Consequence.Level != 4 || v[0].Consequence.Count != 5 || v[0].Consequence.Action != ActionRefer {
			t.Errorf("%+v", v[0].Consequence)
		}
		at(29 * day)
		w.expect("edge-1", Quarantined) // it does not end by itself

		if _, err := w.e.Restore(t.Context(), w.people.sign(t, 2, time.Now(), committee.Request{Kind: committee.Restore, Node: "edge-1"})); err != nil {
			t.Fatal(err)
		}
		w.expect("edge-1", Good)
		at(31 * day) // the first is out of the window, four are within
		w.attempts("edge-1")
		w.expect("edge-1", Quarantined)
		if v := w.e.Violations(Filter{Limit: 1}); v[0].Consequence.Count != 5 {
			t.Errorf("%+v", v[0].Consequence)
		}
		w.expectRebuilt()
		w.start()
		w.expect("edge-1", Quarantined)
	})
}

// A window of time is open at its beginning: an incident that is exactly as old as it
// does not count.
func TestWindowIsHalfOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *charter.Charter) { c.Escalation = c.Escalation[1:2] })
		w.attempts("a", "b")
		pass(30*24*time.Hour - time.Nanosecond)
		w.attempts("a")
		w.expect("a", Suspended)
		pass(time.Nanosecond)
		w.attempts("b")
		w.expect("b", Good)
	})
}

func TestSimultaneousViolations(t *testing.T) {
	w := newWorld(t, nil)
	defer w.run()()
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			clause := []string{location, "privacy.identity"}[i%2]
			w.deny(attemptOf("edge-1", clause), attemptOf(fmt.Sprintf("node-%d", i%20), clause))
			if got := w.published("edge-1"); got != Warned && got != Suspended {
				t.Errorf("answered before the node was warned: %s", got)
			}
		})
	}
	all.Wait()
	w.expect("edge-1", Suspended)
	for i := range 20 {
		if n := w.e.Node(fmt.Sprintf("node-%d", i)); n.Incidents != 1 || n.Standing != Warned {
			t.Errorf("%+v", n)
		}
	}
	if n := w.e.Node("edge-1"); n.Incidents != 2 {
		t.Errorf("two clauses are %d incidents", n.Incidents)
	}
	w.expectRebuilt()
}

// What does not prove that the node itself asked for what is forbidden has no
// consequence for it.
func TestNobodyIsFramed(t *testing.T) {
	w := newWorld(t, nil)
	for name, change := range map[string]func(*ledger.Entry){
		"self-asserted":            func(e *ledger.Entry) { e.Principal = "self:edge-1" },
		"without an identity":      func(e *ledger.Entry) { e.Principal = "" },
		"a token of that name":     func(e *ledger.Entry) { e.Principal = "token:edge-1" },
		"a proxy's token":          func(e *ledger.Entry) { e.Principal = "token:proxy" },
		"another node":             func(e *ledger.Entry) { e.Principal = "cert:edge-2" },
		"a proxy's certificate":    func(e *ledger.Entry) { e.Principal = "cert:proxy" },
		"warn mode":                func(e *ledger.Entry) { e.Mode = "warn" },
		"shadow mode":              func(e *ledger.Entry) { e.Mode = "shadow" },
		"a read":                   func(e *ledger.Entry) { e.Operation = "read" },
		"an export":                func(e *ledger.Entry) { e.Operation = "export" },
		"not forbidden":            func(e *ledger.Entry) { e.Outcome = "denied" },
		"unknown":                  func(e *ledger.Entry) { e.Outcome = "unknown_metric" },
		"an allowance":             func(e *ledger.Entry) { e.Kind = ledger.Allowance },
		"no node":                  func(e *ledger.Entry) { e.Node, e.Principal = "", "cert:" },
		"a conflict about nothing": func(e *ledger.Entry) { e.Kind = ledger.Conflict },
		"somebody's standing": func(e *ledger.Entry) {
			e.Kind, e.Data = ledger.Standing, []byte(`{"from":"good","to":"quarantined","action":"quarantine"}`)
		},
		"somebody's violation": func(e *ledger.Entry) { e.Kind, e.Data = ledger.Violation, []byte(`{"id":"v1","source":"denial"}`) },
	} {
		e := attemptOf("edge-1", location)
		change(&e)
		w.deny(e)
		w.start()
		if n := w.e.Node("edge-1"); n.Incidents != 0 || n.Standing != Good {
			t.Errorf("%s: %+v", name, n)
		}
	}
	// A request id that was used before does not hide a denial.
	hidden := attemptOf("edge-1", location)
	hidden.Kind, hidden.RequestID, hidden.Data = ledger.Conflict, "again", []byte(`{"kind":"denial","index":3}`)
	w.deny(hidden)
	w.expect("edge-1", Warned)
}

func TestSeriesOfOneScrapeAreOneIncident(t *testing.T) {
	w := newWorld(t, nil)
	var batch []ledger.Entry
	for i := range 5000 {
		e := attemptOf("edge-1", location)
		e.Metric = fmt.Sprintf("gps_location_%d", i)
		batch = append(batch, e)
	}
	w.deny(batch...)
	w.expect("edge-1", Warned)
	if got := w.book.kinds(ledger.Violation); got != 1 {
		t.Errorf("%d violations", got)
	}
	if v := w.e.Violations(Filter{}); v[0].Denials != 5000 || v[0].Metric != "gps_location_0" || v[0].Type != "silent_collection" || v[0].Penalty != "suspension" {
		t.Errorf("%+v", v[0])
	}
}

// A suspension lasts as long as it lasts: the wall clock may jump to and fro.
func TestClockJumps(t *testing.T) {
	for name, jump := range map[string]time.Duration{"ahead": 100 * time.Hour, "back": -100 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, func(c *charter.Charter) { c.Escalation = c.Escalation[1:2] })
				w.charter.Escalation[0].At = 1
				defer w.run()()
				w.attempts("a")
				pass(time.Hour)
				w.jump = jump
				w.attempts("b")
				pass(23*time.Hour - time.Second)
				synctest.Wait()
				w.expect("a", Suspended)
				pass(2 * time.Second)
				synctest.Wait()
				w.expect("a", Good)
				w.expect("b", Suspended)
				pass(time.Hour)
				synctest.Wait()
				w.expect("b", Good)
				w.expectRebuilt()
			})
		})
	}
}

// A process that was away when a suspension ended ends it when it is back; one that
// comes back before keeps it for what is left.
func TestSuspensionOverRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *charter.Charter) { c.Escalation = c.Escalation[1:2] })
		w.charter.Escalation[0].At = 1
		w.attempts("a")
		pass(10 * time.Hour)
		w.attempts("b")
		w.start()
		w.expect("a", Suspended)
		pass(15 * time.Hour)
		w.start()
		w.expect("a", Good)
		w.expect("b", Suspended)
		stop := w.run()
		pass(9*time.Hour - time.Second)
		synctest.Wait()
		w.expect("b", Suspended)
		pass(2 * time.Second)
		synctest.Wait()
		w.expect("b", Good)
		stop()
	})
}

// Settings and charters of another day change nothing about what is recorded.
func TestOtherSettingsChangeNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		for range 10 {
			w.attempts("a")
			pass(30 * time.Minute)
		}
		w.charter.Escalation[0].Action = ActionQuarantine
		before := len(w.book.rows)
		w.e = w.fresh()
		w.e.Quiet = time.Minute
		if err := w.e.Recover(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.expect("a", Warned)
		if len(w.book.rows) != before {
			t.Errorf("%d entries were added", len(w.book.rows)-before)
		}
	})
}

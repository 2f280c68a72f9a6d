package enforcement

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/committee"
	"github.com/westworld-charter/charter/internal/ledger"
)

// tick has a round take place, as Run does.
func (w *world) tick() error {
	if err := w.e.take(w.t.Context()); err != nil {
		return err
	}
	defer w.e.give()
	return w.e.round(w.t.Context())
}

// script is a history in which every append can be the last one before the power
// goes; what failed is done again after that.
func script(w *world, failed func() bool) {
	do := func(act func()) {
		for act(); failed(); {
			w.book.room = -1
			w.start() // with what the crash has left
			act()
		}
	}
	for i, pause := range []time.Duration{0, 10 * time.Minute, 2 * time.Hour, 5 * time.Hour, 30 * time.Hour, time.Hour, 40 * time.Hour} {
		pass(pause)
		do(func() { _ = w.tick() })
		do(func() {
			e, f := attemptOf("a", location), attemptOf("b", location)
			e.RequestID, f.RequestID = fmt.Sprintf("a%d", i), fmt.Sprintf("b%d", i)
			if i%2 == 0 {
				w.deny(e, f)
			} else {
				w.deny(e)
			}
		})
	}
	do(func() {
		_, _ = w.e.Report(w.t.Context(), Report{Type: "exploitation", Node: "c", Reporter: "token:x", RequestID: "1"})
	})
	for _, v := range w.e.Violations(Filter{Node: "c"}) {
		do(func() { _, _ = w.e.Open(w.t.Context(), Step{Violation: v.ID, By: "token:x"}) })
		do(func() {
			_, _ = w.e.Resolve(w.t.Context(), Step{ID: "i" + v.ID, Outcome: OutcomeConfirmed, By: "token:x"})
		})
	}
	pass(31 * 24 * time.Hour)
	do(func() { _ = w.tick() })
}

// A crash after any append, the consequences of which are not recorded: what is
// known and in force afterwards is what it would have been without.
func TestCrashAfterEveryAppend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type outcome struct {
			Nodes      []Node
			Violations int
			Document   map[string]any
		}
		var want outcome
		people := newPeople(t, 3)
		for room := -1; ; room++ {
			w := &world{t: t, people: people}
			w.charter = charterOf(t, people, nil)
			w.book = newBook(w.now)
			begin := time.Now()
			w.start()
			if w.book.room = room; room >= 0 {
				w.book.room++ // the first entries are those of the start
			}
			script(w, func() bool { return w.book.room == 0 })
			w.expectRebuilt()
			got := outcome{w.e.Nodes(), len(w.e.Violations(Filter{})), w.doc}
			for i := range got.Nodes { // relative, since each history begins later than the one before
				got.Nodes[i].Since, got.Nodes[i].Until = time.Time{}.Add(got.Nodes[i].Since.Sub(begin)), time.Time{}
				got.Nodes[i].Cause = "" // indices differ
			}
			got.Document = nil
			switch {
			case room < 0:
				want = got
				if want.Violations != 11 || len(want.Nodes) != 3 || want.Nodes[0].Standing != Quarantined {
					t.Fatalf("the history says little: %+v", want)
				}
			case !reflect.DeepEqual(got, want):
				t.Fatalf("crash after %d appends:\n got %+v\nwant %+v", room+1, got, want)
			}
			if t.Failed() || w.book.room > 0 { // it outlasted the history
				return
			}
		}
	})
}

// Whatever happened, in whatever order, with crashes in between: what is known is
// what follows from the ledger alone, and what is in force is what is known.
func TestLiveIsRebuilt(t *testing.T) {
	checks := "30"
	if os.Getenv("CHARTER_LONG") != "" {
		checks = "2000"
	}
	if err := flag.Set("rapid.checks", checks); err != nil {
		t.Fatal(err)
	}
	people, dir := newPeople(t, 3), t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		var failed any
		synctest.Test(t, func(t *testing.T) { // where rapid itself cannot be
			defer func() { failed = recover() }()
			live(t, rt, people, filepath.Join(dir, "mark"))
		})
		if failed != nil {
			panic(failed)
		}
	})
}

func live(t *testing.T, rt *rapid.T, people people, mark string) {
	w := &world{t: t, people: people}
	w.charter = charterOf(t, people, nil)
	w.book = newBook(w.now)
	if rapid.Bool().Draw(rt, "with a mark") {
		w.mark = mark
	}
	w.start()
	again := func() {
		if w.book.room == 0 {
			w.book.room = -1
			w.start()
		}
	}
	for range rapid.IntRange(5, 40).Draw(rt, "steps") {
		history(rt, w)
		again()
		if err := w.tick(); err != nil && !errors.Is(err, errCrash) {
			rt.Fatal(err)
		}
		again()
		if diff := same(w.e.state, w.rebuilt()); diff != "" {
			rt.Fatalf("live and rebuilt differ in %s", diff)
		}
		if !reflect.DeepEqual(w.doc, w.e.state.document(false)) {
			rt.Fatalf("in force %v\nknown %v", w.doc, w.e.state.document(false))
		}
	}
	once(rt, w)
}

// history does something at random.
func history(rt *rapid.T, w *world) {
	ctx, now := w.t.Context(), time.Now()
	node := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "node")
	step := func(f func(context.Context, Step) (Investigation, error), outcome string) {
		for _, i := range w.e.Investigations(Filter{Status: InvestigationOpen, Limit: 1}) {
			_, _ = f(ctx, Step{ID: i.ID, Outcome: outcome, Assignee: "ana", By: "token:ana"})
		}
	}
	until := now.Add(rapid.SampledFrom([]time.Duration{time.Minute, 2 * time.Hour, 4 * time.Hour}).Draw(rt, "until")).Truncate(time.Second)
	switch rapid.IntRange(0, 15).Draw(rt, "what") {
	case 0, 1, 2:
		var entries []ledger.Entry
		for range rapid.IntRange(1, 4).Draw(rt, "denials") {
			entries = append(entries, attemptOf(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "of"), rapid.SampledFrom([]string{location, "privacy.identity"}).Draw(rt, "clause")))
		}
		w.deny(entries...)
	case 3, 4, 5:
		pass(rapid.SampledFrom([]time.Duration{time.Second, 59 * time.Minute, time.Hour, 25 * time.Hour, 20 * 24 * time.Hour}).Draw(rt, "pause"))
	case 6:
		w.jump = rapid.SampledFrom([]time.Duration{0, -48 * time.Hour, 48 * time.Hour}).Draw(rt, "jump")
	case 7:
		w.book.room = -1
		w.e.end(ctx) // a process that is told to end
		w.start()
	case 8:
		w.book.room = rapid.IntRange(1, 4).Draw(rt, "room")
	case 9:
		_, _ = w.e.Report(ctx, Report{Type: "exploitation", Node: node, Reporter: "token:ana"})
	case 10:
		for _, v := range w.e.Violations(Filter{Limit: 3}) {
			_, _ = w.e.Open(ctx, Step{Violation: v.ID, By: "token:ana"})
		}
	case 11:
		step(w.e.Resolve, rapid.SampledFrom([]string{OutcomeConfirmed, OutcomeUnfounded}).Draw(rt, "outcome"))
	case 12:
		step(rapid.SampledFrom([]func(context.Context, Step) (Investigation, error){w.e.Dismiss, w.e.Assign}).Draw(rt, "step"), "")
	case 13:
		_, _ = w.e.Override(ctx, w.people.sign(w.t, 2, now, committee.Request{
			Kind: committee.Override, Clauses: []string{"net.latency"}, Retention: "60d", From: now.Truncate(time.Second), Until: until,
		}))
	case 14:
		for _, o := range w.e.Overrides() {
			_, _ = w.e.Renew(ctx, w.people.sign(w.t, 2, now, committee.Request{Kind: committee.Renew, Override: o.ID, Until: until}))
		}
	case 15:
		_, _ = w.e.Revoke(ctx, Revocation{Node: node, Reason: "legal", By: "token:ana"})
		kind := rapid.SampledFrom([]string{committee.Restore, committee.EndRevocation}).Draw(rt, "kind")
		signed := w.people.sign(w.t, 2, now, committee.Request{Kind: kind, Node: node})
		if kind == committee.Restore {
			_, _ = w.e.Restore(ctx, signed)
		} else {
			_, _ = w.e.EndRevocation(ctx, signed)
		}
		if rapid.Bool().Draw(rt, "charter") {
			w.charter = charterOf(w.t, w.people[:2], func(c *charter.Charter) { c.Escalation = c.Escalation[1:] })
		}
	}
}

// once checks that no incident is counted twice, and none of a quiet period.
func once(rt *rapid.T, w *world) {
	last := map[thread]time.Time{}
	seen := map[uint64]bool{}
	all := w.e.Violations(Filter{Source: ledger.FromDenial})
	for i := range all {
		v := &all[len(all)-1-i]
		if seen[*v.Denial] {
			rt.Fatalf("the denial %d began two incidents", *v.Denial)
		}
		seen[*v.Denial] = true
		key := thread{v.Node, v.Clause}
		if before, known := last[key]; known && v.Time.Sub(before) < v.Quiet {
			rt.Fatalf("%s begins %s after a denial of the incident before", v.ID, v.Time.Sub(before))
		}
		last[key] = v.Last
	}
}

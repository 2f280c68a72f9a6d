package enforcement

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/committee"
	"github.com/westworld-charter/charter/internal/ledger"
)

// expectCode compares the code of a refusal; "" is none.
func expectCode(t testing.TB, err error, want Code) {
	t.Helper()
	var got Code
	if own, ok := errors.AsType[*Error](err); ok {
		got = own.Code
	} else if err != nil {
		got = Code(err.Error())
	}
	if got != want {
		t.Errorf("%q (%v), want %q", got, err, want)
	}
	if err != nil && !slices.Contains(Codes(), got) {
		t.Errorf("%q is not listed", got)
	}
}

// latency is an override of net.latency for some time from now on.
func latency(now time.Time, d time.Duration) committee.Request {
	now = now.Truncate(time.Second)
	return committee.Request{Kind: committee.Override, Clauses: []string{"net.latency"}, Retention: "60d", From: now, Until: now.Add(d)}
}

func (w *world) overrides() map[string]any {
	w.mu.Lock()
	defer w.mu.Unlock()
	rows, _ := w.doc["overrides"].(map[string]any)
	return rows
}

// An override lasts until it has to be renewed, is renewed, and ends by itself, at the
// longest after the time that the charter gives it.
func TestOverrideEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil) // at most 4 h, renewed every 2 h
		defer w.run()()
		begin := time.Now()
		at := func(d time.Duration) {
			pass(time.Until(begin.Add(d)))
			synctest.Wait()
		}
		o, err := w.e.Override(t.Context(), w.people.sign(t, 2, begin, latency(begin, 4*time.Hour)))
		expectCode(t, err, "")
		if !o.Until.Equal(begin.Add(2*time.Hour)) || len(w.overrides()) != 1 || len(o.Signers) != 2 {
			t.Fatalf("%+v, in force %v", o, w.overrides())
		}
		at(90 * time.Minute)
		renew := func(now time.Time, d time.Duration) error {
			_, err := w.e.Renew(t.Context(), w.people.sign(t, 2, now, committee.Request{Kind: committee.Renew, Override: o.ID, Until: now.Add(d).Truncate(time.Second)}))
			return err
		}
		expectCode(t, renew(time.Now(), 3*time.Hour), "")
		expectCode(t, renew(time.Now(), 3*time.Hour), NotOverridable) // it would not last longer
		w.start()                                                     // a restart changes nothing about it
		stop := w.run()
		at(3*time.Hour + 29*time.Minute)
		if len(w.overrides()) != 1 {
			t.Error("it ended before its time")
		}
		expectCode(t, renew(time.Now(), 3*time.Hour), "") // which the longest time cuts
		at(4*time.Hour + time.Second)
		if got := w.e.Overrides()[0]; len(w.overrides()) != 0 || got.EndedBy != "expiry" || got.Renewals != 2 {
			t.Errorf("%+v", got)
		}
		expectCode(t, renew(time.Now(), time.Hour), AlreadyEnded)
		_, err = w.e.EndOverride(t.Context(), w.people.sign(t, 2, time.Now(), committee.Request{Kind: committee.EndOverride, Override: o.ID}))
		expectCode(t, err, AlreadyEnded)
		stop()
		w.expectRebuilt()
	})
}

func TestOverrideIsEnded(t *testing.T) {
	w := newWorld(t, nil)
	now := time.Now()
	o, err := w.e.Override(t.Context(), w.people.sign(t, 2, now, latency(now, time.Hour)))
	expectCode(t, err, "")
	_, err = w.e.EndOverride(t.Context(), w.people.sign(t, 2, now, committee.Request{Kind: committee.EndOverride, Override: o.ID}))
	expectCode(t, err, "")
	if len(w.overrides()) != 0 || w.e.Stats().OverridesActive != 0 || w.doc != nil {
		t.Errorf("in force: %v", w.doc)
	}
}

// What a quorum may not do, and what is no quorum.
func TestRefusedRequests(t *testing.T) {
	w := newWorld(t, nil)
	now := time.Now()
	override := func(n int, change func(*committee.Request)) error {
		r := latency(now, time.Hour)
		change(&r)
		_, err := w.e.Override(t.Context(), w.people.sign(t, n, now, r))
		return err
	}
	expectCode(t, override(1, func(*committee.Request) {}), NoQuorum)
	expectCode(t, override(3, func(r *committee.Request) { r.Clauses = []string{"net.core"} }), ProtectedClause)
	expectCode(t, override(3, func(r *committee.Request) { r.Clauses = []string{"net.latency", "net.core"} }), ProtectedClause)
	expectCode(t, override(3, func(r *committee.Request) { r.Clauses = []string{location} }), UnknownClause)
	expectCode(t, override(3, func(r *committee.Request) { r.Clauses = []string{"privacy.identity"} }), UnknownClause)
	expectCode(t, override(3, func(r *committee.Request) { r.Until = r.From.Add(5 * time.Hour) }), NotOverridable)
	expectCode(t, override(3, func(r *committee.Request) { r.Charter = "another" }), WrongCharter)
	expectCode(t, override(3, func(r *committee.Request) {
		r.From, r.Until, r.Expires = now.Add(-3*time.Hour).Truncate(time.Second), now.Add(time.Hour).Truncate(time.Second), now.Add(-time.Hour).Truncate(time.Second)
	}), ExpiredRequest)
	stranger := newPeople(t, 3)
	_, err := w.e.Override(t.Context(), stranger.sign(t, 3, now, latency(now, time.Hour)))
	expectCode(t, err, NoQuorum)
	signed := w.people.sign(t, 3, now, latency(now, time.Hour))
	signed.Request.Retention = "90d"
	_, err = w.e.Override(t.Context(), signed)
	expectCode(t, err, InvalidSignature)
	_, err = w.e.Restore(t.Context(), w.people.sign(t, 2, now, latency(now, time.Hour)))
	expectCode(t, err, InvalidRequest)
	_, err = w.e.Restore(t.Context(), w.people.sign(t, 2, now, committee.Request{Kind: committee.Restore, Node: "edge-1"}))
	expectCode(t, err, UnknownNode)
	_, err = w.e.EndRevocation(t.Context(), w.people.sign(t, 2, now, committee.Request{Kind: committee.EndRevocation, Node: "edge-1"}))
	expectCode(t, err, UnknownNode)
	_, err = w.e.Renew(t.Context(), w.people.sign(t, 2, now, committee.Request{Kind: committee.Renew, Override: "o-1", Until: now.Add(time.Hour).Truncate(time.Second)}))
	expectCode(t, err, UnknownOverride)
	if w.doc != nil || w.book.kinds(ledger.Override) != 0 {
		t.Errorf("something came of it: %v", w.doc)
	}
}

// A signed request has effect once, also after a restart, after its end and when the
// clock goes back.
func TestRequestsAreNotReplayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *charter.Charter) { c.Escalation = c.Escalation[2:3] })
		w.charter.Escalation[0].At = 1
		w.attempts("a")
		restore := w.people.sign(t, 2, time.Now(), committee.Request{Kind: committee.Restore, Node: "a"})
		_, err := w.e.Restore(t.Context(), restore)
		expectCode(t, err, "")
		w.expect("a", Good)
		pass(2 * time.Hour) // the request has expired by now
		w.attempts("a")
		w.expect("a", Quarantined)
		_, err = w.e.Restore(t.Context(), restore)
		expectCode(t, err, ExpiredRequest)
		w.jump = -2 * time.Hour
		_, err = w.e.Restore(t.Context(), restore)
		expectCode(t, err, ExpiredRequest) // by the time of the ledger
		w.start()
		_, err = w.e.Restore(t.Context(), restore)
		expectCode(t, err, ExpiredRequest)
		w.jump = 0

		now := time.Now()
		r := latency(now, time.Hour)
		r.Nonce = restore.Request.Nonce // of another request
		_, err = w.e.Override(t.Context(), w.people.sign(t, 2, now, r))
		expectCode(t, err, Replayed)
		signed := w.people.sign(t, 2, now, latency(now, time.Hour))
		_, err = w.e.Override(t.Context(), signed)
		expectCode(t, err, "")
		_, err = w.e.Override(t.Context(), signed)
		expectCode(t, err, Replayed)
		w.start()
		_, err = w.e.Override(t.Context(), signed)
		expectCode(t, err, Replayed)
		w.expect("a", Quarantined)
	})
}

func TestRevocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		defer w.run()()
		row := func() map[string]any {
			w.mu.Lock()
			defer w.mu.Unlock()
			rows, _ := w.doc["revocations"].(map[string]any)
			row, _ := rows["a"].(map[string]any)
			return row
		}
		_, err := w.e.Revoke(t.Context(), Revocation{Node: "a", Reason: "because"})
		expectCode(t, err, InvalidRevocation)
		begin := time.Now()
		r, err := w.e.Revoke(t.Context(), Revocation{Node: "a", Reason: "consent_withdrawn", By: "token:ana", RequestID: "1"})
		expectCode(t, err, "")
		until := begin.Add(30 * 24 * time.Hour)
		if !r.ExportUntil.Equal(until) || row()["export_until"] != until.UTC().Format(time.RFC3339Nano) {
			t.Errorf("%+v, in force %v", r, row())
		}
		_, err = w.e.Revoke(t.Context(), Revocation{Node: "a", Reason: "legal"})
		expectCode(t, err, AlreadyRevoked)
		pass(time.Until(until.Add(time.Second)))
		synctest.Wait()
		if _, exports := row()["export_until"]; exports || row() == nil {
			t.Errorf("after the window: %v", row())
		}
		n, err := w.e.EndRevocation(t.Context(), w.people.sign(t, 2, time.Now(), committee.Request{Kind: committee.EndRevocation, Node: "a"}))
		expectCode(t, err, "")
		if n.Revocation != nil || row() != nil {
			t.Errorf("%+v, in force %v", n, row())
		}
		_, err = w.e.RevokeSigned(t.Context(), w.people.sign(t, 2, time.Now(), committee.Request{Kind: committee.Revoke, Node: "a", Reason: "legal"}))
		expectCode(t, err, "")
		if row() == nil || len(w.e.Revocations()) != 1 {
			t.Error("not in force")
		}
		w.expectRebuilt()
	})
}

// Who sits on the committee is told when it changes, and once.
func TestCommitteeChanges(t *testing.T) {
	w := newWorld(t, nil)
	if got := w.book.kinds(ledger.Membership); got != 1 {
		t.Errorf("%d entries at first", got)
	}
	w.start()
	w.charter = charterOf(t, append(w.people[1:], newPeople(t, 1)...), nil)
	w.e.Activated()
	stop := w.run()
	w.attempts("a") // behind whose round that of Run is
	stop()
	w.start()
	if got := w.book.kinds(ledger.Membership); got != 2 {
		t.Errorf("%d entries after a change", got)
	}
	if last := w.notices[len(w.notices)-1]; last.Kind == NoticeCommittee && len(last.Receivers) != 1 {
		t.Errorf("%+v", last)
	}
}

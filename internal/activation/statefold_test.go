package activation

import (
	"fmt"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/committee"
	"github.com/westworld-charter/charter/internal/release"
	"github.com/westworld-charter/charter/internal/statedoc"
)

func quarantined(nodes ...string) doc {
	all := rows{}
	for _, n := range nodes {
		all[n] = doc{"state": "quarantined", "reason": "v1"}
	}
	return doc{"standing": all}
}

func newBeliever(t testing.TB) (*believer, people) {
	t.Helper()
	all := newPeople(t)
	return &believer{charter: all.charter(t), now: noon()}, all
}

// A quarantine is lifted by the committee, once for each time it was imposed.
func TestQuarantineIsHeld(t *testing.T) {
	b, all := newBeliever(t)
	restore := func(n int, r committee.Request) committee.Signed {
		r.Kind, r.Node = committee.Restore, "a"
		return all.sign(t, n, b.now, r)
	}
	held := func(want bool, what string) {
		t.Helper()
		if b.gated("a") != want {
			t.Errorf("%s: held %v, want %v", what, !want, want)
		}
		b.now = b.now.Add(time.Minute)
	}
	b.hears(t, quarantined("a"))
	held(true, "stated")
	b.hears(t, doc{})
	held(true, "it vanished")
	if fmt.Sprint(b.findings.kept) != "[a]" {
		t.Errorf("nobody is told: %+v", b.findings)
	}
	b.hears(t, doc{"standing": rows{"a": doc{"state": "good"}}})
	held(true, "the server says it is good")
	b.hears(t, doc{"standing": rows{"a": doc{"state": "suspended", "until": "2026-06-01T12:00:01Z"}}})
	held(true, "it is weakened")
	b.hears(t, doc{}, restore(1, committee.Request{}))
	held(true, "one member signed")
	if code := b.findings.reason.(*committee.Error).Code; code != committee.CodeNoQuorum {
		t.Errorf("the reason is %s", code)
	}
	b.hears(t, doc{}, restore(2, committee.Request{Charter: "another"}))
	held(true, "for another charter")
	other := newPeople(t)
	b.hears(t, doc{}, other.sign(t, 3, b.now, committee.Request{Kind: committee.Restore, Node: "a"}))
	held(true, "other people signed")
	b.hears(t, doc{}, all.sign(t, 3, b.now, committee.Request{Kind: committee.Restore, Node: "b"}))
	held(true, "for another node")
	b.hears(t, doc{}, all.sign(t, 3, b.now, committee.Request{Kind: committee.EndRevocation, Node: "a"}))
	held(true, "of another kind")
	b.hears(t, doc{}, restore(3, committee.Request{Expires: b.now.Add(300 * time.Hour).Truncate(time.Second)}))
	held(true, "a request that lives too long")

	r1 := restore(2, committee.Request{})
	edited := r1
	edited.Request.Node = "a"
	edited.Request.Reason = "OPS-2"
	b.hears(t, doc{}, edited)
	held(true, "it was changed after it was signed")
	b.hears(t, doc{}, r1)
	held(false, "restored")
	b.hears(t, doc{}, r1)
	held(false, "restored, told again")
	b.hears(t, quarantined("a"), r1)
	held(true, "again, as an honest server says it")
	b.hears(t, doc{}, r1)
	held(true, "the same request again")
	r2, r3 := restore(2, committee.Request{}), restore(2, committee.Request{})
	b.hears(t, quarantined("a"), r1, r2)
	b.hears(t, doc{}, r1, r2)
	held(true, "a request that came beside the restriction, while the first was in memory")
	b.hears(t, doc{}, r1, r2, r3)
	held(false, "restored again")
	b.hears(t, quarantined("a"))
	b.hears(t, doc{}, r1, r2, r3)
	held(true, "the request that lifted it before, which nobody showed beside this quarantine")
}

// A node that was away does not take an old request for a new one.
func TestRequestsFromBeforeTheRestriction(t *testing.T) {
	b, all := newBeliever(t)
	r := all.sign(t, 3, b.now, committee.Request{Kind: committee.Restore, Node: "a"})
	b.now = b.now.Add(time.Hour)
	b.hears(t, quarantined("a"))
	b.hears(t, doc{}, r) // expired when the quarantine was stated
	if !b.gated("a") {
		t.Error("a request that had expired before lifted it")
	}
	// It came back late: the request that lifted it has expired since.
	r = all.sign(t, 3, b.now, committee.Request{Kind: committee.Restore, Node: "a"})
	b.now = b.now.Add(30 * 24 * time.Hour)
	b.hears(t, doc{}, r)
	if b.gated("a") {
		t.Error("what happened while the node was away is not believed")
	}
}

func TestEndsThatWereTold(t *testing.T) {
	b, _ := newBeliever(t)
	until := func(d time.Duration) doc {
		return doc{"standing": rows{"a": doc{"state": "suspended", "until": statedoc.Text(noon().Add(d))}}}
	}
	at := func(d time.Duration) { b.now = noon().Add(d) }
	b.hears(t, until(2*time.Hour))
	b.hears(t, until(time.Hour))
	at(90 * time.Minute)
	b.hears(t, doc{})
	if !b.gated("a") {
		t.Error("an earlier end was believed")
	}
	at(2 * time.Hour)
	b.hears(t, doc{})
	if b.gated("a") || len(b.Standing) != 0 {
		t.Error("it goes on after its end")
	}
	b.hears(t, until(3*time.Hour))
	b.hears(t, quarantined("a"))
	at(4 * time.Hour)
	b.hears(t, doc{})
	if !b.gated("a") {
		t.Error("the quarantine ended with the suspension before it")
	}
	// A row that cannot be read is a quarantine.
	b.hears(t, doc{"standing": rows{"b": nil, "c": "good", "d": doc{"state": 1}, "e": doc{"state": "pardoned"}, "f": doc{"state": "warned"}}})
	for node, want := range map[string]bool{"b": true, "c": true, "d": true, "e": true, "f": false, "g": false} {
		if b.gated(node) != want {
			t.Errorf("%s: %v", node, !want)
		}
	}
}

func TestRevocationIsHeld(t *testing.T) {
	b, all := newBeliever(t)
	revoked := func(exports string) doc {
		return doc{"revocations": rows{"a": doc{"reason": "legal", "export_until": exports}}}
	}
	want := func(held bool, exports string) {
		t.Helper()
		r, ok := b.Revoked["a"]
		if ok != held || statedoc.Text(r.ExportUntil) != exports {
			t.Errorf("held %v: %+v", ok, r)
		}
	}
	b.hears(t, revoked("2026-06-20T00:00:00Z"))
	want(true, "2026-06-20T00:00:00Z")
	b.hears(t, revoked("2026-06-30T00:00:00Z"))
	want(true, "2026-06-20T00:00:00Z")
	b.hears(t, doc{"revocations": rows{"a": doc{"until": "2026-06-01T12:00:01Z"}}})
	want(true, "")
	b.now = b.now.Add(time.Hour)
	b.hears(t, doc{})
	want(true, "")
	b.hears(t, doc{}, all.sign(t, 3, b.now, committee.Request{Kind: committee.Restore, Node: "a"}))
	want(true, "")
	end := all.sign(t, 2, b.now, committee.Request{Kind: committee.EndRevocation, Node: "a"})
	b.hears(t, doc{}, end)
	want(false, "")
	b.hears(t, revoked("2026-07-30T00:00:00Z"), end)
	b.hears(t, doc{}, end)
	want(true, "2026-07-30T00:00:00Z")
}

// Another charter has another committee: what it vouches for counts then, and what the
// one before did no longer.
func TestAnotherCommittee(t *testing.T) {
	b, all := newBeliever(t)
	next := newPeople(t)
	o := next.sign(t, 2, b.now, loosen(b.now, time.Hour))
	b.hears(t, quarantined("a", "b"))
	d := quarantined("b")
	d["overrides"] = rows{idOf(t, o): doc{"until": "2027-01-01"}}
	b.hears(t, d, o, next.sign(t, 2, b.now, committee.Request{Kind: committee.Restore, Node: "a"}))
	if !b.gated("a") || len(b.granted) != 0 {
		t.Fatal("people of no committee are believed")
	}
	p := release.State{Charter: "mesh", Sequence: b.Sequence, Issued: b.Issued, Expires: b.Expires}
	b.charter = next.charter(t)
	b.again(p)
	if b.gated("a") || !b.gated("b") || len(b.granted) != 1 {
		t.Errorf("under their charter: %+v, %v", b.Standing, b.granted)
	}
	b.charter = all.charter(t)
	b.again(p)
	if b.gated("a") || !b.gated("b") || len(b.granted) != 0 {
		t.Errorf("under the first charter again: %+v, %v", b.Standing, b.granted)
	}
}

// What is granted is what the committee signed, whatever the document says.
func TestOverrides(t *testing.T) {
	b, all := newBeliever(t)
	o := all.sign(t, 2, b.now, loosen(b.now, 4*time.Hour))
	id := idOf(t, o)
	says := func(row any) doc { return doc{"overrides": rows{id: row}} }
	until := func(d time.Duration) doc {
		return says(doc{"until": statedoc.Text(noon().Add(d)), "from": "2020-01-01"})
	}
	lasts := func(want string) {
		t.Helper()
		row, _ := b.granted[id].(doc)
		if got := fmt.Sprint(row["until"]); got != want {
			t.Errorf("until %s, want %s (%+v)", got, want, b.findings)
		}
	}
	b.hears(t, until(time.Hour))
	lasts("<nil>")
	if fmt.Sprint(b.findings.unproven) != "["+id+"]" || CodeOf(b.findings.reason) != CodeOverrideUnproven {
		t.Errorf("nobody is told: %+v", b.findings)
	}
	b.hears(t, until(time.Hour), o)
	lasts("2026-06-01T13:00:00Z")
	wide := doc{"until": "2026-06-01T12:30:00Z", "clauses": []any{"net.core"}, "nodes": []any{"a"}, "retention": "9y", "purposes": []any{"billing"}}
	b.hears(t, says(wide), o)
	if got, want := fmt.Sprint(b.granted[id]), "map[clauses:[net.latency] from:2026-06-01T12:00:00Z retention:60d until:2026-06-01T12:30:00Z]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	b.hears(t, until(100*time.Hour), o)
	lasts("2026-06-01T14:00:00Z") // it has to be renewed by then
	b.now = noon().Add(119 * time.Minute)
	renewal := all.sign(t, 2, b.now, committee.Request{Kind: committee.Renew, Override: id, Until: noon().Add(210 * time.Minute)})
	b.hears(t, until(100*time.Hour), o, renewal)
	lasts("2026-06-01T15:59:00Z")
	b.now = noon().Add(150 * time.Minute)
	b.hears(t, until(100*time.Hour), o, renewal)
	lasts("2026-06-01T15:59:00Z") // the same renewal counts once
	again := all.sign(t, 2, b.now, committee.Request{Kind: committee.Renew, Override: id, Until: noon().Add(390 * time.Minute)})
	b.hears(t, until(100*time.Hour), o, renewal, again)
	lasts("2026-06-01T16:00:00Z") // the longest time of the charter
	for what, row := range map[string]any{"no end": doc{}, "an end that cannot be read": doc{"until": "later"}, "no row": nil, "a list": []any{}} {
		b.hears(t, says(row), o)
		if len(b.granted) != 0 {
			t.Errorf("%s: %v", what, b.granted)
		}
	}
	b.hears(t, until(100*time.Hour), o, all.sign(t, 1, b.now, committee.Request{Kind: committee.EndOverride, Override: id}))
	lasts("2026-06-01T16:00:00Z")
	b.hears(t, until(100*time.Hour), o, all.sign(t, 2, b.now, committee.Request{Kind: committee.EndOverride, Override: id}))
	lasts("<nil>")
	b.hears(t, until(100*time.Hour), o)
	lasts("<nil>") // it does not come back

	for what, change := range map[string]func(*committee.Request){
		"a protected clause": func(r *committee.Request) { r.Clauses = []string{"net.core"} },
		"no clause":          func(r *committee.Request) { r.Clauses = []string{"net.none"} },
		"too long":           func(r *committee.Request) { r.Until = r.From.Add(5 * time.Hour) },
		"another charter":    func(r *committee.Request) { r.Charter = "other" },
	} {
		r := loosen(b.now, time.Hour)
		change(&r)
		o := all.sign(t, 3, b.now, r)
		b.hears(t, doc{"overrides": rows{idOf(t, o): doc{"until": "2026-06-02"}}}, o)
		if len(b.granted) != 0 || len(b.findings.unproven) != 1 {
			t.Errorf("%s: %v", what, b.granted)
		}
	}
	one := all.sign(t, 1, b.now, loosen(b.now, time.Hour))
	b.hears(t, doc{"overrides": rows{idOf(t, one): doc{"until": "2026-06-02"}}}, one)
	if len(b.granted) != 0 {
		t.Error("one member grants it")
	}
}

// What a node remembers is bounded, and what does not fit is refused.
func TestMemoryIsBounded(t *testing.T) {
	b, all := newBeliever(t)
	b.hears(t, quarantined("a"))
	for i := range maxSpent + 1 {
		b.Spent[fmt.Sprint(i)] = b.now.Add(time.Duration(i%60) * time.Minute)
	}
	b.hears(t, quarantined("a"))
	if len(b.Spent) != 0 || !b.Floor.Equal(noon().Add(59*time.Minute)) {
		t.Fatalf("%d nonces, floor %v", len(b.Spent), b.Floor)
	}
	early := all.sign(t, 3, b.now, committee.Request{Kind: committee.Restore, Node: "a", Expires: noon().Add(59 * time.Minute)})
	b.hears(t, doc{}, early)
	if !b.gated("a") {
		t.Error("a request that may have been there before was believed")
	}
	b.hears(t, doc{}, early, all.sign(t, 3, b.now, committee.Request{Kind: committee.Restore, Node: "a", Expires: noon().Add(time.Hour)}))
	if b.gated("a") {
		t.Error("nothing lifts it any more")
	}
	b.now = b.now.Add(40 * 24 * time.Hour)
	b.hears(t, doc{})
	if len(b.Spent) != 0 || len(b.Overrides) != 0 {
		t.Errorf("it forgets nothing: %d, %d", len(b.Spent), len(b.Overrides))
	}
}

package activation

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/westworld-charter/charter/internal/committee"
	"github.com/westworld-charter/charter/internal/compile"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/engine"
	"github.com/westworld-charter/charter/internal/release"
	"github.com/westworld-charter/charter/internal/signing"
	"github.com/westworld-charter/charter/internal/statedoc"
	"github.com/westworld-charter/charter/tests/releases"
)

// signature is a request with what the test knows about it.
type signature struct {
	committee.Signed

	id   string
	by   int  // which committee
	good bool // a quorum of it signed exactly this
}

// adversary is a server that holds the state key, and everything that was ever signed.
type adversary struct {
	t          *rapid.T
	committees []people
	pool       []signature
	seen       map[string]bool // nonces that stood beside a restriction of their node, or lifted one
}

func nodeNames() []string { return []string{"a", "b"} }

// signs has a committee sign something: a quorum, or fewer; or it is forged.
func (v *adversary) signs(now time.Time) {
	t := v.t
	by := rapid.IntRange(0, len(v.committees)-1).Draw(t, "committee")
	signers := rapid.IntRange(1, 3).Draw(t, "signers")
	life := time.Duration(rapid.IntRange(1, 8*24).Draw(t, "hours")) * time.Hour
	r := committee.Request{Expires: now.Add(life).Truncate(time.Second)}
	var overrides []string
	for i := range v.pool {
		if v.pool[i].Request.Kind == committee.Override {
			overrides = append(overrides, v.pool[i].id)
		}
	}
	kinds := []string{committee.Override, committee.Restore, committee.Restore, committee.EndRevocation}
	if len(overrides) > 0 {
		kinds = append(kinds, committee.Renew, committee.EndOverride)
	}
	switch r.Kind = rapid.SampledFrom(kinds).Draw(t, "kind"); r.Kind {
	case committee.Override:
		o := loosen(now.Add(time.Duration(rapid.IntRange(-60, 60).Draw(t, "from"))*time.Minute), time.Duration(rapid.IntRange(1, 5).Draw(t, "length"))*time.Hour)
		o.Expires = r.Expires
		r = o
		r.Clauses = []string{rapid.SampledFrom([]string{"net.latency", "net.core"}).Draw(t, "clause")}
	case committee.Renew:
		r.Override, r.Until = rapid.SampledFrom(overrides).Draw(t, "override"), now.Add(2*time.Hour).Truncate(time.Second)
	case committee.EndOverride:
		r.Override = rapid.SampledFrom(overrides).Draw(t, "override")
	default:
		r.Node = rapid.SampledFrom(nodeNames()).Draw(t, "node")
	}
	s := signature{Signed: v.committees[by].sign(t, signers, now, r), by: by, good: signers >= 2}
	if rapid.IntRange(0, 9).Draw(t, "forge") == 0 {
		s.Request.Reason, s.good = "forged", false
	}
	s.id, _ = s.Request.ID()
	v.pool = append(v.pool, s)
}

// says is any document, within and beyond what an honest server would write.
func (v *adversary) says(now time.Time) doc {
	t := v.t
	at := func(name string) any {
		return rapid.SampledFrom([]any{
			nil, "", "never", 7, statedoc.Text(now.Add(-time.Hour)), statedoc.Text(now.Add(time.Second)), statedoc.Text(now.Add(3 * time.Hour)), "2261-01-01", "0001-01-01",
		}).Draw(t, name)
	}
	with := func(d doc, names ...string) doc {
		for _, name := range names {
			if value := at(name); value != nil {
				d[name] = value
			}
		}
		return d
	}
	d := with(doc{}, "expires")
	standing, revocations, overrides := rows{}, rows{}, rows{}
	for _, node := range nodeNames() {
		switch state := rapid.SampledFrom([]any{nil, nil, "good", "warned", "suspended", "quarantined", "pardoned", 7}).Draw(t, "state"); state {
		case nil:
		case 7:
			standing[node] = "garbage"
		default:
			standing[node] = with(doc{"state": state}, "until")
		}
		if rapid.IntRange(0, 3).Draw(t, "revoked") == 0 {
			revocations[node] = with(doc{}, "until", "export_until")
		}
	}
	for i := range v.pool {
		if v.pool[i].Request.Kind == committee.Override && rapid.Bool().Draw(t, "declared") {
			overrides[v.pool[i].id] = with(doc{"clauses": []any{"net.latency", "net.core"}, "retention": "9y", "purposes": []any{"billing"}, "from": "2020-01-01"}, "until")
		}
	}
	if rapid.Bool().Draw(t, "made up") {
		overrides["o-1"] = doc{"clauses": []any{"net.latency"}, "retention": "9y", "from": "2020-01-01", "until": "2090-01-01"}
	}
	d["standing"], d["revocations"], d["overrides"] = standing, revocations, overrides
	d["grants"] = rows{"responder": rows{"a": doc{"granted": statedoc.Text(now)}}}
	d["nodes"] = rows{"a": doc{"labels": doc{"site": "berlin"}}, "b": doc{"labels": doc{"site": "berlin"}}}
	for _, name := range []string{"standing", "revocations", "overrides", "grants", "nodes"} {
		if rapid.IntRange(0, 29).Draw(t, "garbage") == 0 {
			d[name] = rapid.SampledFrom([]any{nil, "all good", []any{}, 1}).Draw(t, "instead")
		}
	}
	return d
}

// proves picks requests.
func (v *adversary) proves() []signature {
	var some []signature
	for i := range v.pool {
		if rapid.Bool().Draw(v.t, "shown") {
			some = append(some, v.pool[i])
		}
	}
	return some
}

// restrictions are what is held of a node: of a standing, and of a revocation.
func restrictions(k *stateKeeper, now time.Time) map[target]time.Time {
	all := map[target]time.Time{}
	forever := now.AddDate(1000, 0, 0)
	for id, s := range k.holding.Standing {
		if !over(s.Until, now) {
			all[target{committee.Restore, id}] = latest(s.Until, now)
			if s.Until.IsZero() {
				all[target{committee.Restore, id}] = forever
			}
		}
	}
	for id, r := range k.holding.Revoked {
		if !over(r.Until, now) {
			all[target{committee.EndRevocation, id}] = latest(r.Until, now)
			if r.Until.IsZero() {
				all[target{committee.EndRevocation, id}] = forever
			}
		}
	}
	return all
}

// excused reports whether something that was shown lifts a restriction: a quorum of the
// committee signed it, and it has not been seen before.
func (v *adversary) excused(what target, shown []signature, by int) bool {
	return slices.ContainsFunc(shown, func(s signature) bool {
		return s.Request.Kind == what.kind && s.Request.Node == what.id && s.good && s.by == by && !v.seen[s.Request.Nonce]
	})
}

// Whatever a server signs that has the state key and every request of the committee:
// no restriction ends or gets weaker without a request of a quorum of the active
// committee that has not been used, no override differs from what such a quorum
// signed, and no answer is wider than without any state.
func TestWhoHasTheStateKeyCanOnlyTighten(t *testing.T) {
	draws(t, "25", "1500")
	committees := []people{newPeople(t), newPeople(t)}
	var policies []*engine.Policy
	for _, all := range committees {
		b, err := compile.Build(all.charter(t))
		if err != nil {
			t.Fatal(err)
		}
		p, err := engine.Prepare(t.Context(), b, nil)
		if err != nil {
			t.Fatal(err)
		}
		policies = append(policies, p)
	}
	trust := releases.Trust(t, releases.Channel, "", releases.TrustedKey(t))
	rapid.Check(t, func(t *rapid.T) {
		v := &adversary{t: t, committees: committees, seen: map[string]bool{}}
		k, now, by := &stateKeeper{}, noon(), 0
		sequence := int64(0)
		for range rapid.IntRange(1, 10).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 3*3600).Draw(t, "seconds")) * time.Second)
			k.o = Options{Now: func() time.Time { return now }, Trust: func() *signing.Trust { return trust }}
			for range rapid.IntRange(0, 2).Draw(t, "requests") {
				v.signs(now)
			}
			if rapid.IntRange(0, 5).Draw(t, "vote") == 0 {
				by = 1 - by
			}
			before := restrictions(k, now)
			shown, said := v.proves(), v.says(now)
			var signed []committee.Signed
			for _, s := range shown {
				signed = append(signed, s.Signed)
			}
			issued := now.Add(time.Duration(rapid.SampledFrom([]int{0, 0, 0, -1_000_000, 1_000_000}).Draw(t, "issued")) * time.Second)
			expires := now.Add(time.Duration(rapid.SampledFrom([]int{15, 15, 1_000_000}).Draw(t, "expires")) * time.Minute)
			sequence++
			c := policies[by].Charter()
			offered := newState(t, sequence, said, signed...)
			if readable(offered) != nil {
				continue
			}
			k.bundle = offered
			if k.holding.Charter == "" || rapid.Bool().Draw(t, "charter first") {
				k.holding, k.granted, k.claims = k.holding.next(k.bundle, release.State{Charter: "mesh", Sequence: sequence, Issued: issued, Expires: expires}, "d", c, now)
				k.under = c
			} else { // it was accepted before there was a policy
				k.holding, k.granted, k.claims = k.holding.next(k.bundle, release.State{Charter: "mesh", Sequence: sequence, Issued: issued, Expires: expires}, "d", nil, now)
				k.under = nil
			}
			d := k.document(c, now)
			after := restrictions(k, now)
			for what, until := range before {
				if after[what].Before(until) && !v.excused(what, shown, by) {
					t.Fatalf("%v was restricted until %v and is until %v; said %v, shown %d requests", what, until, after[what], said, len(shown))
				}
			}
			v.witness(after, before, shown, said, by)
			v.checkGrants(k, by, shown)
			v.checkAnswers(policies[by], d, k, now)
		}
	})
}

// witness notes which requests can lift nothing any more: those that stood beside a
// restriction of their node, and one that lifted something, where it is plain which.
func (v *adversary) witness(after, before map[target]time.Time, shown []signature, said doc, by int) {
	for what := range before {
		var could []signature
		for _, s := range shown {
			if v.excused(what, []signature{s}, by) {
				could = append(could, s)
			}
		}
		if after[what].Before(before[what]) && len(could) == 1 {
			v.seen[could[0].Request.Nonce] = true
		}
	}
	for _, s := range shown {
		rows, _ := said["standing"].(rows)
		row, stated := rows[s.Request.Node]
		gates := stated && statedoc.ReadStanding(row).Gates()
		if s.Request.Kind == committee.EndRevocation {
			rows, _ = said["revocations"].(doc)
			_, gates = rows[s.Request.Node]
		}
		if gates {
			v.seen[s.Request.Nonce] = true
		}
	}
}

// checkGrants compares overrides with what was signed.
func (v *adversary) checkGrants(k *stateKeeper, by int, shown []signature) {
	for id, row := range k.granted {
		i := slices.IndexFunc(shown, func(s signature) bool {
			return s.id == id && s.Request.Kind == committee.Override && s.good && s.by == by
		})
		if i < 0 {
			v.t.Fatalf("the override %s is in force, and no quorum signed it", id)
		}
		r := shown[i].Request
		longest := r.Until
		for _, s := range shown {
			if s.Request.Kind == committee.Renew && s.Request.Override == id && s.good && s.by == by {
				longest = latest(longest, s.Request.Until)
			}
		}
		fields := row.(doc)
		until, ok := statedoc.Time(fields["until"])
		if !ok || until.After(longest) || until.After(r.From.Add(4*time.Hour)) || fmt.Sprint(fields["clauses"]) != "[net.latency]" || fields["retention"] != "60d" || len(fields) != 4 {
			v.t.Fatalf("the override %s is %v, and what was signed is %+v", id, row, r)
		}
	}
}

// checkAnswers compares answers with those without any state, and with what is held.
func (v *adversary) checkAnswers(p *engine.Policy, d document, k *stateKeeper, now time.Time) {
	with, err := p.WithState(v.t.Context(), d.data)
	if err != nil {
		v.t.Fatal(err)
	}
	for range 2 {
		in := rapid.SampledFrom(questions(now)).Draw(v.t, "question")
		got, err := with.Decide(v.t.Context(), in)
		if err != nil {
			v.t.Fatal(err)
		}
		want, err := p.Decide(v.t.Context(), in)
		if err != nil {
			v.t.Fatal(err)
		}
		wider := got.Allow && !want.Allow || got.Allow && got.Obligations.Retention != want.Obligations.Retention
		if overridden := in.Metric == "latency" && len(k.granted) > 0; wider && !overridden {
			v.t.Fatalf("%+v: %s %v under %v, and %s %v without a state", in, got.Outcome, got.Obligations, d.data, want.Outcome, want.Obligations)
		}
		_, gated := restrictions(k, now)[target{committee.Restore, in.Node}]
		if gated && got.Allow && in.Operation != decision.Read {
			v.t.Fatalf("%+v is allowed, and the node is %+v", in, k.holding.Standing[in.Node])
		}
	}
}

func questions(now time.Time) []decision.Input {
	var all []decision.Input
	for _, text := range []string{
		"latency a node_operator collect - -", "latency b node_operator read billing -", "latency b node_operator export operations 60d", "latency a node_operator read operations 60d",
		"core a node_operator collect - -", "core b node_operator read - 60d", "berlin a node_operator collect - -", "latency a responder collect - -", "latency b responder read operations -",
	} {
		f := strings.Fields(strings.ReplaceAll(text, " -", " _"))
		in := decision.Input{Metric: f[0], Node: f[1], Role: f[2], Operation: f[3], Time: statedoc.Text(now)}
		if f[4] != "_" {
			in.Purpose = f[4]
		}
		if f[5] != "_" {
			in.Retention = f[5]
		}
		all = append(all, in)
	}
	return all
}

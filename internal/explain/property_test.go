package explain_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/engine"
	"github.com/westworld-charter/charter/internal/explain"
)

// The small world of the random charters: few names, so that everything matters.
var (
	worldRoles      = []string{"auditor", "operator", "public"}
	worldClaims     = []string{"mtls", "seat"}
	worldPurposes   = []string{"billing", "operations"}
	worldLevels     = []string{"public", "secret"}
	worldRetentions = []string{"24h", "30d", "60d"}
	worldLabels     = []string{"cpu", "gps_lat", "ip", "serial"}
	worldMetrics    = []string{"a", "ab", "gps_a", "b_x", "other"}
	worldTimes      = []string{"2026-01-01", "2026-04-01", "2027-01-01"}
)

func some(t *rapid.T, label string, from []string, least int) []string {
	return rapid.SliceOfNDistinct(rapid.SampledFrom(from), least, len(from), rapid.ID[string]).Draw(t, label)
}

func one(t *rapid.T, label string, from ...string) string {
	return rapid.SampledFrom(from).Draw(t, label)
}

func maybe(t *rapid.T, label string, n int, set func()) {
	if rapid.IntRange(1, n).Draw(t, label) == 1 {
		set()
	}
}

func worldClause(t *rapid.T, id string, match ...string) object {
	c := object{"id": id, "match": match, "access": one(t, "access", worldLevels...)}
	maybe(t, "operations", 2, func() { c["operations"] = some(t, "operations", decision.Operations(), 1) })
	maybe(t, "purposes", 2, func() { c["purposes"] = some(t, "purposes", worldPurposes, 1) })
	maybe(t, "retention", 2, func() { c["retention"] = one(t, "retention", worldRetentions...) })
	maybe(t, "nodes", 5, func() { c["nodes"] = []string{"edge-*"} })
	maybe(t, "mode", 5, func() { c["mode"] = one(t, "mode", "warn", "shadow") })
	maybe(t, "labels", 2, func() {
		l := some(t, "labels", worldLabels, 2)
		c["labels"] = object{"drop": l[:1], "forbid": l[1:]}
	})
	return c
}

func worldCharter(t *rapid.T) *charter.Charter {
	roles := []object{}
	for _, name := range worldRoles {
		r := object{"name": name, "reads": some(t, "reads", worldLevels, 0), "collects": some(t, "collects", []string{"net"}, 0), "exports": some(t, "exports", worldLevels, 0)}
		maybe(t, "requires", 2, func() { r["requires"] = some(t, "requires", worldClaims, 1) })
		maybe(t, "renew", 6, func() { r["renew"] = "2h" })
		roles = append(roles, r)
	}
	forbidden := object{"id": "f.gps", "match": []string{"gps*"}, "severity": "high", "reason": "because"}
	maybe(t, "labels", 2, func() { forbidden["labels"] = some(t, "forbidden labels", []string{"gps_*", "serial", "ip"}, 1) })
	maybe(t, "droppable", 2, func() { forbidden["droppable"] = true })
	maybe(t, "forbidden mode", 4, func() { forbidden["mode"] = one(t, "forbidden mode", "warn", "shadow") })
	maybe(t, "protected", 2, func() { forbidden["protected"] = true; delete(forbidden, "mode") })
	c := object{
		"apiVersion": "charter/v1", "kind": "Charter", "metadata": object{"name": "world", "version": "1.0.0", "expires": "2026-12-01"},
		"access_levels": worldLevels, "purposes": worldPurposes, "roles": roles,
		"metrics":   object{"net": []object{worldClause(t, "c.a", "a", "ab"), worldClause(t, "c.b", "a*", "b_*"), worldClause(t, "c.g", "gps_a")}},
		"forbidden": []object{forbidden},
		"waivers": []object{{
			"id": "w", "clause": one(t, "waived", "c.a", "c.b"), "nodes": []string{"edge-1"}, "owner": "ana", "ticket": "T", "until": "2026-03-01",
			"grants": object{"retention": "60d", "purposes": some(t, "waived purposes", worldPurposes, 1), "operations": some(t, "waived operations", decision.Operations(), 1)},
		}},
		"nodes": object{"entries": []object{{"node": "edge-9", "status": "suspended", "reason": "late"}}},
	}
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	parsed, findings := charter.Parse("charter.yaml", text)
	if parsed == nil {
		t.Fatal(string(text), findings)
	}
	return parsed
}

func worldQuestion(t *rapid.T) decision.Input {
	in := decision.Input{
		Metric: one(t, "metric", worldMetrics...), Node: one(t, "node", "edge-1", "edge-1", "edge-1", "edge-9", "lone"), Time: one(t, "time", worldTimes...),
		Role: one(t, "role", append([]string{"ghost"}, worldRoles...)...), Operation: one(t, "operation", decision.Operations()...),
		Claims: some(t, "claims", worldClaims, 0),
	}
	maybe(t, "purpose", 2, func() { in.Purpose = one(t, "purpose", "billing", "operations", "spying") })
	maybe(t, "retention", 3, func() { in.Retention = one(t, "retention", append([]string{"90d"}, worldRetentions...)...) })
	maybe(t, "labels", 2, func() {
		in.Labels = labels(rapid.SliceOfNDistinct(rapid.SampledFrom(worldLabels), 1, 2, rapid.ID[string]).Draw(t, "labels")...)
	})
	return in
}

// subsets returns all subsets.
func subsets(names []string) [][]string {
	all := [][]string{nil}
	for _, name := range names {
		for _, s := range slices.Clone(all) {
			all = append(all, append(slices.Clone(s), name))
		}
	}
	return all
}

// without returns the labels without some.
func without(all map[string]string, names []string) map[string]string {
	rest := maps.Clone(all)
	for _, name := range names {
		delete(rest, name)
	}
	return rest
}

// fewest is the smallest number of fields, up to the bound of the search, that
// must change for an answer to be yes, by trying everything; 0 when nothing helps.
func fewest(t *rapid.T, e *engine.Engine, in decision.Input, reach *explain.Reach) int {
	for n, all := range everything(in, reach) {
		for _, next := range all {
			if d, err := e.Decide(t.Context(), next); err == nil && d.Outcome == decision.Allowed {
				return n
			}
		}
	}
	return 0
}

// everything is all questions that differ from in, by the number of fields.
func everything(in decision.Input, reach *explain.Reach) [explain.MaxFields + 1][]decision.Input {
	var all [explain.MaxFields + 1][]decision.Input
	roles, claims := worldRoles, worldClaims
	if reach != nil {
		roles, claims = reach.Roles, reach.Claims
	}
	claims = slices.DeleteFunc(slices.Clone(claims), func(c string) bool { return slices.Contains(in.Claims, c) })
	others := func(own string, values ...string) []string {
		return append([]string{own}, slices.DeleteFunc(values, func(v string) bool { return v == own })...)
	}
	var vary func(n int, next decision.Input, field int)
	vary = func(n int, next decision.Input, field int) {
		each := func(values []string, set func(string)) {
			for i, v := range values {
				set(v)
				vary(n+min(i, 1), next, field+1)
			}
		}
		switch {
		case n > explain.MaxFields:
		case field == 0:
			each(others(in.Role, slices.Clone(roles)...), func(v string) { next.Role = v })
		case field == 1:
			each(others(in.Operation, decision.Operations()...), func(v string) { next.Operation = v })
		case field == 2:
			each(others(in.Purpose, append([]string{""}, worldPurposes...)...), func(v string) { next.Purpose = v })
		case field == 3:
			each(others(in.Retention, append([]string{""}, worldRetentions...)...), func(v string) { next.Retention = v })
		case field == 4:
			for i, more := range subsets(claims) {
				next.Claims = slices.Concat(in.Claims, more)
				vary(n+min(i, 1), next, field+1)
			}
		case field == 5:
			for i, gone := range subsets(slices.Sorted(maps.Keys(in.Labels))) {
				next.Labels = without(in.Labels, gone)
				vary(n+min(i, 1), next, field+1)
			}
		case n > 0:
			all[n] = append(all[n], next)
		}
	}
	vary(0, in, 0)
	return all
}

// size is how many fields a change is about.
func size(c *explain.Change) (n int) {
	for _, set := range []bool{c.Role != "", c.Operation != "", c.Purpose != nil, c.Retention != "", len(c.AddClaims) > 0, len(c.RemoveLabels) > 0} {
		if set {
			n++
		}
	}
	return n
}

// A stated change is allowed, nothing smaller is, and where none is stated none
// helps: whatever the charter and the question, held against trying everything.
// CHARTER_LONG=1 tries 400 charters.
func TestCounterfactualIsMinimal(t *testing.T) {
	charters := "6"
	if os.Getenv("CHARTER_LONG") != "" {
		charters = "400"
	}
	if err := errors.Join(flag.Set("rapid.checks", charters), flag.Set("rapid.shrinktime", "10s")); err != nil {
		t.Fatal(err)
	}
	stated, none, never := 0, 0, 0
	rapid.Check(t, func(t *rapid.T) {
		p := prepare(t, worldCharter(t), nil)
		e := engine.NewWith(engine.Options{VerifyEvery: -1})
		e.Swap(p)
		x := explainer(e)
		for range 10 {
			in := worldQuestion(t)
			var reach *explain.Reach
			maybe(t, "reach", 4, func() {
				reach = &explain.Reach{Roles: some(t, "reach roles", worldRoles, 0), Claims: some(t, "reach claims", worldClaims, 0)}
			})
			d, err := e.Decide(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			got, err := x.Explain(t.Context(), in, d, reach)
			if err != nil {
				t.Fatal(err)
			}
			judge(t, e, in, d, got, reach)
			switch {
			case got.Change != nil:
				stated++
			case strings.HasPrefix(got.Counterfactual, "never"):
				never++
			case got.Search != nil:
				none++
			}
		}
	})
	t.Logf("%d changes stated, %d searched in vain, %d never", stated, none, never)
	if min(stated, none, never) == 0 {
		t.Error("the test says little")
	}
}

func judge(t *rapid.T, e *engine.Engine, in decision.Input, d decision.Decision, got *explain.Explanation, reach *explain.Reach) {
	tell := func() string {
		return fmt.Sprintf("%+v: %s %+v: %q, %+v, %+v", in, d.Outcome, d.Reasons, got.Counterfactual, got.Change, got.Search)
	}
	met := !slices.ContainsFunc(got.Steps, func(s explain.Step) bool { return !s.Met })
	if met != (d.Outcome == decision.Allowed) {
		t.Fatalf("steps and outcome differ: %s\n%+v", tell(), got.Steps)
	}
	if d.Outcome == decision.Allowed {
		if got.Counterfactual != "" || got.Change != nil || got.Search != nil {
			t.Fatal(tell())
		}
		return
	}
	want := fewest(t, e, in, reach)
	if got.Change == nil {
		if want != 0 || got.Search != nil && (!got.Search.Complete || got.Counterfactual != "") {
			t.Fatalf("%d changed fields would do: %s", want, tell())
		}
		return
	}
	if got.Counterfactual != got.Change.String() || size(got.Change) != want {
		t.Fatalf("%d changed fields would do: %s", want, tell())
	}
	allowed := func(c explain.Change) bool {
		after, err := e.Current().Decide(t.Context(), c.Apply(in))
		return err == nil && after.Outcome == decision.Allowed
	}
	if !allowed(*got.Change) {
		t.Fatal("not allowed: ", tell())
	}
	for _, claim := range got.Change.AddClaims {
		less := *got.Change
		if less.AddClaims = slices.DeleteFunc(slices.Clone(less.AddClaims), func(c string) bool { return c == claim }); allowed(less) {
			t.Fatalf("claim %s is not needed: %s", claim, tell())
		}
	}
	for _, label := range got.Change.RemoveLabels {
		less := *got.Change
		if less.RemoveLabels = slices.DeleteFunc(slices.Clone(less.RemoveLabels), func(l string) bool { return l == label }); allowed(less) {
			t.Fatalf("label %s need not go: %s", label, tell())
		}
	}
	if less := *got.Change; less.Retention != "" {
		if less.Retention = "1s"; !allowed(less) {
			t.Fatal("less is not allowed: ", tell())
		}
	}
}

package engine_test

import (
	"encoding/json"
	"fmt"

	"pgregory.net/rapid"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/compile"
	"github.com/westworld-charter/charter/internal/decision"
)

// The small world in which random charters, states and questions meet. Names are
// few, so that everything speaks of everything else, and every instant is one at
// which some charter or state changes, or stands next to one.
var (
	worldMetrics = []string{"a", "ab", "abc", "a.b.c", "acb", "node_cpu", "node_cpu_total", "node_mem", "gps_fix", "x_gps", "über", "other", "a*b"}
	worldGlobs   = []string{"a*", "*b", "*c*", "node_*", "node_c*", "*gps*", "a*c", "*o*e*", "*", "node_*_total", "über*", "a*b*c*"}
	worldNodes   = []string{"edge-1", "edge-2", "edge-1-1", "core-1", "core-2", "lone", "edge-*"}
	nodeGlobs    = []string{"edge-*", "*-1", "core-*", "*e*", "*"}
	worldRoles   = []string{"operator", "auditor", "responder"}
	worldClaims  = []string{"mtls", "owns", "seat"}
	worldLabels  = []string{"host", "ip", "serial", "gps_lat", "gps_", "x_uuid", "über", "cpu"}
	labelGlobs   = []string{"gps_*", "*_uuid", "se*l"}
	worldAims    = []string{"operations", "billing"}
	levels       = []string{"public", "operator"}
	categories   = []string{"network", "service"}
	retentions   = []string{"1d", "24h", "30d", "60d", "90d"}
	modes        = []string{"enforce", "warn", "shadow"}
	instants     = []string{
		"2026-01-31T23:59:59.999999999Z", "2026-02-01T00:00:00Z", "2026-02-01", "2026-02-01T00:00:00+02:00", "2026-03-01T12:00:00Z",
		"2026-04-01", "2026-04-01T00:00:00Z", "2026-04-01T00:00:00.000000001Z", "2026-06-01T00:00:00Z", "2026-05-31T23:59:59.5Z",
	}
)

type object = map[string]any

// some draws a list without repetition of at least min items.
func some(t *rapid.T, label string, from []string, minimum int) []string {
	return rapid.SliceOfNDistinct(rapid.SampledFrom(from), minimum, min(4, len(from)), rapid.ID[string]).Draw(t, label)
}

func one(t *rapid.T, label string, from ...string) string {
	return rapid.SampledFrom(from).Draw(t, label)
}

// maybe calls set in one of n cases.
func maybe(t *rapid.T, label string, n int, set func()) {
	if rapid.IntRange(1, n).Draw(t, label) == 1 {
		set()
	}
}

func worldNodeList(t *rapid.T) []string {
	list := some(t, "nodes", append(append([]string{"group:site", "group:named"}, worldNodes[:6]...), nodeGlobs...), 1)
	return list
}

func worldClause(t *rapid.T, id string) object {
	c := object{"id": id, "match": some(t, "match", append(append([]string{}, worldMetrics[:12]...), worldGlobs...), 1), "access": one(t, "access", levels...)}
	maybe(t, "operations", 2, func() { c["operations"] = some(t, "operations", decision.Operations(), 1) })
	maybe(t, "purposes", 3, func() { c["purposes"] = some(t, "purposes", worldAims, 1) })
	maybe(t, "retention", 2, func() { c["retention"] = one(t, "retention", retentions...) })
	maybe(t, "nodes", 2, func() { c["nodes"] = worldNodeList(t) })
	maybe(t, "mode", 4, func() { c["mode"] = one(t, "mode", modes...) })
	maybe(t, "protected", 4, func() { c["protected"] = true; delete(c, "mode") })
	maybe(t, "labels", 2, func() {
		labels := some(t, "labels", worldLabels, 2)
		c["labels"] = object{"drop": labels[:1], "forbid": labels[1:]}
	})
	return c
}

func worldForbidden(t *rapid.T, id string) object {
	f := object{"id": id, "severity": one(t, "severity", "low", "critical"), "reason": "because of " + id}
	f["match"] = some(t, "match", append(append([]string{}, worldMetrics[:12]...), worldGlobs[:8]...), 1)
	maybe(t, "labels", 2, func() {
		f["labels"] = some(t, "labels", append(append([]string{}, worldLabels...), labelGlobs...), 1)
		maybe(t, "labels only", 2, func() { delete(f, "match") })
	})
	maybe(t, "droppable", 3, func() { f["droppable"] = true })
	maybe(t, "mode", 3, func() { f["mode"] = one(t, "mode", modes...) })
	maybe(t, "protected", 2, func() { f["protected"] = true; delete(f, "mode") })
	return f
}

func worldRole(t *rapid.T, name string) object {
	r := object{"name": name, "reads": some(t, "reads", levels, 1), "collects": some(t, "collects", categories, 0), "exports": some(t, "exports", levels, 0)}
	maybe(t, "requires", 2, func() { r["requires"] = some(t, "requires", worldClaims, 1) })
	maybe(t, "renew", 4, func() { r["renew"] = one(t, "renew", "2h", "24h") })
	return r
}

// worldCharter draws a charter. It may contradict itself in ways that the
// compiler's checks refuse: a cache must be right all the same.
func worldCharter(t *rapid.T) *charter.Charter {
	c := object{
		"apiVersion": "charter/v1", "kind": "Charter", "metadata": object{"name": "world", "version": "1.0.0"},
		"access_levels": levels, "purposes": worldAims,
	}
	maybe(t, "expires", 3, func() { c["metadata"].(object)["expires"] = "2026-05-31" }) // and a day of grace
	roles, forbidden, waivers, limits, entries := []object{}, []object{}, []object{}, []object{}, []object{}
	for _, name := range worldRoles {
		roles = append(roles, worldRole(t, name))
	}
	metrics := map[string][]object{}
	var ids []string
	for i := range rapid.IntRange(1, 6).Draw(t, "clauses") {
		id, category := fmt.Sprintf("c.%d", i), one(t, "category", categories...)
		metrics[category] = append(metrics[category], worldClause(t, id))
		ids = append(ids, id)
	}
	for _, category := range categories {
		if metrics[category] == nil {
			id := "c." + category
			metrics[category] = append(metrics[category], worldClause(t, id))
			ids = append(ids, id)
		}
	}
	for i := range rapid.IntRange(0, 3).Draw(t, "forbidden") {
		forbidden = append(forbidden, worldForbidden(t, fmt.Sprintf("f.%d", i)))
	}
	for i := range rapid.IntRange(0, 3).Draw(t, "waivers") {
		w := object{
			"id": fmt.Sprintf("w.%d", i), "clause": one(t, "waived", ids...), "nodes": worldNodeList(t), "owner": "ana", "ticket": "T",
			"grants": object{"retention": "90d", "purposes": some(t, "waived purposes", worldAims, 1), "operations": some(t, "waived operations", decision.Operations(), 1)},
			"from":   one(t, "from", "2026-02-01", "2026-03-01T12:00:00Z"), "until": one(t, "until", "2026-04-01", "2026-06-01"),
		}
		waivers = append(waivers, w)
	}
	for i := range rapid.IntRange(0, 2).Draw(t, "limits") {
		l := object{"id": fmt.Sprintf("l.%d", i), "rate": fmt.Sprintf("%d/1m", i+1)}
		maybe(t, "limit roles", 2, func() { l["roles"] = some(t, "limit roles", worldRoles, 1) })
		maybe(t, "limit nodes", 2, func() { l["nodes"] = worldNodeList(t) })
		limits = append(limits, l)
	}
	maybe(t, "entries", 3, func() {
		entries = append(entries, object{"node": "lone", "status": one(t, "status", "revoked", "suspended"), "until": "2026-04-01", "reason": "sold"})
	})
	c["roles"], c["metrics"], c["forbidden"], c["waivers"], c["limits"] = roles, metrics, forbidden, waivers, limits
	c["nodes"] = object{"entries": entries, "groups": []object{
		{"name": "site", "match": []string{"core-2"}, "labels": object{"site": "eu"}},
		{"name": "named", "match": []string{"edge-2", "*-1-1"}},
	}}
	c["enforcement"] = object{"mode": one(t, "enforcement", modes...), "state": one(t, "state", "optional", "required"), "grace": "24h"}
	c["emergency"] = object{"max": "30d", "quorum": 0.5, "may": some(t, "may", []string{"retention", "purposes"}, 0)}
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	parsed, findings := charter.Parse("charter.yaml", text)
	if parsed == nil || findings.HasErrors() {
		t.Skip(string(text), findings) // such as a waiver from a protected clause
	}
	return parsed
}

// worldState draws a state document, nil for none; now and then one that is not
// as documented.
func worldState(t *rapid.T) object {
	if rapid.IntRange(1, 6).Draw(t, "no state") == 1 {
		return nil
	}
	s := object{"sequence": 1}
	node := func() string { return one(t, "node", worldNodes...) }
	maybe(t, "expires", 2, func() {
		s["expires"] = one(t, "expires", "2026-04-01", "2026-04-01T00:00:00Z", "2026-06-01T00:00:00Z", "soon")
	})
	maybe(t, "standing", 2, func() {
		entry := object{"state": one(t, "standing", "good", "warned", "suspended", "quarantined")}
		maybe(t, "until", 2, func() { entry["until"] = one(t, "until", "2026-04-01", "2026-02-01T00:00:00Z") })
		s["standing"] = object{node(): entry}
	})
	maybe(t, "revocations", 3, func() {
		entry := object{"reason": "left"}
		maybe(t, "revoked until", 2, func() { entry["until"] = "2026-03-01T12:00:00Z" })
		maybe(t, "export until", 2, func() {
			entry["export_until"] = one(t, "export until", "2026-04-01", "2026-02-01T00:00:00Z", "2026-06-01T00:00:00Z", "2026-06-01T00:00:00Z", "soon")
		})
		s["revocations"] = object{node(): entry}
	})
	maybe(t, "overrides", 2, func() {
		o := object{
			"clauses": some(t, "clauses", []string{"c.0", "c.1", "c.network"}, 1), "until": one(t, "until", "2026-04-01", "2026-06-01T00:00:00Z"),
			"retention": "60d", "purposes": some(t, "purposes", worldAims, 1),
		}
		maybe(t, "override without end", 10, func() { o["until"] = "never" })
		maybe(t, "override from", 2, func() { o["from"] = "2026-02-01" })
		maybe(t, "override nodes", 2, func() { o["nodes"] = []string{node()} })
		s["overrides"] = object{"o-1": o}
	})
	maybe(t, "grants", 2, func() {
		s["grants"] = object{one(t, "role", worldRoles...): object{node(): object{"granted": "2026-03-31T22:00:00Z"}}}
	})
	maybe(t, "nodes", 2, func() {
		labels := func() object {
			return object{"labels": object{"site": one(t, "site", "eu", "us"), "rack": one(t, "rack", "1", "2")}}
		}
		s["nodes"] = object{node(): labels(), node(): labels(), node(): object{}}
	})
	maybe(t, "odd", 12, func() {
		s[one(t, "odd", "standing", "revocations", "overrides", "grants", "nodes")] = []string{"edge-1"}
	})
	return s
}

// worldQuestion draws a question, seldom an invalid one.
func worldQuestion(t *rapid.T) decision.Input {
	in := decision.Input{
		Metric: one(t, "metric", worldMetrics...), Role: one(t, "role", append([]string{"ghost"}, worldRoles...)...),
		Operation: one(t, "operation", decision.Operations()...), Time: one(t, "time", instants...),
		Node: one(t, "node", worldNodes...),
	}
	maybe(t, "purpose", 2, func() { in.Purpose = one(t, "purpose", "operations", "billing", "spying") })
	maybe(t, "retention", 4, func() { in.Retention = one(t, "retention", retentions...) })
	maybe(t, "claims", 2, func() { in.Claims = some(t, "claims", append([]string{"odd"}, worldClaims...), 1) })
	maybe(t, "labels", 2, func() {
		in.Labels = map[string]string{}
		for _, label := range some(t, "labels", worldLabels, 1) {
			in.Labels[label] = one(t, "value", "v", "w", "")
		}
	})
	maybe(t, "no node", 12, func() { in.Node = "" })
	maybe(t, "odd", 20, func() {
		switch rapid.IntRange(0, 3).Draw(t, "how") {
		case 0:
			in.Time = one(t, "odd time", "", "soon", "2026-02-30", "2026-02-01T00:00:00z")
		case 1:
			in.Retention = "for ever"
		case 2:
			in.Metric = one(t, "odd metric", "", "a\xff")
		case 3:
			in.Operation = "steal"
		}
	})
	return in
}

// build compiles a charter that need not have passed the checks.
func build(t interface{ Fatal(args ...any) }, c *charter.Charter) *bundle.Bundle {
	b, err := compile.Build(c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

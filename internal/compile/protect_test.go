package compile_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/compile"
	"github.com/westworld-charter/charter/internal/diag"
)

// load reads charter.yaml of a set of files.
func load(t testing.TB, files map[string]string) *charter.Charter {
	t.Helper()
	c, list := charter.LoadFS(func(path string) ([]byte, error) {
		if text, ok := files[filepath.Base(path)]; ok {
			return []byte(text), nil
		}
		return nil, os.ErrNotExist
	}, "charter.yaml")
	if c == nil {
		t.Fatalf("the charter of the test does not load: %v", list)
	}
	return c
}

func baseText(t testing.TB) string {
	t.Helper()
	data, err := os.ReadFile("testdata/protect/base.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// derive writes a charter that repeats everything its base says, so that a test
// can change any field of it. An edit replaces text that must occur once.
func derive(t testing.TB, base string, edits ...string) map[string]string {
	t.Helper()
	text := strings.Replace(base, "metadata: {name: base, version: 1.0.0,", "extends: base.yaml\nmetadata: {name: derived, version: 1.0.0,", 1)
	for i := 0; i < len(edits); i += 2 {
		if n := strings.Count(text, edits[i]); n != 1 {
			t.Fatalf("%q occurs %d times", edits[i], n)
		}
		text = strings.Replace(text, edits[i], edits[i+1], 1)
	}
	return map[string]string{"base.yaml": base, "charter.yaml": text}
}

func relaxing(list diag.List) diag.List {
	var all diag.List
	for _, d := range list {
		if d.Code == "relaxes_protected" || d.Code == "protection_not_proved" {
			all = append(all, d)
		}
	}
	return all
}

const (
	latencyNodes  = `nodes: ["edge-*", group:core]`
	latencyLabels = `labels: {drop: [address], hash: [instance], forbid: [client_ip]}`
	latencyMatch  = `match: [latency_p50, "latency_p9*"]`
	locationMatch = `match: ["*_location*", "*gps*"], labels: [latitude, "geo_*"]`
	waiver        = `{id: w-1, clause: net.carrier, nodes: [edge-7], grants: {retention: 10d}, owner: ana, ticket: OPS-1, until: 2028-01-01}`
	limit         = `{id: slow, rate: 100/1m, roles: [node_operator], clauses: [net.latency, net.node]}`
	infra         = "  infrastructure:\n    - id: infra.any"
)

// relaxedCase is a charter that relaxes its base: what is edited, and what the
// finding must name, point at and say.
type relaxedCase struct {
	name   string
	edits  []string
	clause string // named in the message
	line   string // part of the source line the finding points at
	says   string
}

// relaxedClauses are changes of clauses, and of what holds for the whole charter.
func relaxedClauses() []relaxedCase {
	extra := func(text string) []string { return []string{infra, text + infra} }
	return []relaxedCase{
		{"clause no longer protected", []string{"group:core]\n      protected: true", "group:core]"}, "net.latency", "id: net.latency", "not protected"},
		{"longer retention", []string{"retention: 30d", "retention: 31d"}, "net.latency", "retention: 31d", "31d"},
		{"longer retention in another unit", []string{"retention: 7d", "retention: 2w"}, "net.node", "retention: 2w", "2w"},
		{"no retention", []string{"      retention: 30d\n", ""}, "net.latency", "net.latency", "unlimited"},
		{"another operation", []string{"operations: [collect, read]", "operations: [collect, read, export]"}, "net.latency", "operations", "export"},
		{"operations written where none were", []string{"retention: 7d", "operations: [export]\n      retention: 7d"}, "net.node", "operations: [export]", "export"},
		{"another purpose", []string{"purposes: [operations]", "purposes: [operations, capacity]"}, "net.latency", "purposes: [operations, capacity]", "capacity"},
		{"any purpose", []string{"      purposes: [operations]\n", ""}, "net.latency", "net.latency", "any purpose"},
		{"a new purpose where any was permitted", []string{"purposes: [operations, capacity]", "purposes: [operations, capacity, advertising]"}, "net.node", "advertising", "advertising"},
		{"lower access level", []string{"access: operator", "access: public"}, "net.node", "access: public", "guest may read"},
		{"another category", []string{"  network:\n    - id: net.latency", "  infrastructure:\n    - id: net.latency", "    - id: net.node", "  network:\n    - id: net.node", infra, "    - id: infra.any"}, "net.latency", "net.latency", "collector may collect"},
		{"every node", []string{"      " + latencyNodes + "\n", ""}, "net.latency", "net.latency", "every node"},
		{"another node", []string{latencyNodes, `nodes: ["edge-*", group:core, lab-1]`}, "net.latency", "lab-1", "lab-1"},
		{"a wider node pattern", []string{latencyNodes, `nodes: ["edge*", group:core]`}, "net.latency", "edge*", "edge*"},
		{"a group that grew", []string{`match: ["core-*"], labels`, `match: ["core-*", "lab-*"], labels`}, "net.latency", "group:core", "group:core"},
		{"a group with other labels", []string{"tier: core", "tier: edge"}, "net.latency", "group:core", "group:core"},
		{"label no longer dropped", []string{latencyLabels, "labels: {hash: [instance], forbid: [client_ip]}"}, "net.latency", "labels", "drops label address"},
		{"label hashed instead of dropped", []string{latencyLabels, "labels: {hash: [instance, address], forbid: [client_ip]}"}, "net.latency", "labels", "drops label address"},
		{"label no longer hashed", []string{latencyLabels, "labels: {drop: [address], forbid: [client_ip]}"}, "net.latency", "labels", "hashes label instance"},
		{"unprotected entry satisfied by dropping", []string{latencyLabels, "labels: {drop: [address, trace_id], hash: [instance], forbid: [client_ip]}"}, "net.latency", "trace_id", "trace_id"},
		{"clause in warn mode", []string{"group:core]\n", "group:core]\n      mode: warn\n"}, "net.latency", "mode: warn", "warn"},
		{"charter in warn mode", []string{"mode: enforce", "mode: warn"}, "net.latency", "mode: warn", "warn"},
		{"charter in shadow mode, clauses enforced", []string{"mode: enforce", "mode: shadow"}, "net.latency", "mode: shadow", "enforcement.mode"},
		{"longer grace", []string{"grace: 24h", "grace: 48h"}, "net.latency", "grace: 48h", "grace"},
		{"state no longer required", []string{", state: required", ""}, "net.latency", "enforcement", "state"},
		{"later expiry", []string{"expires: 2029-01-01", "expires: 2030-01-01"}, "net.latency", "2030-01-01", "expires"},
		{"no expiry", []string{"version: 1.0.0, expires: 2029-01-01", "version: 1.0.0"}, "net.latency", "metadata", "expires"},
		{"a more specific clause", extra("    - {id: net.p99, match: [latency_p99], access: public, purposes: [operations], retention: 90d, nodes: [edge-1], labels: {drop: [address], hash: [instance], forbid: [client_ip]}, protected: true}\n"), "net.latency", "net.p99", "90d"},
		{"a more specific clause that is not protected", extra("    - {id: net.eth, match: [\"node_network_eth*\"], access: operator, retention: 1d}\n"), "net.node", "net.eth", "not protected"},
		{"a more specific clause of a far pattern", extra("    - {id: net.total, match: [\"node_network_*_total\"], access: public, retention: 1d, protected: true}\n"), "net.node", "net.total", "guest may read"},
		{"a narrower clause uncovers a wide one", append(extra("    - {id: net.all, match: [\"latency_*\"], access: public}\n"), latencyMatch, "match: [latency_p50]"), "net.latency", "net.all", "net.all"},
		{"limit for fewer clauses", []string{"clauses: [net.latency, net.node]", "clauses: [net.latency]"}, "net.node", "slow", "slow"},
	}
}

// relaxedRoles are changes of roles.
func relaxedRoles() []relaxedCase {
	return []relaxedCase{
		{"role reads more", []string{"reads: [public], requires: [member]", "reads: [public, operator], requires: [member]"}, "net.node", "guest", "guest may read"},
		{"role reads everything", []string{"reads: [public], requires: [member]", `reads: ["*"], requires: [member]`}, "net.node", "guest", "guest may read"},
		{"role collects more", []string{`{name: auditor, reads: ["*"],`, `{name: auditor, reads: ["*"], collects: [network],`}, "net.latency", "auditor", "auditor may collect"},
		{"role collects everything", []string{`{name: auditor, reads: ["*"],`, `{name: auditor, reads: ["*"], collects: ["*"],`}, "net.latency", "auditor", "auditor may collect"},
		{"role requires less", []string{"requires: [owns_node, mtls]", "requires: [owns_node]"}, "net.latency", "requires: [owns_node]", "mtls"},
		{"role requires nothing", []string{", requires: [committee]", ""}, "net.latency", "auditor", "committee"},
		{"role renewed later", []string{"renew: 30d", "renew: 31d"}, "net.latency", "renew: 31d", "renew"},
		{"role never renewed", []string{", renew: 30d, auto_revoke: true", ""}, "net.latency", "node_operator", "renew"},
		{"role no longer revoked by itself", []string{", auto_revoke: true", ""}, "net.latency", "node_operator", "revoked"},
		{"a new role", []string{"  - {name: auditor", "  - {name: vendor, reads: [public]}\n  - {name: auditor"}, "net.latency", "vendor", "vendor may read"},
		{"limit for fewer roles", []string{"roles: [node_operator], clauses", "roles: [guest], clauses"}, "net.latency", "slow", "slow"},
	}
}

// relaxedEntries are changes of forbidden entries, nodes, limits, waivers and overrides.
func relaxedEntries() []relaxedCase {
	return []relaxedCase{
		{"label no longer forbidden", []string{latencyLabels, "labels: {drop: [address], hash: [instance]}"}, "net.latency", "labels", "forbids label client_ip"},
		{"label dropped instead of forbidden", []string{latencyLabels, "labels: {drop: [address, client_ip], hash: [instance]}"}, "net.latency", "labels", "client_ip"},
		{"forbidden name removed", []string{locationMatch, `match: ["*gps*"], labels: [latitude, "geo_*"]`}, "privacy.location", "*gps*", "_location"},
		{"forbidden name narrowed", []string{locationMatch, `match: ["*_location", "*gps*"], labels: [latitude, "geo_*"]`}, "privacy.location", "*gps*", "*_location*"},
		{"forbidden label removed", []string{locationMatch, `match: ["*_location*", "*gps*"], labels: ["geo_*"]`}, "privacy.location", "geo_*", "latitude"},
		{"forbidden label pattern narrowed", []string{locationMatch, `match: ["*_location*", "*gps*"], labels: [latitude, geo_hash]`}, "privacy.location", "geo_hash", "geo_*"},
		{"forbidden entry no longer protected", []string{"auto_shutdown: true, protected: true", "auto_shutdown: true"}, "privacy.location", "privacy.location", "protected"},
		{"forbidden entry droppable", []string{"auto_shutdown: true, protected: true", "auto_shutdown: true, protected: true, droppable: true"}, "privacy.location", "droppable", "dropped"},
		{"lower severity", []string{"severity: high", "severity: medium"}, "privacy.location", "severity: medium", "severity"},
		{"lower penalty", []string{"penalty: suspension", "penalty: warning"}, "privacy.location", "penalty: warning", "penalty"},
		{"no violation", []string{", violation: silent_collection", ""}, "privacy.location", "privacy.location", "violation"},
		{"no shutdown", []string{", auto_shutdown: true, protected", ", protected"}, "privacy.location", "privacy.location", "shuts down"},
		{"unprotected forbidden name under a protected clause", []string{`match: ["node_network_debug_*"], labels`, `match: ["node_network_debug_x*"], labels`}, "net.node", "node_network_debug_x*", "internal.debug"},
		{"unprotected forbidden entry in warn mode", []string{`severity: low, reason`, `mode: warn, severity: low, reason`}, "net.node", "mode: warn", "internal.debug"},
		{"unprotected forbidden label", []string{", labels: [trace_id]", ""}, "net.latency", "internal.debug", "trace_id"},
		{"limit removed", []string{"extends: base.yaml\n", "extends: base.yaml\nremove: [slow]\n", "limits:\n  - " + limit + "\n", ""}, "net.latency", "net.latency", "slow"},
		{"node entry ends earlier", []string{"until: 2027-01-01", "until: 2026-12-31"}, "net.latency", "2026-12-31", "until"},
		{"node entry weaker", []string{"status: quarantined", "status: suspended"}, "net.latency", "suspended", "status"},
		{"limit raised", []string{"rate: 100/1m", "rate: 101/1m"}, "net.latency", "slow", "slow"},
		{"limit over less time", []string{"rate: 100/1m", "rate: 100/30s"}, "net.latency", "slow", "slow"},
		{"limit for fewer nodes", []string{"roles: [node_operator], clauses", "roles: [node_operator], nodes: [\"edge-*\"], clauses"}, "net.latency", "slow", "slow"},
		{"waiver under a protected clause", []string{"grants: {retention: 10d}", "grants: {retention: 11d}"}, "net.node", "w-1", "w-1"},
		{"waiver for more nodes", []string{"nodes: [edge-7]", "nodes: [\"edge-*\"]"}, "net.node", "w-1", "w-1"},
		{"waiver for longer", []string{"until: 2028-01-01", "until: 2028-01-02"}, "net.node", "w-1", "w-1"},
		{"waiver of operations", []string{"grants: {retention: 10d}", "grants: {retention: 10d, operations: [export]}"}, "net.node", "w-1", "w-1"},
		{"overrides may grant more", []string{"may: [retention]", "may: [retention, purposes]"}, "net.node", "purposes", "overrides"},
		{"overrides last longer", []string{"max: 2h", "max: 3h"}, "net.node", "max: 3h", "emergency.max"},
	}
}

// Every case loosens a protected clause through another field. A base is worth
// nothing if one of them gets through.
func TestProtectionRefuses(t *testing.T) {
	base := baseText(t)
	cases := slices.Concat(relaxedClauses(), relaxedRoles(), relaxedEntries())
	if len(cases) < 40 {
		t.Errorf("only %d ways to relax are tried", len(cases))
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			files := derive(t, base, c.edits...)
			list := compile.Check(load(t, files))
			for _, d := range relaxing(list) {
				source := strings.Split(files[d.Pos.File]+"\n", "\n")
				line := source[max(d.Pos.Line-1, 0)]
				if strings.Contains(d.Message, c.clause) && strings.Contains(d.Message, c.says) && strings.Contains(line, c.line) {
					if d.Fix == "" || len(d.Related) == 0 || d.Related[0].Pos.File != "base.yaml" {
						t.Errorf("without a fix, or without the place in the base: %+v", d)
					}
					return
				}
			}
			t.Errorf("no finding names %q, says %q and points at %q: %v", c.clause, c.says, c.line, relaxing(list))
		})
	}
}

// Where nothing speaks for a name, the mode of the charter alone decides whether
// the denial holds.
func TestProtectionOfNamesThatLoseTheirClause(t *testing.T) {
	base := strings.Replace(baseText(t), "mode: enforce", "mode: warn", 1)
	base = strings.Replace(base, "group:core]\n      protected", "group:core]\n      mode: enforce\n      protected", 1)
	if list := relaxing(compile.Check(load(t, derive(t, base)))); len(list) > 0 {
		t.Errorf("a repeated base is refused: %v", list)
	}
	narrowed := derive(t, base, latencyMatch, "match: [latency_p50]")
	list := relaxing(compile.Check(load(t, narrowed)))
	if len(list) != 1 || !strings.Contains(list[0].Message, "no clause speaks for it") || !strings.Contains(list[0].Message, "latency_p9") {
		t.Errorf("in mode warn a name without a clause passes, and nobody says so: %v", list)
	}
	caught := derive(t, base, latencyMatch, "match: [latency_p50]", "[\"*_location*\", \"*gps*\"]", "[\"*_location*\", \"*gps*\", \"latency_p9*\"]")
	if list := relaxing(compile.Check(load(t, caught))); len(list) > 0 {
		t.Errorf("what is forbidden instead is refused: %v", list)
	}
}

// Tightening must stay possible, or nobody would extend a base.
func TestProtectionAccepts(t *testing.T) {
	base := baseText(t)
	extra := func(text string, more ...string) []string { return append([]string{infra, text + infra}, more...) }
	cases := map[string][]string{
		"nothing changed":             nil,
		"shorter retention":           {"retention: 30d", "retention: 29d"},
		"retention where none was":    {"access: audit", "access: audit\n      retention: 1d"},
		"fewer operations":            {"operations: [collect, read]", "operations: [read]"},
		"purposes where any":          {"retention: 7d", "purposes: [capacity]\n      retention: 7d"},
		"higher access level":         {"access: operator", "access: audit"},
		"fewer nodes":                 {latencyNodes, "nodes: [edge-1, group:core]"},
		"narrower node pattern":       {latencyNodes, `nodes: ["edge-a*"]`},
		"group with more labels":      {"tier: core", "tier: core, region: north"},
		"more labels dropped":         {latencyLabels, "labels: {drop: [address, path], hash: [instance], forbid: [client_ip]}"},
		"label dropped, not hashed":   {latencyLabels, "labels: {drop: [address, instance], forbid: [client_ip]}"},
		"label forbidden by entry":    {latencyLabels, "labels: {drop: [address], hash: [instance]}", `labels: [latitude, "geo_*"]`, `labels: [latitude, "geo_*", client_ip]`},
		"narrower match":              {latencyMatch, "match: [latency_p50]"},
		"wider match elsewhere":       {latencyMatch, `match: [latency_p50, "latency_p9*", jitter]`},
		"more forbidden names":        {locationMatch, `match: ["*_location*", "*gps*", "*wifi*"], labels: [latitude, "geo_*"]`},
		"wider forbidden names":       {locationMatch, `match: ["*location*", "*gps*"], labels: ["lat*", "geo*"]`},
		"forbidden in another entry":  {locationMatch, `match: ["*gps*"], labels: [latitude, "geo_*"]`, "\n  - {id: privacy.mac", "\n  - {id: privacy.place, match: [\"*_location*\"], severity: critical, violation: silent_collection, penalty: suspension, reason: \"r\", auto_shutdown: true, protected: true}\n  - {id: privacy.mac"},
		"higher severity":             {"severity: high", "severity: critical"},
		"entry not droppable":         {", droppable: true", ""},
		"unprotected entry protected": {"reason: \"not for others\"}", "reason: \"not for others\", protected: true}"},
		"protected name forbidden":    {`match: ["*_location*", "*gps*"], labels`, `match: ["*_location*", "*gps*", "latency_p9*"], labels`},
		"roles require more":          {"requires: [member]", "requires: [member, mtls]"},
		"role renewed sooner":         {"renew: 30d", "renew: 1d"},
		"role reads less":             {"reads: [public, operator]", "reads: [public]"},
		"a new role elsewhere":        {"  - {name: auditor", "  - {name: vendor, collects: [infrastructure]}\n  - {name: auditor"},
		"a stricter specific clause":  extra("    - {id: net.p99, match: [latency_p99], access: public, purposes: [operations], retention: 1d, nodes: [edge-1], labels: {drop: [address], hash: [instance], forbid: [client_ip]}, operations: [read], protected: true}\n", "clauses: [net.latency,", "clauses: [net.p99, net.latency,"),
		"an unrelated clause":         extra("    - {id: net.other, match: [\"other_*\"], access: public}\n"),
		"a wider clause":              extra("    - {id: net.wide, match: [\"node_*\"], access: public}\n"),
		"shorter grace":               {"grace: 24h", "grace: 1h"},
		"earlier expiry":              {"expires: 2029-01-01", "expires: 2028-01-01"},
		"node entry for ever":         {"until: 2027-01-01, ", ""},
		"node entry stronger":         {"status: quarantined", "status: revoked"},
		"lower limit":                 {"rate: 100/1m", "rate: 50/2m"},
		"limit for all":               {limit, "{id: slow, rate: 100/1m}"},
		"waiver gone":                 {waiver, "{id: w-2, clause: infra.any, nodes: [edge-7], grants: {operations: [export]}, owner: ana, ticket: OPS-1, until: 2028-01-01}"},
		"waiver granting less":        {"grants: {retention: 10d}", "grants: {retention: 9d}"},
		"overrides may grant nothing": {"may: [retention]", "may: []"},
		"unprotected clause relaxed":  {"access: audit", "access: public\n      operations: [collect, read, export]"},
	}
	if len(cases) < 15 {
		t.Errorf("only %d tightenings are tried", len(cases))
	}
	for name, edits := range cases {
		t.Run(name, func(t *testing.T) {
			if list := relaxing(compile.Check(load(t, derive(t, base, edits...)))); len(list) > 0 {
				t.Errorf("refused: %v", list)
			}
		})
	}
}

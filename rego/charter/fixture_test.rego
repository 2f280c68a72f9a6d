# A small compiled charter that the tests of the library share. It is written by
# hand on purpose: the library is tested apart from the compiler.
package charter.fixture

any := {"any": true}

tables := {
	"charter": {"name": "t", "version": "1.0.0", "revision": "t-1.0.0+0", "mode": "enforce", "state": "optional", "stale_ns": 9223372036854775807},
	"levels": {"public": 0, "operator": 1, "audit": 2},
	"purposes": {"operations": true, "billing": true, "capacity": true},
	"exact": {
		"latency_p50": {"only": "net.latency", "free": true, "clauses": {"net.latency": true}},
		"plain": {"only": "net.plain", "free": true, "clauses": {"net.plain": true}},
		"split": {"free": true, "clauses": {"net.east": true, "net.west": true}},
		"gps_fix": {"only": "net.plain", "clauses": {"net.plain": true}, "forbidden": {"f.exact": true}},
		"shadowed": {"only": "net.shadow", "free": true, "clauses": {"net.shadow": true}},
		"warned": {"only": "net.warn", "free": true, "clauses": {"net.warn": true}},
		"core_only": {"only": "net.core", "free": true, "clauses": {"net.core": true}},
		"site_only": {"only": "net.site", "free": true, "clauses": {"net.site": true}},
		"guarded": {"only": "net.guarded", "free": true, "clauses": {"net.guarded": true}},
		"loose_name": {"only": "net.plain", "clauses": {"net.plain": true}, "forbidden": {"f.loose": true}},
	},
	"patterns": {
		"node_*": {"rank": 20485, "only": "net.node", "free": true, "clauses": {"net.node": true}},
		"node_cpu_*": {"rank": 36873, "only": "net.plain", "free": true, "clauses": {"net.plain": true}},
		"*gps*": {"rank": 3, "forbidden": {"f.gps": true}},
	},
	"clauses": clauses,
	"forbidden": {
		"f.gps": {"severity": "critical", "reason": "location", "mode": "enforce", "protected": true, "droppable": false},
		"f.exact": {"severity": "high", "reason": "exactly", "mode": "enforce", "protected": false, "droppable": false},
		"f.serial": {"severity": "high", "reason": "serials", "mode": "enforce", "protected": true, "droppable": true},
		"f.host": {"severity": "medium", "reason": "hosts", "mode": "enforce", "protected": false, "droppable": false},
		"f.loose": {"severity": "low", "reason": "tried out", "mode": "shadow", "protected": false, "droppable": false},
	},
	"labels": {
		"exact": {"latitude": {"f.gps": true}, "serial": {"f.serial": true}, "host": {"f.host": true}},
		"prefixes": {"gps_": {"gps_*": {"f.gps": true}}},
		"lengths": {"4": 4},
		"spoken": `(?:^|\n)client_ip(?:\n|$)|(?:^|\n)gps_|(?:^|\n)host(?:\n|$)|(?:^|\n)latitude(?:\n|$)|(?:^|\n)serial(?:\n|$)`,
	},
	"roles": {
		"operator": {
			"reads": {"public": true, "operator": true}, "collects": {"network": true},
			"exports": {"public": true}, "requires": {"mtls": true}, "renew_ns": 0,
		},
		"guest": {"reads": {"public": true}, "collects": {}, "exports": {}, "requires": {}, "renew_ns": 0},
		"responder": {"reads": {"public": true}, "collects": {"network": true}, "exports": {}, "requires": {}, "renew_ns": 7200000000000},
	},
	"waivers": {"net.plain": {"w-1": {
		"nodes": {"exact": {"edge-7": true}}, "from_ns": 0, "until_ns": 1798761600000000000,
		"retention": "60d", "retention_s": 5184000, "purposes": {"billing": true}, "operations": {"export": true},
	}}},
	"emergency": {"retention": true, "purposes": true},
	"nodes": {
		"edge-13": {"status": "revoked", "reason": "sold"},
		"edge-14": {"status": "suspended", "until": "2026-02-01", "reason": "noisy"},
		"edge-15": {"status": "odd"},
	},
	"groups": {
		"*": {"exact": {"*": true}},
		"core": {"exact": {"core-1": true}, "globs": {"core-*": true}},
		"site": {"labels": {"site": "eu"}},
		"empty": {},
	},
	"limits": {
		"l.all": {"rate": "100/1m", "roles": {"*": true}, "nodes": any},
		"l.operator": {"rate": "10/1s", "roles": {"operator": true}, "nodes": {"exact": {"edge-1": true}}},
	},
}

clauses["net.latency"] := but(clause, {"access": "public", "purposes": {"operations": true}, "limits": {"l.all": true, "l.operator": true}})

clauses["net.plain"] := object.remove(clause, ["where"])

clauses["net.node"] := but(clause, {
	"access": "operator", "operations": {"collect": true, "read": true, "export": true}, "drop": {"serial": true, "latitude": true, "host": true},
	"forbid": {"client_ip": true}, "obligations": {"drop_labels": ["host", "latitude", "serial"], "forbid_labels": ["client_ip"]},
	"unlimited": true,
})

clauses["net.east"] := but(object.remove(clause, ["where"]), {"nodes": {"exact": {"east-1": true}}})

clauses["net.west"] := but(object.remove(clause, ["where"]), {"nodes": {"exact": {"west-1": true}}})

clauses["net.shadow"] := but(clause, {"mode": "shadow"})

clauses["net.warn"] := but(clause, {"mode": "warn"})

clauses["net.core"] := but(clause, {"nodes": {"groups": {"core": true, "empty": true}}, "where": {"core": true, "empty": true}})

clauses["net.site"] := but(clause, {"nodes": {"groups": {"site": true}}, "where": {"site": true}})

clauses["net.guarded"] := but(clause, {"protected": true})

clause := {
	"category": "network", "access": "public", "operations": {"collect": true, "read": true}, "purposes": {"": true, "operations": true, "billing": true, "capacity": true},
	"retention_s": 2592000, "nodes": any, "where": {"*": true}, "forbid": {}, "drop": {}, "limits": {},
	"obligations": {"retention": "30d"}, "mode": "enforce", "protected": false,
}

# METADATA
# description: The globs of the fixture that match a name, as the generated package would find them.
matching(name) := {pattern | some pattern, _ in tables.patterns; glob.match(pattern, null, name)}

# METADATA
# description: A question that is allowed, for tests to change.
question := {"metric": "plain", "node": "edge-1", "role": "operator", "operation": "collect", "claims": ["mtls"], "time": "2026-06-01T00:00:00Z"}

# METADATA
# description: The question with some fields replaced.
ask(changes) := but(question, changes)

# METADATA
# description: The object with some keys replaced, not merged.
but(object_, changes) := object.union(object.remove(object_, object.keys(changes)), changes)

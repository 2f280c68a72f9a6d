package charter.plain_test

import data.charter
import data.charter.fixture

metrics := ["plain", "latency_p50", "node_load", "split", "gps_fix", "guarded"]

questions contains fixture.ask({"metric": metric, "operation": operation}) if {
	some metric in metrics
	some operation in ["collect", "read", "export"]
}

questions contains fixture.ask(object.union({"metric": metric}, extra)) if {
	some metric in ["latency_p50", "node_load", "guarded"]
	some extra in [
		{"role": "guest"}, {"claims": []}, {"labels": {"serial": "1", "cpu": ""}}, {"labels": {"gps_x": "1"}},
		{"labels": {"client_ip": "1"}}, {"operation": "read", "purpose": "operations"}, {"operation": "read", "purpose": "spying"},
		{"retention": "1d"}, {"time": ""}, {"node": "edge-13"}, {"node": "core-3"}, {"metrik": "x"},
	]
}

states := [
	{"standing": {"edge-1": {"state": "suspended"}}},
	{"revocations": {"edge-1": {}}},
	{"revocations": {"edge-1": {"export_until": "2027-01-01"}, "edge-7": {"export_until": "2027-01-01"}}},
	{"standing": "all good"},
	{"revocations": []},
	{"standing": null},
	"none",
	{"overrides": {"o": {"clauses": ["net.plain"], "until": "2027-01-01", "retention": "90d"}}},
]

# What the plain way allows, the long way allows with the same document.
test_both_ways_agree if {
	every question in questions { agree(question, {}) }
}

test_both_ways_agree_with_state if {
	every state in states {
		agree(fixture.ask({"metric": "plain"}), state)
		agree(fixture.ask({"metric": "guarded"}), state)
		agree(fixture.ask({"operation": "export", "node": "edge-7"}), state)
	}
}

agree(question, state) if {
	tables := fixture.tables
	globs := fixture.matching(question.metric)
	short := charter.decision with input as question
		with data.charter.tables as tables
		with data.charter_state as state
		with data.charter.patterns.metric as globs
		with data.charter.patterns.node as set()
	long := charter.decision with input as question
		with data.charter.plain.clause as false
		with data.charter.plain.unknown as false
		with data.charter.tables as tables
		with data.charter_state as state
		with data.charter.patterns.metric as globs
		with data.charter.patterns.node as set()
	short == long
}

# Without these the tests above could pass because nothing is plain.
test_plain_allowances if {
	every metric in ["guarded", "shadowed", "node_load", "latency_p50"] { clause(fixture.ask({"metric": metric})) }
	clause(fixture.ask({"metric": "guarded", "operation": "read", "labels": {"cpu": "0"}}))
	clause(fixture.ask({"metric": "core_only", "node": "core-1"}))
}

test_plain_unknown if {
	unknown(fixture.ask({"metric": "nothing"}))
	unknown(fixture.ask({"metric": "nothing", "operation": "read", "labels": {"cpu": "0"}, "claims": []}))
}

# What is not plain, because something else may be to be said.
test_not_plain if {
	every change in [
		{"node": "edge-13"}, {"retention": "1d"}, {"time": "2026-06-01"}, {"labels": {"host": ""}}, {"labels": {"cpu": 0}},
		{"labels": {"a\nhost": "1"}}, {"claims": ["mtls", 1]}, {"metrik": "x"}, {"node": ""}, {"node": 1}, {"purpose": 1}, {"operation": "export"},
	] {
		not_clause(fixture.ask(object.union({"metric": "guarded"}, change)))
		not_unknown(fixture.ask(object.union({"metric": "nothing"}, change)))
	}
	not_unknown(fixture.ask({"metric": "guarded"}))
	not_clause(fixture.ask({"metric": "core_only", "node": "edge-1"}))
}

clause(question) := found if {
	found := data.charter.plain.clause with input as question
		with data.charter.tables as fixture.tables
		with data.charter.patterns.metric as fixture.matching(question.metric)
		with data.charter.patterns.node as set()
}

unknown(question) if {
	data.charter.plain.unknown with input as question
		with data.charter.tables as fixture.tables
		with data.charter.patterns.metric as fixture.matching(question.metric)
		with data.charter.patterns.node as set()
}

not_clause(question) if not clause(question)

not_unknown(question) if not unknown(question)

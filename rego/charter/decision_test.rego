package charter_test

import data.charter
import data.charter.fixture

decide(changes) := decide_with(fixture.ask(changes), fixture.tables, {})

decide_state(changes, state) := decide_with(fixture.ask(changes), fixture.tables, state)

decide_tables(changes, patch) := decide_with(fixture.ask(changes), json.patch(fixture.tables, patch), {})

decide_with(question, tables, state) := decision if {
	decision := charter.decision with input as question
		with data.charter.tables as tables
		with data.charter_state as state
		with data.charter.patterns.metric as fixture.matching(object.get(question, "metric", ""))
		with data.charter.patterns.node as nodes_matching(object.get(question, "node", ""))
}

nodes_matching(name) := {pattern |
	some pattern in ["core-*"]
	glob.match(pattern, null, name)
}

codes(decision) := [reason.code | some reason in decision.reasons]

# summary is what most tests care for: outcome, clause, codes.
summary(decision) := [decision.allow, decision.outcome, decision.clause, codes(decision)]

test_allowed if {
	decide({}) == {
		"allow": true, "outcome": "allowed", "revision": "t-1.0.0+0", "clause": "net.plain",
		"severity": "none", "reasons": [], "obligations": {"retention": "30d"}, "mode": "enforce",
	}
}

test_unknown_metric if {
	summary(decide({"metric": "nothing"})) == [false, "unknown_metric", "default", ["unknown_metric"]]
	decide({"metric": "nothing"}).obligations == {}
}

# Selection: exact name, then longer prefix.
test_most_specific_clause_wins if {
	decide({"metric": "node_load"}).clause == "net.node"
	decide({"metric": "node_cpu_seconds"}).clause == "net.plain"
}

test_disjoint_nodes_share_a_name if {
	decide({"metric": "split", "node": "east-1"}).clause == "net.east"
	decide({"metric": "split", "node": "west-1"}).clause == "net.west"
	summary(decide({"metric": "split", "node": "north-1"})) == [false, "denied", "net.east", ["node_not_covered"]]
}

test_forbidden_name_wins_over_a_clause_and_standing if {
	state := {"standing": {"edge-1": {"state": "suspended"}}}
	denied := decide_state({"metric": "gps_fix"}, state)
	summary(denied) == [false, "forbidden", "f.gps", ["forbidden_metric", "forbidden_metric", "node_suspended"]]
	denied.severity == "critical"
	denied.reasons[1].clause == "f.exact"
}

test_forbidden_labels if {
	summary(decide({"labels": {"latitude": "1"}})) == [false, "forbidden", "f.gps", ["forbidden_label"]]
	summary(decide({"labels": {"gps_x": "1"}})) == [false, "forbidden", "f.gps", ["forbidden_label"]]
	summary(decide({"labels": {"host": "1"}})) == [false, "forbidden", "f.host", ["forbidden_label"]]
	decide({"labels": {"latitude": "", "other": "1"}}).allow
}

test_dropping_satisfies_unless_protected if {
	decide({"metric": "node_load", "labels": {"serial": "1"}}).allow # protected but droppable
	decide({"metric": "node_load", "labels": {"host": "1"}}).allow # not protected
	not_allowed(decide({"metric": "node_load", "labels": {"latitude": "1"}})) # protected
	not_allowed(decide({"labels": {"serial": "1"}})) # not dropped by the clause
}

not_allowed(decision) if decision.allow == false

test_forbidden_entry_missing_still_forbids if {
	denied := decide_tables({"metric": "gps"}, [{"op": "remove", "path": "/forbidden"}])
	summary(denied) == [false, "forbidden", "f.gps", ["forbidden_metric", "unknown_metric"]]
	denied.severity == "critical"
}

test_standing_gates_collect_and_export_only if {
	state := {"standing": {"edge-1": {"state": "quarantined", "until": "2027-01-01", "reason": "leak"}}}
	denied := decide_state({}, state)
	summary(denied) == [false, "quarantined", "standing", ["node_quarantined"]]
	denied.reasons[0].message == `the node is quarantined until 2027-01-01: leak`
	decide_state({"operation": "read"}, state).allow
	not_allowed(decide_state({"metric": "node_load", "operation": "export"}, state))
}

test_standing_ends_half_open if {
	state := {"standing": {"edge-1": {"state": "suspended", "until": "2026-06-01T00:00:00Z"}}}
	decide_state({"time": "2026-06-01T00:00:00Z"}, state).allow
	not_allowed(decide_state({"time": "2026-05-31T23:59:59Z"}, state))
	not_allowed(decide_with(object.remove(fixture.question, ["time"]), fixture.tables, state))
}

test_unreadable_standing_restricts if {
	every entry in [{"state": "banned"}, "quarantined", {}, {"state": "suspended", "until": "soon"}, {"state": "suspended", "until": 7}] {
		not_allowed(decide_state({}, {"standing": {"edge-1": entry}}))
	}
	summary(decide_state({}, {"standing": {"edge-1": {"state": "banned"}}})) == [false, "quarantined", "standing", ["node_quarantined"]]
	not_allowed(decide_state({}, {"standing": ["edge-1"]}))
	not_allowed(decide_state({}, {"revocations": "all"}))
	decide_state({}, {"standing": {"edge-1": {"state": "warned"}}}).allow
}

test_charter_and_state_revoke_nodes if {
	summary(decide({"node": "edge-13"})) == [false, "denied", "standing", ["node_revoked"]]
	summary(decide({"node": "edge-15"})) == [false, "denied", "standing", ["node_revoked"]]
	decide({"node": "edge-14"}).allow # until has passed
	state := {"revocations": {"edge-1": {"reason": "left"}}}
	summary(decide_state({}, state)) == [false, "denied", "standing", ["node_revoked"]]
	decide_state({}, {"revocations": {"edge-1": {"until": "2026-05-01"}}}).allow
}

# A waiver lets edge-7 export; fixture.ask stamps 2026-06-01T00:00:00Z.
taking := {"node": "edge-7", "operation": "export"}

test_a_revoked_node_exports_until_its_window_ends if {
	decide_state(taking, {}).allow
	open := {"revocations": {"edge-7": {"reason": "left", "export_until": "2026-06-01T00:00:01Z"}}}
	decide_state(taking, open).allow
	summary(decide_state({"node": "edge-7"}, open)) == [false, "denied", "standing", ["node_revoked", "waiver_applied"]]
	decide_state({"node": "edge-7", "operation": "read"}, open).allow
	every end in ["2026-06-01T00:00:00Z", "2026-06-01", "soon", "", null, 1893456000, ["2027-01-01"]] {
		closed := {"revocations": {"edge-7": {"export_until": end}}}
		summary(decide_state(taking, closed)) == [false, "denied", "standing", ["node_revoked", "waiver_applied"]]
	}
	not_allowed(decide_state(object.union(taking, {"time": ""}), open))
	suspended := object.union(open, {"standing": {"edge-7": {"state": "suspended"}}})
	summary(decide_state(taking, suspended)) == [false, "suspended", "standing", ["node_suspended", "waiver_applied"]]
}

test_stale_policy if {
	stale := [{"op": "replace", "path": "/charter/stale_ns", "value": 1780272000000000000}] # 2026-06-01
	decide_tables({"time": "2026-05-31T23:59:59Z"}, stale).allow
	summary(decide_tables({}, stale)) == [false, "stale_policy", "validity", ["stale_policy"]]
	decide_tables({"operation": "read"}, stale).allow
	summary(decide_tables({"time": ""}, stale)) == [false, "stale_policy", "validity", ["stale_policy"]]
}

test_required_state if {
	required := json.patch(fixture.tables, [{"op": "replace", "path": "/charter/state", "value": "required"}])
	absent := charter.decision with input as fixture.question
		with data.charter.tables as required
		with data.charter.patterns.metric as set()
		with data.charter.patterns.node as set()
	summary(absent) == [false, "denied", "validity", ["state_missing"]]
	summary(decide_with(fixture.question, required, {})) == [false, "denied", "validity", ["state_expired"]]
	summary(decide_with(fixture.question, required, {"expires": "2026-06-01"})) == [false, "denied", "validity", ["state_expired"]]
	decide_with(fixture.question, required, {"expires": "2026-06-02"}).allow
	decide_with(fixture.ask({"operation": "read"}), required, {}).allow
}

test_roles if {
	summary(decide({"role": "ghost"})) == [false, "denied", "net.plain", ["unknown_role"]]
	denied := decide({"claims": ["other"]})
	codes(denied) == ["missing_claim"]
	denied.reasons[0].message == "role operator requires mtls"
	codes(decide({"role": "guest"})) == ["category_not_collected"]
	codes(decide({"role": "guest", "operation": "read", "metric": "node_load"})) == ["level_not_readable"]
	codes(decide({"operation": "export", "metric": "node_load"})) == ["level_not_exportable"]
	codes(decide({"role": "guest", "operation": "export", "metric": "node_load"})) == ["level_not_readable", "level_not_exportable"]
}

granted(at) := {"grants": {"responder": {"edge-1": {"granted": at}}}}

test_role_renewal if {
	decide_state({"role": "responder", "time": "2026-06-01T01:59:59Z"}, granted("2026-06-01T00:00:00Z")).allow
	codes(decide_state({"role": "responder", "time": "2026-06-01T02:00:00Z"}, granted("2026-06-01T00:00:00Z"))) == ["role_not_renewed"]
	codes(decide_state({"role": "responder"}, granted("2026-07-01T00:00:00Z"))) == ["role_not_renewed"]
	codes(decide({"role": "responder"})) == ["role_not_renewed"]
}

test_operations if {
	codes(decide({"operation": "export"})) == ["operation_not_permitted"]
	allowed := decide({"operation": "export", "metric": "node_load", "role": "exporter"})
	codes(allowed) == ["unknown_role"]
}

test_export_needs_reads_and_exports if {
	patch := [{"op": "add", "path": "/roles/operator/exports/operator", "value": true}]
	decide_tables({"operation": "export", "metric": "node_load"}, patch).allow
}

test_unknown_level_is_not_readable if {
	codes(decide_tables({"operation": "read"}, [{"op": "remove", "path": "/levels/public"}])) == ["level_not_readable"]
}

test_purposes if {
	read := {"operation": "read", "metric": "latency_p50"}
	codes(decide(read)) == ["purpose_missing"]
	codes(decide(object.union(read, {"purpose": "billing"}))) == ["purpose_not_permitted"]
	codes(decide(object.union(read, {"purpose": "spying"}))) == ["purpose_unknown"]
	decide(object.union(read, {"purpose": "operations"})).allow
	decide({"metric": "latency_p50", "purpose": "spying"}).allow # collect needs none
	codes(decide({"operation": "read", "purpose": "spying"})) == ["purpose_unknown"]
	decide({"operation": "read", "purpose": "capacity"}).allow
}

test_retention if {
	decide({"retention": "30d"}).obligations.retention == "30d"
	decide({"retention": "1h"}).obligations.retention == "1h"
	denied := decide({"retention": "31d"})
	codes(denied) == ["retention_too_long"]
	denied.obligations.retention == "30d"
	decide({"metric": "node_load", "retention": "9y"}).obligations.retention == "9y"
	object.get(decide({"metric": "node_load"}).obligations, "retention", "none") == "none"
}

test_clause_forbids_labels if {
	denied := decide({"metric": "node_load", "labels": {"client_ip": "1", "cpu": "0"}})
	codes(denied) == ["label_not_permitted"]
	denied.obligations == {"drop_labels": ["host", "latitude", "serial"], "forbid_labels": ["client_ip"]}
}

test_node_selectors if {
	decide({"metric": "core_only", "node": "core-1"}).allow
	decide({"metric": "core_only", "node": "core-1", "retention": "1d"}).allow
	decide({"metric": "core_only", "node": "core-2"}).allow
	codes(decide({"metric": "core_only"})) == ["node_not_covered"]
	decide_state({"metric": "site_only"}, {"nodes": {"edge-1": {"labels": {"site": "eu"}}}}).allow
	codes(decide_state({"metric": "site_only"}, {"nodes": {"edge-1": {"labels": {"site": "us"}}}})) == ["node_not_covered"]
	codes(decide({"metric": "site_only"})) == ["node_not_covered"]
	patch := [{"op": "add", "path": "/clauses/net.plain/nodes", "value": {"globs": {"core-*": true}}}]
	decide_tables({"node": "core-9"}, patch).allow
}

test_denial_tells_of_a_waiver if {
	denied := decide({"node": "edge-7", "retention": "60d", "claims": []})
	summary(denied) == [false, "denied", "net.plain", ["waiver_applied", "missing_claim"]]
}

test_waiver if {
	waived := decide({"node": "edge-7", "retention": "60d"})
	summary(waived) == [true, "allowed", "net.plain", ["waiver_applied"]]
	waived.reasons[0].message == `waiver "w-1" applies`
	waived.obligations.retention == "60d"
	decide({"node": "edge-7"}).obligations.retention == "60d"
	codes(decide({"node": "edge-7", "retention": "61d"})) == ["retention_too_long"]
	codes(decide({"retention": "60d"})) == ["retention_too_long"]
	codes(decide({"node": "edge-7", "operation": "read", "purpose": "billing", "retention": "1d"})) == []
	decide({"node": "edge-7", "operation": "export", "retention": "1d"}).reasons[0].code == "waiver_applied"
}

test_waived_purpose if {
	patch := [{"op": "replace", "path": "/clauses/net.plain/purposes", "value": {"operations": true}}]
	ask := {"node": "edge-7", "operation": "read", "purpose": "billing", "retention": "1d"}
	codes(decide_tables(ask, patch)) == ["waiver_applied"]
	codes(decide_tables(object.union(ask, {"node": "edge-1"}), patch)) == ["purpose_not_permitted"]
}

test_waiver_lapses if {
	long := {"node": "edge-7", "retention": "60d"}
	codes(decide(object.union(long, {"time": "2027-01-01"}))) == ["retention_too_long"]
	codes(decide(object.union(long, {"time": ""}))) == ["retention_too_long"]
	protected := [{"op": "replace", "path": "/clauses/net.plain/protected", "value": true}]
	codes(decide_tables(long, protected)) == ["retention_too_long"]
}

override(fields) := {"overrides": {"o-1": object.union(
	{"clauses": ["net.plain", "net.guarded"], "until": "2026-06-02", "retention": "90d", "purposes": ["billing"]},
	fields,
)}}

test_override if {
	ask := {"retention": "90d"}
	summary(decide_state(ask, override({}))) == [true, "allowed", "net.plain", ["override_applied"]]
	codes(decide_state(object.union(ask, {"metric": "guarded"}), override({}))) == ["retention_too_long"]
	every state in [
		override({"until": "2026-06-01"}),
		override({"until": "never"}),
		override({"from": "2026-06-01T00:00:01Z"}),
		override({"nodes": ["edge-2"]}),
		override({"nodes": []}),
		override({"clauses": ["net.node"]}),
		override({"retention": "89d"}),
	] {
		codes(decide_state(ask, state)) == ["retention_too_long"]
	}
	decide_state(ask, override({"nodes": ["edge-1"]})).allow
}

test_override_needs_emergency_powers if {
	tables := json.patch(fixture.tables, [{"op": "replace", "path": "/emergency", "value": {}}])
	codes(decide_with(fixture.ask({"retention": "90d"}), tables, override({}))) == ["retention_too_long"]
	narrow := json.patch(fixture.tables, [{"op": "replace", "path": "/clauses/net.plain/purposes", "value": {"operations": true}}])
	ask := fixture.ask({"operation": "read", "purpose": "billing"})
	codes(decide_with(ask, narrow, override({"retention": "1d"}))) == ["override_applied"]
}

test_rates if {
	decide({"metric": "latency_p50"}).obligations.rates == ["10/1s", "100/1m"]
	decide({"metric": "latency_p50", "node": "edge-2"}).obligations.rates == ["100/1m"]
	decide({"metric": "latency_p50", "role": "guest"}).obligations.rates == ["100/1m"]
}

test_modes if {
	shadowed := decide({"metric": "shadowed", "role": "ghost"})
	shadowed.allow
	shadowed.enforced == false
	shadowed.mode == "shadow"
	shadowed.outcome == "denied"
	summary(shadowed.would_deny) == [false, "denied", "net.shadow", ["unknown_role"]]
	decide({"metric": "warned", "role": "ghost"}).mode == "warn"
	decide({"metric": "shadowed"}).mode == "shadow"
}

test_modes_mix if {
	# A denial is lifted only when every reason for it is.
	not_allowed(decide_state({"metric": "shadowed", "role": "ghost"}, {"revocations": {"edge-1": {}}}))
	loose := decide({"metric": "loose_name"})
	[loose.allow, loose.outcome, loose.mode] == [true, "forbidden", "shadow"]
	not_allowed(decide({"metric": "loose_name", "labels": {"latitude": "1"}}))
}

test_charter_mode_lifts_pseudo_clauses if {
	patch := [{"op": "replace", "path": "/charter/mode", "value": "warn"}]
	decide_tables({"metric": "nothing"}, patch).allow
	decide_tables({"node": "edge-13"}, patch).allow
	not_allowed(decide_tables({"metric": "gps"}, patch))
	not_allowed(decide_tables({"surprise": 1}, patch))
}

test_invalid_requests if {
	problem({"metrik": "x", "retention": "1d"}) == [["unknown_field", "metrik"]]
	problem({"role": ""}) == [["missing_field", "role"]]
	problem({"node": ""}) == [["missing_field", "node"]]
	problem({"node": "", "operation": "export"}) == [["missing_field", "node"]]
	problem({"operation": "steal"}) == [["invalid_value", "operation"]]
	problem({"purpose": 1}) == [["wrong_type", "purpose"]]
	problem({"labels": {"a": 1}}) == [["wrong_type", "labels"]]
	problem({"labels": "a"}) == [["wrong_type", "labels"]]
	problem({"claims": "a"}) == [["wrong_type", "claims"]]
	problem({"claims": [1]}) == [["wrong_type", "claims"]]
	problem({"retention": "30 days"}) == [["invalid_value", "retention"]]
	problem({"time": "yesterday"}) == [["invalid_value", "time"]]
	problem({"time": null}) == [["wrong_type", "time"]]
	decide({"operation": "read", "node": "", "purpose": "", "time": "", "retention": ""}).allow
	summary(decide({"metrik": "x"})) == [false, "invalid_request", "request", ["unknown_field"]]
}

problem(changes) := [[reason.code, reason.field] | some reason in decide(changes).reasons]

test_input_must_be_an_object if {
	denied := charter.decision with input as "metric"
		with data.charter.patterns.metric as set()
		with data.charter.patterns.node as set()
		with data.charter.tables as fixture.tables
	summary(denied) == [false, "invalid_request", "request", ["wrong_type"]]
	empty := charter.decision with data.charter.tables as fixture.tables
	empty.outcome == "invalid_request"
}

# Whatever is missing, the answer is a denial and never undefined.
test_missing_tables_deny if {
	every path in ["exact", "labels", "clauses", "roles", "patterns", "nodes", "charter"] {
		not_allowed(decide_tables({}, [{"op": "remove", "path": path}]))
	}
	bare := charter.decision with input as fixture.question
	not_allowed(bare)
	[bare.outcome, bare.revision, bare.mode] == ["stale_policy", "", "enforce"]
}

test_denial_without_a_reason_is_undetermined if {
	denied := decide_tables({}, [{"op": "remove", "path": "/labels"}])
	summary(denied) == [false, "denied", "default", ["undetermined"]]
	[denied.severity, denied.mode] == ["high", "enforce"]
}

# METADATA
# title: Promises of the staging charter
# description: What is on trial is reported; what the base promises is enforced.
package staging_test

import data.charter

collect(metric, labels) := {
	"metric": metric,
	"node": "stage-1",
	"role": "node_operator",
	"operation": "collect",
	"claims": ["owns_node", "mtls"],
	"labels": labels,
	"time": "2026-06-01T00:00:00Z",
}

test_trial_is_reported_and_not_enforced if {
	answer := charter.decision with input as collect("node_slabinfo_objects", {})
	answer.allow
	answer.mode == "warn"
	answer.enforced == false
	answer.would_deny.allow == false
	answer.would_deny.clause == "stage.trial"
}

test_trial_does_not_weaken_a_promise if {
	answer := charter.decision with input as collect("node_slabinfo_objects", {"serial": "x"})
	not answer.allow
	answer.mode == "enforce"
	answer.clause == "privacy.device"
}

test_label_on_trial_is_reported if {
	answer := charter.decision with input as collect("node_load1", {"trace_id": "x"})
	answer.allow
	answer.mode == "shadow"
	answer.would_deny.clause == "trial.cardinality"
}

test_removed_clause_is_unknown if {
	answer := charter.decision with input as collect("network_interface_status", {})
	not answer.allow
	answer.outcome == "unknown_metric"
}

test_synthetic_users_live_in_staging if {
	inside := charter.decision with input as collect("synthetic_logins", {})
	inside.allow

	outside := charter.decision with input as object.union(collect("synthetic_logins", {}), {"node": "edge-1"})
	not outside.allow
}

test_suspension_ends_by_itself if {
	question := object.union(collect("latency_p50", {}), {"node": "stage-9"})
	during := charter.decision with input as object.union(question, {"time": "2026-02-28T23:59:59Z"})
	not during.allow
	during.outcome == "suspended"

	after := charter.decision with input as object.union(question, {"time": "2026-03-01T00:00:00Z"})
	after.allow
}

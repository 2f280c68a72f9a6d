# METADATA
# title: Promises of the development charter
# description: Wide in names, short in time, and bound by the base.
package development_test

import data.charter

collect(metric, labels) := {
	"metric": metric,
	"node": "local",
	"role": "node_operator",
	"operation": "collect",
	"claims": ["owns_node", "mtls"],
	"labels": labels,
	"time": "2026-06-01T00:00:00Z",
}

test_node_exporter_is_collected_for_three_days if {
	answer := charter.decision with input as collect("node_load1", {})
	answer.allow
	answer.clause == "dev.node"
	answer.obligations.retention == "3d"
}

test_longer_prefix_wins if {
	answer := charter.decision with input as collect("node_filesystem_avail_bytes", {})
	answer.allow
	answer.clause == "dev.filesystem"
}

test_stars_match_dots if {
	answer := charter.decision with input as collect("http.server.request.duration", {})
	answer.allow
	answer.clause == "dev.http"
}

test_serials_are_dropped if {
	answer := charter.decision with input as collect("node_disk_info", {"serial": "x"})
	answer.allow
	"serial" in answer.obligations.drop_labels
}

test_promises_of_the_base_hold if {
	every metric in {"dev_user_location", "node_gps_fix", "go_username_total", "dev_browsing_seconds"} {
		answer := charter.decision with input as collect(metric, {})
		not answer.allow
		answer.outcome == "forbidden"
	}
}

test_free_names_stay_on_development_machines if {
	inside := charter.decision with input as collect("dev_anything", {})
	inside.allow

	outside := charter.decision with input as object.union(collect("dev_anything", {}), {"node": "edge-1"})
	not outside.allow
}

test_free_names_are_shown_to_nobody if {
	every role in {"public", "node_operator", "audit_committee_member"} {
		question := object.union(collect("dev_anything", {}), {
			"operation": "read",
			"role": role,
			"claims": ["owns_node", "mtls", "committee_seat", "two_factor"],
		})
		answer := charter.decision with input as question
		not answer.allow
	}
}

test_copies_of_production_are_forbidden if {
	answer := charter.decision with input as collect("prod_orders", {})
	not answer.allow
	answer.clause == "dev.production_copy"
}

# METADATA
# title: Promises of the base charter
# description: |
#   What must stay true whatever the metrics are. Run with charter-admin test, or with
#   stock OPA over the compiled bundle.
package base_test

import data.charter

# An operator who collects on a node of their own.
collect(metric, labels) := {
	"metric": metric,
	"node": "edge-1",
	"role": "node_operator",
	"operation": "collect",
	"claims": ["owns_node", "mtls"],
	"labels": labels,
	"time": "2026-06-01T00:00:00Z",
}

test_latency_is_collected if {
	answer := charter.decision with input as collect("latency_p50", {})
	answer.allow
	answer.clause == "net.latency"
	answer.obligations.retention == "30d"
}

test_unlisted_is_denied if {
	answer := charter.decision with input as collect("anything", {})
	not answer.allow
	answer.outcome == "unknown_metric"
	answer.clause == "default"
}

test_location_is_forbidden_by_name if {
	answer := charter.decision with input as collect("user_location", {})
	not answer.allow
	answer.clause == "privacy.location"
	answer.severity == "critical"
}

# No role, however trusted, gets at what is forbidden.
test_location_is_forbidden_to_every_role if {
	every role in {"public", "node_operator", "audit_committee_member", "emergency_responder", "nobody"} {
		every operation in {"collect", "read", "export"} {
			question := object.union(collect("user_location", {}), {"role": role, "operation": operation})
			answer := charter.decision with input as question
			not answer.allow
			answer.outcome == "forbidden"
		}
	}
}

test_location_is_forbidden_by_label if {
	every label in {"location", "latitude", "home_longitude", "geo.city", "gps_fix"} {
		answer := charter.decision with input as collect("latency_p50", {label: "x"})
		not answer.allow
		answer.clause == "privacy.location"
	}
}

test_empty_label_is_absent if {
	answer := charter.decision with input as collect("latency_p50", {"latitude": ""})
	answer.allow
}

test_mac_address_is_dropped_or_denied if {
	dropped := charter.decision with input as collect("network_interface_status", {"mac_address": "x"})
	dropped.allow
	"mac_address" in dropped.obligations.drop_labels

	denied := charter.decision with input as collect("latency_p50", {"mac_address": "x"})
	not denied.allow
	denied.clause == "privacy.device"
}

test_claims_are_needed if {
	answer := charter.decision with input as object.remove(collect("latency_p50", {}), ["claims"])
	not answer.allow
	answer.reasons[0].code == "missing_claim"
}

test_suspended_node_collects_nothing if {
	answer := charter.decision with input as collect("latency_p50", {})
		with data.charter_state as {"standing": {"edge-1": {"state": "suspended"}}}
	not answer.allow
	answer.outcome == "suspended"
}

test_suspended_node_can_be_audited if {
	question := {
		"metric": "cpu_usage_percent",
		"node": "edge-1",
		"role": "audit_committee_member",
		"operation": "read",
		"purpose": "operations",
		"claims": ["committee_seat", "two_factor"],
		"time": "2026-06-01T00:00:00Z",
	}
	answer := charter.decision with input as question
		with data.charter_state as {"standing": {"edge-1": {"state": "quarantined"}}}
	answer.allow
}

# An override with a quorum behind it still stops at a protected clause.
test_request_rates_stay_protected if {
	answer := charter.decision with input as object.union(collect("api_requests_per_second", {}), {"retention": "31d"})
		with data.charter_state as {"overrides": {"o-1": {
			"clauses": ["svc.requests"],
			"retention": "60d",
			"until": "2026-06-01T02:00:00Z",
		}}}
	not answer.allow
	answer.reasons[0].code == "retention_too_long"
}

test_misspelt_field_is_named if {
	answer := charter.decision with input as object.union(collect("latency_p50", {}), {"lables": {}})
	not answer.allow
	answer.outcome == "invalid_request"
	answer.reasons[0].field == "lables"
}

# METADATA
# description: Rego tests run against the compiled charter, as data.charter.
package starter_test

question := {
	"metric": "latency_p50",
	"node": "edge-1",
	"role": "node_operator",
	"operation": "collect",
	"claims": ["owns_node"],
	"time": "2026-06-01T00:00:00Z",
}

test_latency_is_collected if {
	data.charter.decision.allow with input as question
}

test_no_question_allows_location if {
	every operation in ["collect", "read", "export"] {
		asked := object.union(question, {"metric": "gps_fix_age", "operation": operation})
		answer := data.charter.decision with input as asked
		not answer.allow
		answer.outcome == "forbidden"
	}
}

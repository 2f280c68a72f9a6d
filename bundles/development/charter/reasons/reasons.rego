# METADATA
# title: Reasons
# description: |
#   The closed list of reason codes, the outcome each leads to, and the order in
#   which an answer lists them.
package charter.reasons

# METADATA
# title: Precedence
# description: The rank of every reason code; the lowest that applies decides the outcome.
precedence := {
	"unknown_field": 1,
	"missing_field": 2,
	"wrong_type": 3,
	"invalid_value": 4,
	"forbidden_metric": 5,
	"forbidden_label": 6,
	"node_quarantined": 7,
	"node_suspended": 8,
	"node_revoked": 9,
	"stale_policy": 10,
	"state_missing": 11,
	"state_expired": 12,
	"override_applied": 13,
	"waiver_applied": 14,
	"unknown_role": 15,
	"missing_claim": 16,
	"role_not_renewed": 17,
	"operation_not_permitted": 18,
	"category_not_collected": 19,
	"level_not_readable": 20,
	"level_not_exportable": 21,
	"node_not_covered": 22,
	"purpose_missing": 23,
	"purpose_unknown": 24,
	"purpose_not_permitted": 25,
	"retention_too_long": 26,
	"label_not_permitted": 27,
	"unknown_metric": 28,
	"undetermined": 29,
}

outcomes := {
	"unknown_field": "invalid_request",
	"missing_field": "invalid_request",
	"wrong_type": "invalid_request",
	"invalid_value": "invalid_request",
	"forbidden_metric": "forbidden",
	"forbidden_label": "forbidden",
	"node_quarantined": "quarantined",
	"node_suspended": "suspended",
	"stale_policy": "stale_policy",
	"unknown_metric": "unknown_metric",
}

severities := {"critical": 1, "high": 2, "medium": 3, "low": 4}

informative := {"override_applied", "waiver_applied"}

# METADATA
# title: Outcome
# description: The outcome that a reason code leads to.
outcome(code) := object.get(outcomes, code, "denied")

# METADATA
# title: Denies
# description: The codes that deny; the others only inform.
denies := object.remove(precedence, informative)

# METADATA
# title: Ordered
# description: Reasons by precedence, severity, clause id.
ordered(set) := [entry[4] |
	some entry in sort([[
		object.get(precedence, reason.code, 99),
		object.get(severities, reason.severity, 0),
		reason.clause,
		object.get(reason, "field", ""),
		reason,
	] |
		some reason in set
	])
]

# METADATA
# title: Strictest mode
# description: The mode that counts for a denial with these reasons, enforce unless every one of them is milder.
strictest(denying) := "shadow" if {
	modes(denying) == {"shadow"}
} else := "warn" if {
	count(denying) > 0
	count(modes(denying) - {"warn", "shadow"}) == 0
} else := "enforce"

modes(denying) := {mode(reason) | some reason in denying}

# METADATA
# title: Mode of a reason
# description: A protected forbidden entry and an invalid request are always enforced; so is what has no known mode.
mode(reason) := "enforce" if {
	not liftable(reason)
} else := data.charter.tables.forbidden[reason.clause].mode if {
	outcome(reason.code) == "forbidden"
} else := data.charter.tables.charter.mode if {
	pseudo[reason.clause]
} else := data.charter.tables.clauses[reason.clause].mode

pseudo := {"default", "standing", "validity"}

known := {"warn", "shadow"}

default liftable(_) := false

liftable(reason) if {
	outcome(reason.code) == "forbidden"
	entry := data.charter.tables.forbidden[reason.clause]
	entry.protected == false
	known[entry.mode]
}

liftable(reason) if {
	pseudo[reason.clause]
	reason.code != "undetermined"
	known[data.charter.tables.charter.mode]
}

liftable(reason) if {
	outcome(reason.code) == "denied"
	known[data.charter.tables.clauses[reason.clause].mode]
}

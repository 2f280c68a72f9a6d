# A small program of the same shape as the library: lookups first, globs by
# prefix, denials in later branches.
package charter

import data.charter.patterns

decision := {
	"allow": true,
	"outcome": "allowed",
	"revision": data.charter.tables.charter.revision,
	"clause": clause,
	"severity": "none",
	"reasons": [],
	"obligations": object.get(data.charter.tables.clauses[clause], "obligations", {}),
	"mode": "enforce",
} if {
	permitted
} else := {
	"allow": true,
	"enforced": false,
	"outcome": "denied",
	"revision": data.charter.tables.charter.revision,
	"clause": clause,
	"severity": "low",
	"reasons": [reason("operation_not_permitted", clause)],
	"obligations": {},
	"mode": "shadow",
	"would_deny": {
		"allow": false,
		"outcome": "denied",
		"revision": data.charter.tables.charter.revision,
		"clause": clause,
		"severity": "low",
		"reasons": [reason("operation_not_permitted", clause)],
		"obligations": {"drop_labels": ["a", "b"], "hash_labels": ["c"], "forbid_labels": ["d"], "rates": ["1/1m"], "retention": "1d"},
		"mode": "shadow",
	},
} if {
	input.operation == "export"
	data.charter.tables.clauses[clause]
} else := {
	"allow": false,
	"outcome": "suspended",
	"revision": data.charter.tables.charter.revision,
	"clause": "standing",
	"severity": "low",
	"reasons": [reason("node_suspended", "standing")],
	"obligations": {},
	"mode": "enforce",
} if {
	data.charter_state.standing[input.node].state == "suspended"
} else := {
	"allow": false,
	"outcome": "unknown_metric",
	"revision": data.charter.tables.charter.revision,
	"clause": "default",
	"severity": "low",
	"reasons": [reason("unknown_metric", "default")],
	"obligations": {},
	"mode": "enforce",
}

reason(code, id) := {"code": code, "clause": id, "severity": "low", "message": code}

permitted if {
	data.charter.tables.roles[input.role].collects.network
	data.charter.tables.clauses[clause].operations[input.operation]
	not suspended
}

default suspended := false

suspended if data.charter_state.standing[input.node].state == "suspended"

clause := id if {
	some id, _ in data.charter.tables.exact[input.metric].clauses
} else := id if {
	some glob in patterns.metric
	some id, _ in data.charter.tables.patterns[glob].clauses
}

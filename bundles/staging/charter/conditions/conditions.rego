# METADATA
# title: Conditions
# description: |
#   The conditions of the selected clause and of the role. Each is a positive rule
#   that is false by default; a reason is the negation of one of them.
package charter.conditions

import data.charter.clock
import data.charter.durations
import data.charter.grants
import data.charter.nodes
import data.charter.request
import data.charter.selection

# METADATA
# title: Met
# description: Every condition holds.
default met := false

met if {
	selection.found
	operation_permitted
	role_known
	claims_held
	renewed
	access_granted
	node_covered
	purpose_known
	purpose_permitted
	retention_within
	labels_permitted
}

clause := selection.clause

role := data.charter.tables.roles[input.role]

default operation_permitted := false

operation_permitted if clause.operations[input.operation]

operation_permitted if grants.operations[input.operation]

default role_known := false

role_known if is_object(role)

default claims_held := false

claims_held if {
	held := object.get(input, "claims", [])
	every claim, _ in role.requires { claim in held }
}

default renewed := false

renewed if role.renew_ns == 0

renewed if {
	granted_ns := clock.ns(data.charter_state.grants[input.role][input.node].granted)
	clock.now_ns >= granted_ns
	clock.now_ns - granted_ns < role.renew_ns
}

default access_granted := false

access_granted if {
	input.operation == "collect"
	collected
}

access_granted if {
	input.operation == "read"
	readable
}

access_granted if {
	input.operation == "export"
	readable
	exportable
}

default collected := false

collected if role.collects[clause.category]

default readable := false

readable if {
	is_number(data.charter.tables.levels[clause.access])
	role.reads[clause.access]
}

default exportable := false

exportable if role.exports[clause.access]

default node_covered := false

node_covered if nodes.selected(clause.nodes)

default purpose_known := false

purpose_known if input.operation == "collect"

purpose_known if object.get(input, "purpose", "") == ""

purpose_known if data.charter.tables.purposes[input.purpose]

default purpose_permitted := false

purpose_permitted if input.operation == "collect"

purpose_permitted if clause.purposes[object.get(input, "purpose", "")]

purpose_permitted if grants.purposes_granted[input.purpose]

default retention_within := false

retention_within if object.get(input, "retention", "") == ""

retention_within if clause.unlimited == true

retention_within if durations.seconds(input.retention) <= clause.retention_s

retention_within if durations.seconds(input.retention) <= grants.longest.retention_s

default labels_permitted := false

labels_permitted if {
	is_object(clause.forbid)
	count(labels_refused) == 0
}

labels_refused contains label if {
	some label in request.labels
	clause.forbid[label]
}

# METADATA
# title: Notes
# description: The grants that helped, when a clause was selected.
notes contains note if some note in grants.notes

# METADATA
# title: Reasons
# description: Every condition that does not hold, or that no clause speaks for the metric.
reasons := failed if {
	selection.found
} else := {unspoken}

# METADATA
# title: Unspoken
# description: The reason when no clause speaks for the metric.
unspoken := {
	"code": "unknown_metric",
	"clause": "default",
	"severity": "low",
	"message": "no clause speaks for the metric",
}

failed contains reason("operation_not_permitted", sprintf("operation %s is not permitted", [input.operation])) if {
	not operation_permitted
}

failed contains reason("unknown_role", sprintf("role %q is not in the charter", [input.role])) if {
	not role_known
}

failed contains reason("missing_claim", sprintf("role %s requires %s", [input.role, listed])) if {
	role_known
	not claims_held
	held := {claim | some claim in object.get(input, "claims", [])}
	listed := concat(", ", sort(object.keys(object.get(role, "requires", {})) - held))
}

failed contains reason("role_not_renewed", sprintf("role %s needs a current grant for the node", [input.role])) if {
	role_known
	not renewed
}

failed contains reason("category_not_collected", message) if {
	input.operation == "collect"
	role_known
	not collected
	message := sprintf("role %s does not collect category %s", [input.role, object.get(clause, "category", "?")])
}

failed contains reason("level_not_readable", message) if {
	input.operation in {"read", "export"}
	role_known
	not readable
	message := sprintf("role %s does not read level %s", [input.role, object.get(clause, "access", "?")])
}

failed contains reason("level_not_exportable", message) if {
	input.operation == "export"
	role_known
	not exportable
	message := sprintf("role %s does not export level %s", [input.role, object.get(clause, "access", "?")])
}

failed contains reason("node_not_covered", "the node is not covered") if {
	not node_covered
}

failed contains reason("purpose_missing", "a purpose is required") if {
	purpose_known
	not purpose_permitted
	object.get(input, "purpose", "") == ""
}

failed contains reason("purpose_unknown", sprintf("purpose %q is not in the charter", [input.purpose])) if {
	not purpose_known
}

failed contains reason("purpose_not_permitted", sprintf("purpose %s is not permitted", [input.purpose])) if {
	purpose_known
	not purpose_permitted
	input.purpose != ""
}

failed contains reason("retention_too_long", message) if {
	not retention_within
	message := sprintf("retention %s is longer than %s", [input.retention, object.get(clause.obligations, "retention", "?")])
}

failed contains reason("label_not_permitted", sprintf("label %s is not permitted", [listed])) if {
	not labels_permitted
	listed := concat(", ", sort(labels_refused))
}

reason(code, message) := {
	"code": code,
	"clause": selection.id,
	"severity": "low",
	"message": message,
}

# METADATA
# title: Grants
# description: |
#   What waivers of the charter and overrides of the state document add to the
#   selected clause right now. Neither touches a protected clause.
package charter.grants

import data.charter.clock
import data.charter.durations
import data.charter.nodes
import data.charter.selection

# METADATA
# title: Active grants
# description: "The waivers and overrides that hold now: [code, id, grant]."
active contains ["waiver_applied", id, waiver] if {
	some id, waiver in data.charter.tables.waivers[selection.id]
	selection.clause.protected == false
	nodes.selected(waiver.nodes)
	clock.now_ns >= waiver.from_ns
	clock.now_ns < waiver.until_ns
}

active contains ["override_applied", id, grant] if {
	is_object(data.charter_state.overrides)
	some id, override in data.charter_state.overrides
	selection.clause.protected == false
	selection.id in override.clauses
	addressed(override)
	clock.running(object.get(override, "from", "1970-01-01"), override.until)
	grant := object.union(retention(override), purposes(override))
}

# METADATA
# title: Addressed
# description: The override speaks of the node, or of all nodes.
default addressed(_) := false

addressed(override) if count({"nodes"} - object.keys(override)) == 1

addressed(override) if input.node in override.nodes

default retention(_) := {}

retention(override) := {"retention": override.retention, "retention_s": durations.seconds(override.retention)} if {
	data.charter.tables.emergency.retention == true
}

default purposes(_) := {}

purposes(override) := {"purposes": {purpose: true | some purpose in override.purposes}} if {
	data.charter.tables.emergency.purposes == true
}

# METADATA
# title: Operations
# description: The operations granted beyond the clause.
operations contains operation if {
	some [_, _, grant] in active
	some operation, _ in grant.operations
}

# METADATA
# title: Purposes granted
# description: The purposes granted beyond the clause.
purposes_granted contains purpose if {
	some [_, _, grant] in active
	some purpose, _ in grant.purposes
}

# METADATA
# title: Longest
# description: "The longest retention granted: {retention, retention_s}; undefined when none is."
longest := object.filter(grant, ["retention", "retention_s"]) if {
	top := max({grant.retention_s | some [_, _, grant] in active})
	holders := sort([grant.retention | some [_, _, grant] in active; grant.retention_s == top])
	grant := {"retention": holders[0], "retention_s": top}
}

# METADATA
# title: Notes
# description: One reason per grant that a condition or the retention depends on.
notes contains {
	"code": code,
	"clause": selection.id,
	"severity": "low",
	"message": sprintf("%s %q applies", [trim_suffix(code, "_applied"), id]),
} if {
	some [code, id, grant] in active
	used(grant)
}

default used(_) := false

used(grant) if {
	grant.operations[input.operation]
	count({input.operation} - object.keys(selection.clause.operations)) == 1
}

used(grant) if {
	input.operation in {"read", "export"}
	grant.purposes[input.purpose]
	count({input.purpose} & object.keys(selection.clause.purposes)) == 0
}

used(grant) if {
	grant.retention_s > selection.clause.retention_s
	object.get(input, "retention", "") == ""
}

used(grant) if {
	asked := durations.seconds(input.retention)
	asked > selection.clause.retention_s
	asked <= grant.retention_s
}

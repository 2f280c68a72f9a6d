# METADATA
# title: The plain case
# description: |
#   The short way to the two answers that are given most: an allowance with nothing
#   in play beyond the clause and its limits, and a metric that no clause speaks
#   for. A question is plain when it is well formed, has a full time stamp, asks for
#   no retention, sends no label that any entry speaks of, and is about a node that
#   neither the charter nor the state speaks of. Both answers are conjunctions of
#   positive conditions, stricter than the rules they stand in for. What does not
#   hold here is decided the long way; the tests decide every case both ways and
#   expect the same document.
package charter.plain

import data.charter.patterns

# METADATA
# title: Clause
# description: The clause that allows the question; undefined when the case is not plain.
clause := selected if {
	selected := data.charter.tables.clauses[id]
	selected.operations[input.operation]

	# Groups that list the node; the group * lists all.
	some group, _ in selected.where
	some node in [input.node, "*"]
	data.charter.tables.groups[group].exact[node]

	# The role permits it.
	role := data.charter.tables.roles[input.role]
	role.renew_ns == 0
	claims := object.get(input, "claims", [])
	is_array(claims)
	held := {claim | some claim in claims; is_string(claim)}
	count(held) == count(claims)
	object.subset(held, object.keys(role.requires))
	rights := {
		"collect": object.get(role.collects, selected.category, false),
		"read": object.get(role.reads, selected.access, false),
	}
	rights[input.operation] == true
	purpose := object.get(input, "purpose", "")
	purposes := {"collect": {purpose: true}, "read": selected.purposes}
	purposes[input.operation][purpose]
	ordinary
}

# METADATA
# title: Clause id
# description: The one clause that speaks for the metric; undefined when something may forbid the metric.
id := data.charter.tables.exact[input.metric].only if data.charter.tables.exact[input.metric].free

id := data.charter.tables.patterns[glob].only if {
	unlisted
	count(patterns.metric) == 1
	some glob in patterns.metric
	data.charter.tables.patterns[glob].free
}

# METADATA
# title: Unknown
# description: No clause speaks for the metric, and nothing else is to be said.
unknown if {
	data.charter.tables.charter.mode == "enforce"
	input.operation in {"collect", "read"}
	is_string(input.metric)
	input.metric != ""
	is_string(input.role)
	input.role != ""
	claims := object.get(input, "claims", [])
	is_array(claims)
	count([claim | some claim in claims; is_string(claim)]) == count(claims)
	unlisted
	is_object(data.charter.tables.patterns)
	count(patterns.metric) == 0
	ordinary
}

unlisted if object.get(data.charter.tables.exact, input.metric, null) == null

# What both have in common.
ordinary if {
	object.subset({"claims", "labels", "metric", "node", "operation", "purpose", "retention", "role", "time"}, object.keys(input))
	is_string(object.get(input, "purpose", ""))
	object.get(input, "retention", "") == ""

	# Neither the charter nor the state speaks of the node. A section of the state that is
	# no object leaves this undefined: what it was meant to say, nobody knows.
	is_string(input.node)
	input.node != ""
	object.get(data.charter.tables.nodes, input.node, null) == null
	object.get(object.get(state, "standing", {}), input.node, null) == null
	object.get(object.get(state, "revocations", {}), input.node, null) == null
	object.get(state, "overrides", null) == null

	# The charter is valid.
	data.charter.tables.charter.state == "optional"
	time.parse_rfc3339_ns(input.time) < data.charter.tables.charter.stale_ns

	# No entry speaks of a label that was sent. A name that holds line ends can only
	# look like one that is spoken of.
	sent := object.get(input, "labels", {})
	is_object(sent)
	names := [name | some name, value in sent; is_string(value)]
	count(names) == count(sent)
	regex.match(data.charter.tables.labels.spoken, concat("\n", names)) == false
}

default state := {}

state := data.charter_state

# METADATA
# title: The plain case
# description: |
#   The short way to an allowance, for most questions: a well-formed question with
#   a full time stamp, no retention asked for, a node that neither the charter nor
#   the state speaks of, and no waiver or override in play. It is one
#   conjunction of positive conditions, stricter than data.charter.permitted, so
#   that most decisions cost a fraction of the long way. It never denies: whatever
#   does not hold here is decided the long way. The tests decide every case both
#   ways and expect the same document.
package charter.plain

import data.charter.nodes
import data.charter.patterns
import data.charter.selection

# METADATA
# title: Clause
# description: The clause that allows the question; undefined when the case is not plain.
clause := selected if {
	# The question is well formed: concat is undefined unless all it is given are
	# strings, and builtins on local values cost far less than rules.
	asked := object.union(
		{"claims": [], "labels": {}, "metric": "", "node": "", "operation": "", "purpose": "", "retention": "", "role": "", "time": ""},
		input,
	)
	count(asked) == 9
	concat("", [asked.metric, asked.node, asked.operation, asked.purpose, asked.role]) != ""
	asked.metric != ""
	asked.node != ""
	asked.retention == ""
	is_array(asked.claims)
	concat("", asked.claims) >= ""
	is_object(asked.labels)
	concat("", [value | some value in asked.labels]) >= ""
	tables := data.charter.tables

	# Nothing beyond the clause is in play.
	object.get(tables.nodes, asked.node, null) == null
	object.get(state, ["standing", asked.node], null) == null
	object.get(state, ["revocations", asked.node], null) == null
	object.get(state, ["overrides"], null) == null

	# The charter is valid.
	tables.charter.state == "optional"
	time.parse_rfc3339_ns(asked.time) < tables.charter.stale_ns

	# Nothing is forbidden: every glob that matches has a row that forbids nothing,
	# and no label is one that forbidden entries speak of.
	is_object(tables.patterns)
	is_object(tables.labels.exact)
	is_object(tables.labels.prefixes)
	is_object(tables.labels.lengths)
	object.get(tables.exact, [asked.metric, "forbidden"], null) == null
	free := {glob | some glob in patterns.metric; tables.patterns[glob].free == true}
	count(free) == count(patterns.metric)
	labels := {name | some name, value in asked.labels; value != ""}
	count({name | some name in labels; tables.labels.exact[name]}) == 0
	count({name | some name in labels; some length in tables.labels.lengths; tables.labels.prefixes[substring(name, 0, length)]}) == 0

	# The clause permits it.
	selected := selection.clause
	object.get(tables.waivers, selection.id, null) == null
	selected.operations[asked.operation]
	count(labels & object.keys(selected.forbid)) == 0
	nodes.selected(selected.nodes)

	# The role permits it.
	role := tables.roles[asked.role]
	role.renew_ns == 0
	count(object.keys(role.requires) - {claim | some claim in asked.claims}) == 0
	rights := {
		"collect": object.get(role.collects, selected.category, false),
		"read": object.get(role.reads, selected.access, false),
	}
	rights[asked.operation] == true
	is_number(tables.levels[selected.access])
	purposes := {"collect": {asked.purpose: true}, "read": selected.purposes}
	purposes[asked.operation][asked.purpose]
}

default state := {}

state := data.charter_state

# METADATA
# title: Nodes
# description: Which nodes a clause, waiver or limit speaks of.
package charter.nodes

import data.charter.patterns

# METADATA
# title: Selected
# description: The selector covers input.node.
default selected(_) := false

selected(selector) if selector.any == true

selected(selector) if selector.exact[input.node]

selected(selector) if {
	some glob in patterns.node
	selector.globs[glob]
}

selected(selector) if {
	some group, _ in selector.groups
	member(group)
}

# METADATA
# title: Member
# description: input.node belongs to the group, by its name or by its labels in the state document.
default member(_) := false

member(group) if data.charter.tables.groups[group].exact[input.node]

member(group) if {
	some glob in patterns.node
	data.charter.tables.groups[group].globs[glob]
}

member(group) if {
	wanted := data.charter.tables.groups[group].labels
	count(wanted) > 0
	every key, value in wanted { data.charter_state.nodes[input.node].labels[key] == value }
}

# METADATA
# title: Clause selection
# description: |
#   The name alone selects, and the most specific clause wins: an exact name, then
#   the longer literal prefix, then more literal characters. Order never decides.
package charter.selection

import data.charter.nodes
import data.charter.patterns

# METADATA
# title: Clause id
# description: The selected clause; undefined when no clause speaks for the metric.
id := only if {
	only := data.charter.tables.exact[input.metric].only
} else := min(candidates) if {
	count(candidates) == 1
} else := min(covering) if {
	count(covering) > 0
} else := min(candidates) if {
	count(candidates) > 1
}

# METADATA
# title: Clause
# description: The table entry of the selected clause.
clause := data.charter.tables.clauses[id]

# METADATA
# title: Found
# description: Some clause of the charter speaks for the metric, with all that an allowance says.
default found := false

found if {
	is_object(clause.obligations)
	is_string(clause.mode)
}

candidates := object.keys(exact) if {
	exact := data.charter.tables.exact[input.metric].clauses
} else := {candidate |
	top := max(ranks)
	some glob in patterns.metric
	entry := data.charter.tables.patterns[glob]
	entry.rank == top
	some candidate, _ in entry.clauses
}

ranks := {entry.rank |
	some glob in patterns.metric
	entry := data.charter.tables.patterns[glob]
	is_object(entry.clauses)
}

# Several clauses of one specificity have disjoint nodes; the compiler sees to it.
covering := {candidate |
	some candidate in candidates
	nodes.selected(data.charter.tables.clauses[candidate].nodes)
}

# METADATA
# title: Obligations
# description: |
#   What the caller must do with the series: how long it may be kept and which
#   labels to drop, hash or refuse, in full whether or not labels were sent.
package charter.obligations

import data.charter.conditions
import data.charter.durations
import data.charter.grants
import data.charter.nodes
import data.charter.request
import data.charter.selection

# METADATA
# title: Document
# description: The obligations of the selected clause; empty when none is selected.
default document := {}

document := object.union(base, object.union(retention, rates)) if request.valid

base := selection.clause.obligations

# What was asked for, when it is permitted; else the longest that is.
retention := {"retention": input.retention} if {
	durations.seconds(input.retention) > 0
	conditions.retention_within
} else := {"retention": grants.longest.retention} if {
	grants.longest.retention_s > selection.clause.retention_s
} else := {}

# METADATA
# title: Rates
# description: The limits of the selected clause that speak of the role and the node.
rates := {"rates": sort(applicable)} if {
	count(applicable) > 0
} else := {}

applicable contains limit.rate if {
	some id, _ in selection.clause.limits
	limit := data.charter.tables.limits[id]
	addressed(limit)
	nodes.selected(limit.nodes)
}

default addressed(_) := false

addressed(limit) if limit.roles["*"]

addressed(limit) if limit.roles[input.role]

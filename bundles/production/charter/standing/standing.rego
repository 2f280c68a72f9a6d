# METADATA
# title: Standing
# description: |
#   A node of bad standing may neither collect nor export. Reading is left alone: an
#   auditor can always read what the charter lets auditors read.
package charter.standing

import data.charter.clock

# METADATA
# title: Clear
# description: The node's standing permits the operation.
default clear := false

clear if input.operation == "read"

clear if {
	charter_permits
	state_permits
	admitted
}

# A node that is not listed is in good standing; an entry that cannot be read is not.
default charter_permits := false

charter_permits if object.get(data.charter.tables.nodes, input.node, null) == null

charter_permits if clock.ended(data.charter.tables.nodes[input.node].until)

default state_permits := false

state_permits if {
	entry := object.get(standing, input.node, {"state": "good"})
	harmless[entry.state]
}

state_permits if clock.ended(standing[input.node].until)

default admitted := false

admitted if object.get(revocations, input.node, null) == null

admitted if clock.ended(revocations[input.node].until)

# A node whose data access ends may still take its own data away for a while.
admitted if {
	input.operation == "export"
	clock.ahead(revocations[input.node].export_until)
}

default standing := {}

standing := data.charter_state.standing

default revocations := {}

revocations := data.charter_state.revocations

harmless := {"good", "warned"}

gated := {"collect", "export"}

# METADATA
# title: Reasons
# description: One reason per place that speaks against the node, the charter or the state.
reasons contains reason(object.get(codes, said(entry, "status"), "node_revoked"), entry) if {
	gated[input.operation]
	not charter_permits
	entry := object.get(data.charter.tables.nodes, input.node, {})
}

reasons contains reason(object.get(codes, said(entry, "state"), "node_quarantined"), entry) if {
	gated[input.operation]
	not state_permits
	entry := object.get(standing, input.node, {})
}

reasons contains reason("node_revoked", entry) if {
	gated[input.operation]
	not admitted
	entry := object.get(revocations, input.node, {})
}

codes := {"quarantined": "node_quarantined", "suspended": "node_suspended", "revoked": "node_revoked"}

reason(code, entry) := {
	"code": code,
	"clause": "standing",
	"severity": "high",
	"message": concat("", [
		"the node is ",
		trim_prefix(code, "node_"),
		prefixed(" until ", said(entry, "until")),
		prefixed(": ", said(entry, "reason")),
	]),
}

# State may come from elsewhere: what is not a text is not repeated.
default said(_, _) := ""

said(entry, key) := entry[key] if is_string(entry[key])

prefixed(_, "") := ""

prefixed(prefix, text) := concat("", [prefix, text]) if text != ""

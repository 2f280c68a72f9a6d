# METADATA
# title: Validity
# description: |
#   A charter past its end and grace, and a charter that requires state which is
#   missing or expired, permit neither collecting nor exporting; reads go on.
package charter.validity

import data.charter.clock

# METADATA
# title: Clear
# description: The charter is valid for the operation.
default clear := false

clear if input.operation == "read"

clear if {
	fresh
	state_present
	state_live
}

# METADATA
# title: Fresh
# description: The charter has no end, or it and the grace after it have certainly not passed.
default fresh := false

fresh if data.charter.tables.charter.stale_ns == never

fresh if clock.now_ns < data.charter.tables.charter.stale_ns

never := 9223372036854775807

default state_present := false

state_present if data.charter.tables.charter.state == "optional"

state_present if is_object(data.charter_state)

default state_live := false

state_live if data.charter.tables.charter.state == "optional"

state_live if clock.now_ns < clock.ns(data.charter_state.expires)

# METADATA
# title: Reasons
# description: Why the charter is not valid for the operation.
reasons contains reason("stale_policy", "the charter has expired and its grace period is over") if {
	gated[input.operation]
	not fresh
}

reasons contains reason("state_missing", "the charter requires the state document, which is missing") if {
	gated[input.operation]
	not state_present
}

reasons contains reason("state_expired", "the state document has expired or does not say when it does") if {
	gated[input.operation]
	state_present
	not state_live
}

gated := {"collect", "export"}

reason(code, message) := {"code": code, "clause": "validity", "severity": "high", "message": message}

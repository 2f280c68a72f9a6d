# METADATA
# title: Charter decision
# description: |
#   The answer to one question about a metric. Allow is a conjunction of positive
#   conditions; everything else ends in a denial that lists every reason.
package charter

import data.charter.conditions
import data.charter.forbidden
import data.charter.obligations
import data.charter.plain
import data.charter.reasons
import data.charter.request
import data.charter.selection
import data.charter.standing
import data.charter.validity

# METADATA
# title: Decision
# description: The decision document; always defined.
# entrypoint: true
decision := {
	"allow": true,
	"outcome": "allowed",
	"revision": revision,
	"clause": selection.id,
	"severity": "none",
	"reasons": [],
	"obligations": obligations.usual,
	"mode": plain.clause.mode,
} if {
	plain.clause
} else := {
	"allow": true,
	"outcome": "allowed",
	"revision": revision,
	"clause": selection.id,
	"severity": "none",
	"reasons": reasons.ordered(conditions.notes),
	"obligations": obligations.document,
	"mode": selection.clause.mode,
} if {
	request.valid
	permitted
} else := object.union(denial, {"allow": true, "enforced": false, "would_deny": denial}) if {
	lifting[denial.mode]
} else := denial

lifting := {"warn", "shadow"}

# METADATA
# title: Permitted
# description: Every condition of the charter holds.
default permitted := false

permitted if {
	selection.found
	forbidden.clear
	standing.clear
	validity.clear
	conditions.met
}

# METADATA
# title: Revision
# description: The revision of the charter that decides, "" when it is not known.
default revision := ""

revision := data.charter.tables.charter.revision

denial := {
	"allow": false,
	"outcome": reasons.outcome(first.code),
	"revision": revision,
	"clause": first.clause,
	"severity": first.severity,
	"reasons": all_reasons,
	"obligations": obligations.document,
	"mode": reasons.strictest(denying),
}

all_reasons := reasons.ordered(found)

found := request.problems if {
	not request.valid
	count(request.problems) > 0
} else := union({
	forbidden.reasons,
	standing.reasons,
	validity.reasons,
	conditions.reasons,
	conditions.notes,
	unexplained,
})

# What denies without being able to say why is a reason of its own, which no mode
# lifts.
unexplained contains {
	"code": "undetermined",
	"clause": "default",
	"severity": "high",
	"message": "no condition that could be named failed, yet not all of them hold",
} if {
	some [clear, why] in [
		[request.valid, set()],
		[forbidden.clear, forbidden.reasons],
		[standing.clear, standing.reasons],
		[validity.clear, validity.reasons],
		[conditions.met, conditions.reasons],
	]
	clear == false
	count(why) == 0
}

# Notes say that a waiver or override helped; they never deny.
denying := [reason | some reason in all_reasons; reasons.denies[reason.code]]

first := denying[0]

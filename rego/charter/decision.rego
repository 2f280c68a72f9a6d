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
	"revision": data.charter.tables.charter.revision,
	"clause": plain.id,
	"severity": "none",
	"reasons": [],
	"obligations": clause.obligations,
	"mode": clause.mode,
} if {
	clause := plain.clause
	clause.limits == {}
} else := {
	"allow": true,
	"outcome": "allowed",
	"revision": data.charter.tables.charter.revision,
	"clause": plain.id,
	"severity": "none",
	"reasons": [],
	"obligations": object.union(plain.clause.obligations, obligations.rates),
	"mode": plain.clause.mode,
} if {
	plain.clause
} else := {
	"allow": false,
	"outcome": "unknown_metric",
	"revision": data.charter.tables.charter.revision,
	"clause": "default",
	"severity": "low",
	"reasons": [conditions.unspoken],
	"obligations": {},
	"mode": "enforce",
} if {
	plain.unknown
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

# Reasons are looked for only where something does not hold.
found := explained(request.problems) if {
	not request.valid
} else := against

against contains reason if {
	not forbidden.clear
	some reason in explained(forbidden.reasons)
}

against contains reason if {
	not standing.clear
	some reason in explained(standing.reasons)
}

against contains reason if {
	not validity.clear
	some reason in explained(validity.reasons)
}

against contains reason if {
	not conditions.met
	some reason in explained(conditions.reasons)
}

against contains reason if some reason in conditions.notes

# What denies without being able to say why is a reason of its own, which no mode
# lifts.
explained(set) := set if {
	count(set) > 0
} else := {{
	"code": "undetermined",
	"clause": "default",
	"severity": "high",
	"message": "no condition that could be named failed, yet not all of them hold",
}}

# Notes say that a waiver or override helped; they never deny.
denying := [reason | some reason in all_reasons; reasons.denies[reason.code]]

first := denying[0]

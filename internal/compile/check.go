package compile

import (
	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/diag"
)

// Codes of the diagnostics of [Check]; docs/diagnostics.md explains them.
const (
	codeBadGlob            = "bad_glob"
	codeEqualSpecificity   = "equal_specificity"
	codeCoveredByForbidden = "covered_by_forbidden"
	codeUnreachableClause  = "unreachable_clause"
	codeRedundantPattern   = "redundant_pattern"
	codeRedundantForbidden = "redundant_forbidden"
	codeTooManyFloating    = "too_many_floating"
	codeTooManyGlobs       = "too_many_globs"
	codeWaiverWithout      = "waiver_without_effect"
	codeLimitWithout       = "limit_without_effect"
	codeRelaxesProtected   = "relaxes_protected"
	codeNotProved          = "protection_not_proved"
)

// Check reports what is wrong with the meaning of a charter that is correct by
// itself: clauses that conflict, entries that can never apply, and, against
// every charter that c extends, whatever relaxes a protected clause. The list is
// sorted. Findings are exact, not examples: they are derived from the patterns,
// not from a list of known metrics.
func Check(c *charter.Charter) diag.List {
	var list diag.List
	t := newTerrain(c, &list)
	t.checkCrowds(&list)
	if list.HasErrors() {
		list.Sort()
		return list
	}
	t.checkTies(&list)
	t.checkCovered(&list)
	t.checkRedundant(&list)
	t.checkFloating(&list)
	t.checkReach(&list)
	t.checkWaivers(&list)
	t.checkLimits(&list)
	for t.Base() != nil {
		var unreadable diag.List
		base := newTerrain(t.Base(), &unreadable)
		base.checkCrowds(&unreadable)
		if unreadable.HasErrors() {
			list = append(list, unreadable...)
			break
		}
		checkProtection(t, base, &list)
		t = base
	}
	list.Sort()
	return list
}

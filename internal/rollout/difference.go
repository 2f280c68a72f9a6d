package rollout

import (
	"slices"

	"github.com/westworld-charter/charter/internal/decision"
)

// Kind says how the answer of a candidate differs from the active one.
type Kind int

// Kinds of differences. The first that applies counts.
const (
	None        Kind = iota
	Widened          // it allows what the active policy denies
	Narrowed         // it denies what the active policy allows
	Obligations      // both allow, with other obligations
	Explanation      // the same with another outcome, clause, severity, mode or reasons

	kinds = iota
)

// String is the name of the kind in metrics and answers.
func (k Kind) String() string { return kindNames()[k] }

func kindNames() [kinds]string {
	return [...]string{"none", "widened", "narrowed", "obligations", "explanation"}
}

// Kinds returns all kinds in order, None included.
func Kinds() []Kind { return []Kind{None, Widened, Narrowed, Obligations, Explanation} }

// ParseKind returns the kind of difference with a name; None is none.
func ParseKind(name string) (Kind, bool) {
	names := kindNames()
	i := slices.Index(names[:], name)
	return Kind(max(i, 0)), i > 0
}

// difference leaves out what may differ although the meaning is the same: ids,
// revisions, suggestions, and the places of clauses in their charters.
func difference(active, candidate *decision.Decision) Kind {
	switch {
	case candidate.Allow && !active.Allow:
		return Widened
	case active.Allow && !candidate.Allow:
		return Narrowed
	case active.Allow && !sameObligations(&active.Obligations, &candidate.Obligations):
		return Obligations
	case !sameExplanation(active, candidate):
		return Explanation
	default:
		return None
	}
}

func sameObligations(a, b *decision.Obligations) bool {
	return a.Retention == b.Retention && slices.Equal(a.DropLabels, b.DropLabels) && slices.Equal(a.HashLabels, b.HashLabels) &&
		slices.Equal(a.ForbidLabels, b.ForbidLabels) && slices.Equal(a.Rates, b.Rates)
}

func sameExplanation(a, b *decision.Decision) bool {
	if a.Outcome != b.Outcome || a.Clause != b.Clause || a.Severity != b.Severity || a.Mode != b.Mode ||
		!slices.EqualFunc(a.Reasons, b.Reasons, sameReason) || !sameObligations(&a.Obligations, &b.Obligations) {
		return false
	}
	if a.WouldDeny == nil || b.WouldDeny == nil {
		return a.WouldDeny == b.WouldDeny
	}
	return sameExplanation(a.WouldDeny, b.WouldDeny)
}

func sameReason(a, b decision.Reason) bool {
	return a.Code == b.Code && a.Clause == b.Clause && a.Severity == b.Severity && a.Message == b.Message && a.Field == b.Field
}

// telling reports whether an answer says anything about a policy: one to a
// question that was not understood does not.
func telling(d *decision.Decision) bool {
	return d.Outcome != decision.InvalidRequest && d.Outcome != decision.NoPolicy
}

// undetermined reports whether d is not a decision but the lack of one.
func undetermined(d *decision.Decision) bool {
	return d.Outcome == decision.Denied && len(d.Reasons) == 1 && d.Reasons[0].Code == decision.CodeUndetermined
}

package explain

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/diag"
)

// Checks that steps are about, in their order; the list is closed. Those behind
// clause are made only when a clause was selected, those about a role only when
// it is known.
const (
	CheckRequest         = "request"
	CheckForbiddenName   = "forbidden_name"
	CheckForbiddenLabels = "forbidden_labels"
	CheckStanding        = "standing"
	CheckValidity        = "validity"
	CheckClause          = "clause"
	CheckRole            = "role"
	CheckClaims          = "claims"
	CheckRenewal         = "renewal"
	CheckOperation       = "operation"
	CheckCategory        = "category"
	CheckLevel           = "level"
	CheckExportLevel     = "export_level"
	CheckNode            = "node"
	CheckPurpose         = "purpose"
	CheckRetention       = "retention"
	CheckLabels          = "labels"
	CheckGrant           = "grant"
	CheckMode            = "mode"
	CheckObligations     = "obligations"
)

// Checks returns the closed list of checks in their order.
func Checks() []string {
	return []string{
		CheckRequest, CheckForbiddenName, CheckForbiddenLabels, CheckStanding, CheckValidity, CheckClause,
		CheckRole, CheckClaims, CheckRenewal, CheckOperation, CheckCategory, CheckLevel, CheckExportLevel,
		CheckNode, CheckPurpose, CheckRetention, CheckLabels, CheckGrant, CheckMode, CheckObligations,
	}
}

// MaxListed bounds every list of a step; More counts what is left out.
const MaxListed = 50

// Step is one thing that was checked.
type Step struct {
	Check string `json:"check"`
	// Met says whether it speaks for the question; what only informs is met.
	Met     bool   `json:"met"`
	Message string `json:"message"`
	// Codes are the reason codes of what is not met.
	Codes []string `json:"codes,omitempty"`
	// Clause is the entry of the charter that the step is about; "" when that is a
	// role. Source is its place, FILE:LINE.
	Clause string `json:"clause,omitempty"`
	Source string `json:"source,omitempty"`
	// Charter and Asked are what the charter says and what the question, or the
	// clause for it, holds against that.
	Charter []string `json:"charter,omitempty"`
	Asked   []string `json:"asked,omitempty"`
	// Matches are the names, patterns and labels that the step is about, the one
	// that counts first.
	Matches []Match `json:"matches,omitempty"`
	// More is how many items the longest list of the step lacks.
	More int `json:"more,omitempty"`
}

// Match is a name, pattern or label of an entry of the charter.
type Match struct {
	Match  string `json:"match"`
	Clause string `json:"clause"`
	Source string `json:"source,omitempty"`
	// Why says what decided between this match and the selected one.
	Why string `json:"why,omitempty"`
}

// path makes the steps of one decision.
type path struct {
	in       decision.Input
	decision decision.Decision
	facts    *facts
	charter  *charter.Charter
}

func (p *path) steps() []Step {
	if !holds(p.facts.Valid) {
		return p.close([]Step{p.step(CheckRequest, false, "")})
	}
	all := []Step{p.step(CheckRequest, true, "the question is valid"), p.forbiddenName(), p.forbiddenLabels(), p.standing(), p.validity(), p.clause()}
	if holds(p.facts.Found) {
		all = append(all, p.role()...)
		all = append(all, p.conditions()...)
		all = append(all, p.grants()...)
	}
	return p.close(append(all, p.ending()...))
}

// close bounds the lists.
func (p *path) close(all []Step) []Step {
	for i := range all {
		s := &all[i]
		s.More = max(len(s.Charter), len(s.Asked), len(s.Matches)) - MaxListed
		s.More = max(s.More, 0)
		s.Charter, s.Asked = s.Charter[:min(len(s.Charter), MaxListed)], s.Asked[:min(len(s.Asked), MaxListed)]
		s.Matches = s.Matches[:min(len(s.Matches), MaxListed)]
	}
	return all
}

// step makes a step. What is not met is told in the words of the rules.
func (p *path) step(check string, met bool, message string) Step {
	s := Step{Check: check, Met: met, Message: message}
	if met {
		return s
	}
	var messages []string
	for _, r := range p.decision.Reasons {
		if checkOf(r.Code) != check {
			continue
		}
		if !slices.Contains(s.Codes, r.Code) {
			s.Codes = append(s.Codes, r.Code)
		}
		if len(messages) < MaxListed {
			messages = append(messages, r.Message)
		}
		if s.Clause == "" {
			s.Clause, s.Source = r.Clause, r.Source
		}
	}
	if len(messages) > 0 {
		s.Message = strings.Join(messages, "; ")
	}
	return s
}

// checkOf is the check that a reason code comes from.
func checkOf(code string) string {
	switch code {
	case decision.CodeUnknownField, decision.CodeMissingField, decision.CodeWrongType, decision.CodeInvalidValue:
		return CheckRequest
	case decision.CodeForbiddenMetric:
		return CheckForbiddenName
	case decision.CodeForbiddenLabel:
		return CheckForbiddenLabels
	case decision.CodeNodeQuarantined, decision.CodeNodeSuspended, decision.CodeNodeRevoked:
		return CheckStanding
	case decision.CodeStalePolicy, decision.CodeStateMissing, decision.CodeStateExpired:
		return CheckValidity
	case decision.CodeUnknownMetric:
		return CheckClause
	case decision.CodeUnknownRole:
		return CheckRole
	case decision.CodeMissingClaim:
		return CheckClaims
	case decision.CodeRoleNotRenewed:
		return CheckRenewal
	case decision.CodeOperationNotPermitted:
		return CheckOperation
	case decision.CodeCategoryNotCollected:
		return CheckCategory
	case decision.CodeLevelNotReadable:
		return CheckLevel
	case decision.CodeLevelNotExportable:
		return CheckExportLevel
	case decision.CodeNodeNotCovered:
		return CheckNode
	case decision.CodePurposeMissing, decision.CodePurposeUnknown, decision.CodePurposeNotPermitted:
		return CheckPurpose
	case decision.CodeRetentionTooLong:
		return CheckRetention
	case decision.CodeLabelNotPermitted:
		return CheckLabels
	default: // those that inform, and undetermined
		return ""
	}
}

func (p *path) source(clause string) string {
	pos, ok := p.charter.Place(clause)
	if !ok {
		return ""
	}
	return place(pos)
}

func place(pos diag.Pos) string { return pos.File + ":" + strconv.Itoa(pos.Line) }

func (p *path) match(text, clause, why string) Match {
	return Match{Match: text, Clause: clause, Source: p.source(clause), Why: why}
}

func (p *path) forbiddenName() Step {
	ids := p.facts.Forbidden.get()
	s := p.step(CheckForbiddenName, len(ids) == 0, "no forbidden entry matches the name")
	for _, id := range ids {
		if p.facts.Exact.get().Forbidden[id] {
			s.Matches = append(s.Matches, p.match(p.in.Metric, id, ""))
		}
		for _, glob := range slices.Sorted(maps.Keys(p.facts.Patterns)) {
			if p.facts.Patterns[glob].Forbidden[id] {
				s.Matches = append(s.Matches, p.match(glob, id, ""))
			}
		}
	}
	return s
}

func (p *path) forbiddenLabels() Step {
	labels := p.facts.ForbiddenLabels.get()
	message := "no label was sent"
	if len(p.facts.Labels.get()) > 0 {
		message = "no label that was sent is forbidden, or the clause drops it"
	}
	s := p.step(CheckForbiddenLabels, len(labels) == 0, message)
	for _, id := range slices.Sorted(maps.Keys(labels)) {
		for _, label := range labels[id] {
			s.Matches = append(s.Matches, p.match(label, id, ""))
		}
	}
	return s
}

func (p *path) standing() Step {
	message := "nothing speaks against the node"
	if p.in.Operation == decision.Read {
		message = "reading does not depend on the standing of the node"
	}
	return p.step(CheckStanding, holds(p.facts.Standing), message)
}

func (p *path) validity() Step {
	message := "the charter is valid at this time"
	if p.in.Operation == decision.Read {
		message = "reading goes on when a charter has lapsed"
	}
	return p.step(CheckValidity, holds(p.facts.Validity), message)
}

func (p *path) grants() []Step {
	var all []Step
	for _, g := range p.facts.Grants {
		kind := strings.TrimSuffix(g.Code, "_applied")
		s := Step{Check: CheckGrant, Met: true, Clause: g.ID, Source: p.source(g.ID)}
		s.Message = fmt.Sprintf("%s %s holds, and makes no difference", kind, g.ID)
		if g.Used {
			s.Message = fmt.Sprintf("%s %s applies", kind, g.ID)
		}
		all = append(all, s)
	}
	return all[:min(len(all), MaxListed)]
}

// ending is what follows from the decision as a whole.
func (p *path) ending() []Step {
	var all []Step
	d := p.decision
	if d.Enforced != nil && !*d.Enforced {
		all = append(all, Step{Check: CheckMode, Met: true, Message: "mode " + d.Mode + ": the denial is reported and not enforced"})
	}
	if o := d.Obligations; d.Allow && !o.Empty() {
		all = append(all, Step{
			Check: CheckObligations, Met: true, Message: "who asks must " + describe(o), Clause: p.facts.Selected.get(), Source: p.source(p.facts.Selected.get()),
		})
	}
	return all
}

func describe(o decision.Obligations) string {
	var parts []string
	if o.Retention != "" {
		parts = append(parts, "keep the series at most "+o.Retention)
	}
	for _, l := range []struct {
		verb  string
		items []string
	}{{"drop", o.DropLabels}, {"hash", o.HashLabels}, {"refuse", o.ForbidLabels}, {"ask at most", o.Rates}} {
		if len(l.items) > 0 {
			parts = append(parts, l.verb+" "+listed(l.items))
		}
	}
	return strings.Join(parts, "; ")
}

// listed joins names, some of them when there are many.
func listed(names []string) string {
	const few = 10
	if len(names) > few {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:few], ", "), len(names)-few)
	}
	return strings.Join(names, ", ")
}

// never says why no change of role, purpose, operation, retention, claims and
// labels helps: what only the name decides.
func (p *path) never() (string, bool) {
	if !holds(p.facts.Valid) {
		return "", false
	}
	if ids := p.facts.Forbidden.get(); len(ids) > 0 {
		for _, id := range ids {
			if p.facts.Entries[id].Protected {
				return "never: protected clause " + id, true
			}
		}
		return "never: forbidden clause " + ids[0], true
	}
	if !holds(p.facts.Found) {
		return "never: no clause speaks for the metric", true
	}
	return "", false
}

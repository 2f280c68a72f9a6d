package explain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/space"
)

// clause says which clause was selected, and why it goes before the others that
// match.
func (p *path) clause() Step {
	s := p.step(CheckClause, holds(p.facts.Found), "")
	selected := p.facts.Selected.get()
	rivals := p.rivals()
	if !s.Met || len(rivals) == 0 {
		return s
	}
	s.Clause, s.Source = selected, p.source(selected)
	best := slices.IndexFunc(rivals, func(r rival) bool { return r.clause == selected })
	if best < 0 {
		s.Message = "clause " + selected + " is selected"
		return s
	}
	winner := rivals[best]
	rivals = slices.Delete(rivals, best, best+1)
	kind := "its exact name"
	if winner.glob != nil {
		kind = "its pattern"
	}
	s.Message = fmt.Sprintf("clause %s is selected: %s %s matches", selected, kind, winner.match)
	s.Matches = append(s.Matches, p.match(winner.match, winner.clause, ""))
	others := 0
	for _, r := range rivals {
		if r.clause == selected {
			continue // another pattern of the same clause
		}
		others++
		s.Matches = append(s.Matches, p.match(r.match, r.clause, p.why(winner, r)))
	}
	if others > 0 {
		s.Message += " and is the most specific"
	}
	return s
}

// rival is a name or pattern of a clause that matches the metric.
type rival struct {
	match, clause string
	glob          *space.Glob // nil for an exact name
}

// rivals are sorted by specificity, the greatest first.
func (p *path) rivals() []rival {
	var all []rival
	for _, id := range p.facts.Exact.get().Clauses.names() {
		all = append(all, rival{match: p.in.Metric, clause: id})
	}
	for pattern, row := range p.facts.Patterns {
		glob, err := space.ParseGlob(pattern)
		if err != nil {
			continue
		}
		for _, id := range row.Clauses.names() {
			all = append(all, rival{pattern, id, &glob})
		}
	}
	slices.SortFunc(all, func(a, b rival) int {
		return cmp.Or(cmp.Compare(b.rank(), a.rank()), strings.Compare(a.match, b.match), strings.Compare(a.clause, b.clause))
	})
	return all
}

func (r rival) rank() int {
	if r.glob == nil {
		return int(^uint(0) >> 1)
	}
	return r.glob.Rank()
}

// why says what sets a winner apart from a rival.
func (p *path) why(winner, other rival) string {
	switch {
	case winner.rank() == other.rank() && !p.facts.Covering[other.clause]:
		return "it is as specific and does not cover the node"
	case winner.rank() == other.rank():
		return "it is as specific"
	case winner.glob == nil:
		return "an exact name goes before it"
	}
	if long, short := len(winner.glob.Prefix()), len(other.glob.Prefix()); long > short {
		return fmt.Sprintf("its literal prefix has %d characters, that of the selected one %d", short, long)
	}
	return fmt.Sprintf("it has %d literal characters, the selected one %d", other.glob.Literals(), winner.glob.Literals())
}

// about completes a step about the selected clause.
func (p *path) about(s Step, says, asked []string) Step {
	s.Clause, s.Source = p.facts.Selected.get(), p.source(p.facts.Selected.get())
	s.Charter, s.Asked = says, asked
	return s
}

// role says who asks; steps that need a known role follow one.
func (p *path) role() []Step {
	f, name := p.facts, p.in.Role
	known := p.step(CheckRole, holds(f.RoleKnown), fmt.Sprintf("role %s is in the charter", name))
	known.Asked = []string{name}
	if !known.Met {
		return []Step{known}
	}
	row := f.Role.get()
	message := fmt.Sprintf("role %s requires no claims", name)
	if len(row.Requires) > 0 {
		message = fmt.Sprintf("all claims that role %s requires are held", name)
	}
	claims := p.step(CheckClaims, holds(f.ClaimsHeld), message)
	claims.Charter, claims.Asked = row.Requires.names(), p.in.Claims
	all := []Step{known, claims}
	if row.RenewNS != "" && row.RenewNS != "0" {
		all = append(all, p.step(CheckRenewal, holds(f.Renewed), fmt.Sprintf("role %s was granted for the node recently enough", name)))
	}
	for i := range p.charter.Roles {
		if r := &p.charter.Roles[i]; r.Name == name {
			for j := range all {
				all[j].Clause, all[j].Source = "", place(r.Pos())
				if all[j].Check == CheckRenewal {
					all[j].Charter = given(r.Renew)
				}
			}
		}
	}
	return all
}

func (p *path) conditions() []Step {
	f, clause, role := p.facts, p.facts.Clause.get(), p.facts.Role.get()
	operation := p.step(CheckOperation, holds(f.OperationPermitted), fmt.Sprintf("operation %s is permitted", p.in.Operation))
	all := []Step{p.about(operation, clause.Operations.names(), []string{p.in.Operation})}
	if holds(f.RoleKnown) {
		if p.in.Operation == decision.Collect {
			message := fmt.Sprintf("role %s collects category %s", p.in.Role, clause.Category)
			all = append(all, p.about(p.step(CheckCategory, holds(f.Collected), message), role.Collects.names(), []string{clause.Category}))
		} else {
			message := fmt.Sprintf("role %s reads level %s", p.in.Role, clause.Access)
			all = append(all, p.about(p.step(CheckLevel, holds(f.Readable), message), role.Reads.names(), []string{clause.Access}))
		}
		if p.in.Operation == decision.Export {
			message := fmt.Sprintf("role %s exports level %s", p.in.Role, clause.Access)
			all = append(all, p.about(p.step(CheckExportLevel, holds(f.Exportable), message), role.Exports.names(), []string{clause.Access}))
		}
	}
	node := p.about(p.step(CheckNode, holds(f.NodeCovered), "the clause covers the node"), clause.Nodes.list(), given(p.in.Node))
	return append(all, node, p.purpose(clause), p.retention(clause), p.labels(clause))
}

func (p *path) purpose(clause clauseRow) Step {
	message := "purpose " + p.in.Purpose + " is permitted"
	says := slices.DeleteFunc(clause.Purposes.names(), func(s string) bool { return s == "" })
	switch {
	case p.in.Operation == decision.Collect:
		message, says = "collecting needs no purpose", nil
	case p.in.Purpose == "":
		message = "the clause asks for no purpose"
	}
	met := holds(p.facts.PurposeKnown) && holds(p.facts.PurposePermitted)
	return p.about(p.step(CheckPurpose, met, message), says, given(p.in.Purpose))
}

func (p *path) retention(clause clauseRow) Step {
	longest := given(clause.Obligations.Retention)
	if grant := p.facts.Longest.get().Retention; grant != "" && len(longest) > 0 {
		longest = append(longest, grant)
	}
	message := "there is no limit"
	switch {
	case len(longest) > 0 && p.in.Retention == "":
		message = "none was asked for, so the longest holds"
	case len(longest) > 0:
		message = "retention " + p.in.Retention + " is not too long"
	}
	return p.about(p.step(CheckRetention, holds(p.facts.RetentionWithin), message), longest, given(p.in.Retention))
}

func (p *path) labels(clause clauseRow) Step {
	message := "the clause refuses no label"
	if len(clause.Forbid) > 0 {
		message = "no label that the clause refuses was sent"
	}
	labels := slices.Sorted(slices.Values(p.facts.Labels.get()))
	return p.about(p.step(CheckLabels, holds(p.facts.LabelsPermitted), message), clause.Forbid.names(), labels)
}

// given is a list of what was given, if anything was.
func given(text string) []string {
	if text == "" {
		return nil
	}
	return []string{text}
}

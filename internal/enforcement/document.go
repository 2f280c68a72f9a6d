package enforcement

import (
	"maps"
	"time"

	"github.com/westworld-charter/charter/internal/statedoc"
)

// document is what the state says as sections of data.charter_state; nil when it says
// nothing. Standings have no end in there, unless ends is set: the clock of whoever
// decides must neither shorten nor extend them.
func (s *state) document(ends bool) map[string]any {
	standing, revocations, overrides := map[string]any{}, map[string]any{}, map[string]any{}
	for id, n := range s.nodes {
		if n.standing != Good {
			row := statedoc.Standing{State: n.standing, Reason: n.reason()}
			if ends {
				row.Until = n.until
			}
			standing[id] = row.Row()
		}
		if r := n.revoked; r != nil {
			revocations[id] = statedoc.Revocation{Reason: r.Reason, ExportUntil: r.ExportUntil}.Row()
		}
	}
	for id, o := range s.overrides {
		if o.Ended.IsZero() {
			overrides[id] = o.row()
		}
	}
	doc := map[string]any{}
	for name, section := range map[string]map[string]any{
		statedoc.StandingSection: standing, statedoc.RevocationsSection: revocations, statedoc.OverridesSection: overrides,
	} {
		if len(section) > 0 {
			doc[name] = section
		}
	}
	if len(doc) == 0 {
		return nil
	}
	return doc
}

// reason is why a node has its standing, in the words of a denial.
func (n *node) reason() string {
	text := n.cause
	if !n.until.IsZero() {
		text += ", ends " + n.until.UTC().Format(time.RFC3339)
	}
	if n.restore != "" {
		text += ", lifted by " + n.restore
	}
	return text
}

func (o *Override) row() map[string]any {
	row := map[string]any{
		"clauses": texts(o.Clauses), "from": o.From.UTC().Format(time.RFC3339Nano), "until": o.Until.UTC().Format(time.RFC3339Nano),
	}
	if len(o.Nodes) > 0 {
		row["nodes"] = texts(o.Nodes)
	}
	if o.Retention != "" {
		row["retention"] = o.Retention
	}
	if len(o.Purposes) > 0 {
		row["purposes"] = texts(o.Purposes)
	}
	return row
}

func texts(list []string) []any {
	all := make([]any, len(list))
	for i, text := range list {
		all[i] = text
	}
	return all
}

// Merge returns a state document in which both of two hold: that of an operator, and
// that of this package. Where they speak of the same node, the stricter one counts.
// Neither is modified; either may be nil.
func Merge(operator, own map[string]any) map[string]any {
	if operator == nil || own == nil {
		if operator == nil {
			return own
		}
		return operator
	}
	merged := maps.Clone(operator)
	join(merged, own, statedoc.StandingSection, bothStandings)
	join(merged, own, statedoc.RevocationsSection, bothRevocations)
	join(merged, own, statedoc.OverridesSection, func(operator, _ any) any { return operator })
	return merged
}

// join merges a section by name. A section of the operator that cannot be read stays:
// then nothing is allowed.
func join(into, own map[string]any, section string, both func(operator, own any) any) {
	add, ok := own[section].(map[string]any)
	if !ok {
		return
	}
	have, given := into[section]
	rows, readable := have.(map[string]any)
	if given && !readable {
		return
	}
	rows = maps.Clone(rows)
	if rows == nil {
		rows = make(map[string]any, len(add))
	}
	for id, row := range add {
		if other, twice := rows[id]; twice {
			row = both(other, row)
		}
		rows[id] = row
	}
	into[section] = rows
}

func bothStandings(operator, own any) any {
	return statedoc.ReadStanding(own).Join(statedoc.ReadStanding(operator)).Row()
}

func bothRevocations(operator, own any) any {
	return statedoc.ReadRevocation(own).Join(statedoc.ReadRevocation(operator)).Row()
}

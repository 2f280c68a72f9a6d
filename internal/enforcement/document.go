package enforcement

import (
	"maps"
	"time"
)

// document is what the state says as sections of data.charter_state; nil when it says
// nothing. Standings have no end in there: the clock of whoever decides must neither
// shorten nor extend them.
func (s *state) document() map[string]any {
	standing, revocations, overrides := map[string]any{}, map[string]any{}, map[string]any{}
	for id, n := range s.nodes {
		if n.standing != Good {
			standing[id] = map[string]any{"state": n.standing, "reason": n.reason()}
		}
		if r := n.revoked; r != nil {
			row := map[string]any{"reason": r.Reason}
			if !r.ExportUntil.IsZero() {
				row["export_until"] = r.ExportUntil.UTC().Format(time.RFC3339Nano)
			}
			revocations[id] = row
		}
	}
	for id, o := range s.overrides {
		if o.Ended.IsZero() {
			overrides[id] = o.row()
		}
	}
	doc := map[string]any{}
	for name, section := range map[string]map[string]any{"standing": standing, "revocations": revocations, "overrides": overrides} {
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
	join(merged, own, "standing", stricterStanding)
	join(merged, own, "revocations", stricterRevocation)
	join(merged, own, "overrides", func(operator, _ any) any { return operator })
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

// stricterStanding keeps what restricts now and later: an operator's standing may
// end by itself, ours does not.
func stricterStanding(operator, own any) any {
	ours, _ := own.(map[string]any)
	state, _ := ours["state"].(string)
	if rank(state) < rank(Suspended) {
		return operator
	}
	theirs, readable := operator.(map[string]any)
	if !readable {
		return own
	}
	said, isText := theirs["state"].(string)
	if _, ends := theirs["until"]; !ends && (!isText || rank(said) > rank(state)) {
		return operator
	}
	return own
}

// stricterRevocation has no end, since ours has none, and the earlier end of exports.
func stricterRevocation(operator, own any) any {
	ours, _ := own.(map[string]any)
	theirs, _ := operator.(map[string]any)
	row := maps.Clone(ours)
	delete(row, "export_until")
	a, first := ours["export_until"].(string)
	b, second := theirs["export_until"].(string)
	if !first || !second {
		return row
	}
	at, err := time.Parse(time.RFC3339Nano, a)
	until, otherErr := time.Parse(time.RFC3339Nano, b)
	switch {
	case err != nil || otherErr != nil:
	case until.Before(at):
		row["export_until"] = b
	default:
		row["export_until"] = a
	}
	return row
}

package compile

import (
	"slices"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/diag"
)

// checkWaivers reports waivers that grant nothing their clause does not permit
// already, or whose nodes the clause never covers.
func (t *terrain) checkWaivers(list *diag.List) {
	if len(t.Waivers) == 0 {
		return
	}
	byID := make(map[string]int, len(t.clauses))
	for i, c := range t.clauses {
		byID[c.ID] = i
	}
	for i := range t.Waivers {
		w := &t.Waivers[i]
		at, known := byID[w.Clause]
		if !known {
			continue // reported by package charter
		}
		c := t.clauses[at]
		related := []diag.Related{{Pos: c.Pos(), Message: "clause " + c.ID}}
		if t.nodeSet(w.Source, w.Nodes, &diag.List{}).disjoint(t.nodes[at]) {
			d := list.Warnf(w.Field("nodes"), codeWaiverWithout, "waiver %s is for nodes that clause %s does not cover, and waivers add no nodes", w.ID, c.ID)
			d.Related, d.Fix = related, "name nodes of the clause, or remove the waiver"
			continue
		}
		g := &w.Grants
		nothing := g.Retention == "" && len(g.Purposes)+len(g.Operations) == 0 // reported by package charter
		if !nothing && !widens(g, c) {
			d := list.Warnf(w.Field("grants"), codeWaiverWithout, "waiver %s grants nothing that clause %s does not permit already", w.ID, c.ID)
			d.Related, d.Fix = related, "remove the waiver"
		}
	}
}

// widens reports whether grants go beyond the terms of a clause.
func widens(g *charter.Grants, c *charter.Clause) bool {
	return c.Retention != "" && g.Retention != "" && keeps(g.Retention) > keeps(c.Retention) ||
		len(c.Purposes) > 0 && !subset(g.Purposes, c.Purposes) ||
		!subset(g.Operations, operationsOf(c))
}

// subset reports whether every name of part is in all.
func subset(part, all []string) bool {
	return !slices.ContainsFunc(part, func(name string) bool { return !slices.Contains(all, name) })
}

// keeps reads a duration that package charter has accepted; one that it would
// not accept is taken for the longest.
func keeps(text string) time.Duration {
	d, err := charter.ParseDuration(text)
	if err != nil {
		return 1<<63 - 1
	}
	return d
}

// checkLimits reports limits that apply to nothing.
func (t *terrain) checkLimits(list *diag.List) {
	for i := range t.Limits {
		l := &t.Limits[i]
		nodes := t.nodeSet(l.Source, l.Nodes, &diag.List{})
		applies := len(t.clauses) == 0 || len(t.Roles) == 0
		for k := 0; k < len(t.clauses) && !applies; k++ {
			c := t.clauses[k]
			applies = limits(l, c) && !nodes.disjoint(t.nodes[k]) && t.limited(l, c)
		}
		if !applies {
			list.Warnf(l.Pos(), codeLimitWithout, "limit %s applies to nothing: none of its roles may use one of its clauses on one of its nodes", l.ID).
				Fix = "correct its roles, nodes or clauses, or remove it"
		}
	}
}

// limits reports whether a limit names a clause, or all.
func limits(l *charter.Limit, c *charter.Clause) bool {
	return len(l.Clauses) == 0 || slices.Contains(l.Clauses, c.ID)
}

// limited reports whether a role of the limit may use the clause.
func (t *terrain) limited(l *charter.Limit, c *charter.Clause) bool {
	for i := range t.Roles {
		r := &t.Roles[i]
		if len(l.Roles) > 0 && !slices.Contains(l.Roles, r.Name) {
			continue
		}
		for _, operation := range operationsOf(c) {
			if mayReach(r, operation, c) {
				return true
			}
		}
	}
	return false
}

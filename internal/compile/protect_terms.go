package compile

import (
	"fmt"
	"slices"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/diag"
)

// duel is a clause of the derived charter against the clause of the base that
// decides for the same names.
type duel struct {
	*protection
	mine, theirs *charter.Clause
	found        []relaxation
}

// relaxations compares two clauses, by their number in the two charters, in all
// terms but their nodes.
func (p *protection) relaxations(mine, theirs int) []relaxation {
	if p.derived.nodes[mine].disjoint(p.base.nodes[theirs]) {
		return nil // no node has both
	}
	d := &duel{protection: p, mine: p.derived.clauses[mine], theirs: p.base.clauses[theirs]}
	d.compareStanding()
	d.compareOperations()
	d.compareRoles()
	d.comparePurposes()
	d.compareRetention()
	d.compareLabels()
	d.compareTags()
	d.compareLimits()
	d.compareWaivers()
	return d.found
}

// add notes a relaxation at pos, or at the clause when pos is nowhere, as is a
// field of a section that the charter does not have.
func (d *duel) add(pos diag.Pos, fix, format string, args ...any) {
	if pos.Line == 0 {
		pos = d.mine.Pos()
	}
	d.found = append(d.found, relaxation{pos: pos, what: fmt.Sprintf(format, args...), fix: fix})
}

// nodesBeyond reports the values of the nodes field of a derived clause that no
// clause of a bucket covers; near are those that can.
func (p *protection) nodesBeyond(clause int, b *bucket, near []int) []relaxation {
	c := p.derived.clauses[clause]
	beyond := func(nodes nodeSet) bool {
		return !slices.ContainsFunc(near, func(j int) bool { return nodes.within(p.base.nodes[p.base.claims[j].clause]) })
	}
	if all := p.derived.nodes[clause]; all.open && !beyond(all) {
		return nil
	}
	theirs := p.base.clauseOf(b.claims[0])
	only := "in the base for " + listed(theirs.Nodes) + " only"
	if len(b.claims) > 1 {
		only = "which no clause of the base covers there"
	}
	if p.derived.nodes[clause].open {
		return []relaxation{{
			pos: c.Pos(), nodes: nodeSet{open: true}, fix: "add nodes: [" + listed(theirs.Nodes) + "]",
			what: fmt.Sprintf("clause %s is for every node, %s", c.ID, only),
		}}
	}
	var found []relaxation
	for i, node := range c.Nodes {
		if item, err := p.derived.nodeItem(node); err == nil && beyond(item) {
			found = append(found, relaxation{
				pos: c.Item("nodes", i), nodes: item, fix: "name nodes among " + listed(theirs.Nodes),
				what: fmt.Sprintf("clause %s is for %s, %s", c.ID, node, only),
			})
		}
	}
	return found
}

// compareStanding compares what the clause is, apart from its terms: protected,
// and enforced.
func (d *duel) compareStanding() {
	switch {
	case d.mine.Protected:
	case d.theirs.Protected:
		d.add(d.mine.Field("protected"), "write protected: true", "clause %s is not protected, so waivers and overrides can lift it", d.mine.ID)
	case d.mine.ID != d.theirs.ID:
		d.add(d.mine.Pos(), "write protected: true", "clause %s is not protected, so waivers and overrides can lift it, which those for clause %s of the base would not", d.mine.ID, d.theirs.ID)
	default:
		d.compareOverrides()
	}
	mine, theirs := d.derived.modeOf(d.mine.Mode), d.base.modeOf(d.theirs.Mode)
	if strictness(mine) < strictness(theirs) {
		pos := d.mine.Field("mode")
		if d.mine.Mode == "" {
			pos = d.derived.Enforcement.Field("mode")
		}
		d.add(pos, "write mode: "+theirs, "clause %s is in mode %s, in the base in mode %s", d.mine.ID, mine, theirs)
	}
}

// compareOverrides compares what overrides may grant; they apply where neither
// clause is protected.
func (d *duel) compareOverrides() {
	mine, theirs := &d.derived.Emergency, &d.base.Emergency
	for i, what := range mine.May {
		if !slices.Contains(theirs.May, what) {
			d.add(mine.Item("may", i), "remove "+what, "overrides may grant %s, in the base they may not", what)
		}
	}
	if theirs.Max != "" && len(mine.May) > 0 && (mine.Max == "" || keeps(mine.Max) > keeps(theirs.Max)) {
		d.add(mine.Field("max"), "write max: "+theirs.Max, "%s", than("emergency.max", mine.Max, theirs.Max))
	}
}

func (d *duel) compareOperations() {
	for i, operation := range operationsOf(d.mine) {
		if !slices.Contains(operationsOf(d.theirs), operation) {
			d.add(d.mine.Item("operations", i), "remove "+operation+" from the operations",
				"clause %s permits to %s, the base only to %s", d.mine.ID, operation, listed(operationsOf(d.theirs)))
		}
	}
}

func (d *duel) comparePurposes() {
	operations := operationsOf(d.mine)
	if !slices.Contains(operations, decision.Read) && !slices.Contains(operations, decision.Export) {
		return // collecting needs no purpose
	}
	permitted := d.theirs.Purposes
	if len(permitted) == 0 {
		permitted = d.base.Purposes
	} else if len(d.mine.Purposes) == 0 {
		d.add(d.mine.Pos(), "add purposes: ["+listed(permitted)+"]", "clause %s permits any purpose and none, the base only %s", d.mine.ID, listed(permitted))
		return
	}
	if len(d.mine.Purposes) == 0 {
		for i, purpose := range d.derived.Purposes {
			if !slices.Contains(permitted, purpose) {
				d.add(d.derived.Item("purposes", i), "name the purposes in clause "+d.mine.ID,
					"purpose %s is new, and clause %s permits any", purpose, d.mine.ID)
			}
		}
		return
	}
	for i, purpose := range d.mine.Purposes {
		if !slices.Contains(permitted, purpose) {
			d.add(d.mine.Item("purposes", i), "remove "+purpose+" from the purposes",
				"clause %s permits purpose %s, the base only %s", d.mine.ID, purpose, listed(permitted))
		}
	}
}

func (d *duel) compareRetention() {
	if exceeds(d.mine.Retention, d.theirs.Retention) {
		d.add(d.mine.Field("retention"), "write retention: "+d.theirs.Retention+", or shorter",
			"clause %s keeps it for %s, the base for at most %s", d.mine.ID, orUnlimited(d.mine.Retention), d.theirs.Retention)
	}
}

// exceeds reports whether one retention is longer than another; absent is
// unlimited.
func exceeds(mine, theirs string) bool {
	return theirs != "" && (mine == "" || keeps(mine) > keeps(theirs))
}

func orUnlimited(s string) string {
	if s == "" {
		return "an unlimited time"
	}
	return s
}

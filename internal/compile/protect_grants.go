package compile

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/diag"
)

// compareWaivers reports waivers of the derived clause that grant more than the
// base's clause and no waiver of the base grants as well. A protected clause has
// none that count.
func (d *duel) compareWaivers() {
	if d.mine.Protected {
		return
	}
	for i := range d.derived.Waivers {
		w := &d.derived.Waivers[i]
		if w.Clause != d.mine.ID || !d.exceedsTerms(&w.Grants) {
			continue
		}
		as := func(old charter.Waiver) bool { return old.Clause == d.theirs.ID && d.waives(&old, w) }
		if !slices.ContainsFunc(d.base.Waivers, as) {
			d.add(w.Pos(), "remove the waiver", "waiver %s grants clause %s more than clause %s and its waivers in the base", w.ID, d.mine.ID, d.theirs.ID)
		}
	}
}

// exceedsTerms reports whether grants go beyond the terms of the base's clause.
func (d *duel) exceedsTerms(g *charter.Grants) bool {
	purposes := d.theirs.Purposes
	if len(purposes) == 0 {
		purposes = d.base.Purposes
	}
	return g.Retention != "" && exceeds(g.Retention, d.theirs.Retention) ||
		!subset(g.Purposes, purposes) || !subset(g.Operations, operationsOf(d.theirs))
}

// waives reports whether a waiver of the base grants all that w does, wherever
// and whenever w does.
func (d *duel) waives(old, w *charter.Waiver) bool {
	none := &diag.List{}
	purposes, operations := slices.Concat(old.Grants.Purposes, d.theirs.Purposes), slices.Concat(old.Grants.Operations, operationsOf(d.theirs))
	if len(d.theirs.Purposes) == 0 {
		purposes = d.base.Purposes
	}
	return d.derived.nodeSet(w.Source, w.Nodes, none).within(d.base.nodeSet(old.Source, old.Nodes, none)) &&
		!instant(w.From).Before(instant(old.From)) && !instant(w.Until).After(instant(old.Until)) &&
		(w.Grants.Retention == "" || !exceeds(w.Grants.Retention, d.theirs.Retention) ||
			old.Grants.Retention != "" && !exceeds(w.Grants.Retention, old.Grants.Retention)) &&
		subset(w.Grants.Purposes, purposes) && subset(w.Grants.Operations, operations)
}

// instant reads a time that package charter has accepted; absent is the
// beginning of time.
func instant(text string) time.Time {
	t, err := charter.ParseTime(text)
	if err != nil {
		return time.Time{}
	}
	return t
}

// compareLimits reports limits of the base on its clause that no limit of the
// derived charter puts on the derived clause.
func (d *duel) compareLimits() {
	for i := range d.base.Limits {
		old := &d.base.Limits[i]
		if !limits(old, d.theirs) {
			continue
		}
		kept := func(l charter.Limit) bool { return limits(&l, d.mine) && d.bounds(&l, old) }
		if slices.ContainsFunc(d.derived.Limits, kept) {
			continue
		}
		pos := d.mine.Pos()
		if k := slices.IndexFunc(d.derived.Limits, func(l charter.Limit) bool { return l.ID == old.ID }); k >= 0 {
			pos = d.derived.Limits[k].Pos()
		}
		d.add(pos, "keep limit "+old.ID+" as it is in the base, or stricter", "limit %s (%s) no longer applies to clause %s as in the base", old.ID, old.Rate, d.mine.ID)
	}
}

// bounds reports whether a limit is at least as strict as one of the base, for
// at least the same roles and nodes.
func (d *duel) bounds(l, old *charter.Limit) bool {
	none := &diag.List{}
	roles := len(l.Roles) == 0 || len(old.Roles) > 0 && subset(old.Roles, l.Roles)
	return roles && slower(l.Rate, old.Rate) &&
		d.base.nodeSet(old.Source, old.Nodes, none).within(d.derived.nodeSet(l.Source, l.Nodes, none))
}

// slower reports whether one rate, such as 100/1m, never permits what another
// does not: no more requests in no less time.
func slower(mine, theirs string) bool {
	n, per := rateOf(mine)
	m, span := rateOf(theirs)
	return n <= m && per >= span
}

func rateOf(text string) (int, time.Duration) {
	count, per, _ := strings.Cut(text, "/")
	n, err := strconv.Atoi(count)
	if err != nil {
		n = 1<<31 - 1
	}
	return n, keeps(per)
}

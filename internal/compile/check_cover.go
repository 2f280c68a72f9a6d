package compile

import (
	"slices"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/diag"
	"github.com/westworld-charter/charter/internal/space"
)

// floatingLimit is the number of globs without a literal prefix that a charter
// may hold before it is told what they cost.
const floatingLimit = 100

// floatingCost is what one glob without a literal prefix adds to a decision, in
// microseconds: an estimate of the slope of the decision time over the number of
// such globs, for a metric that passes the guard expression in front of them.
const floatingCost = 0.5

// crowdLimit is the number of globs that may begin with the same literal prefix,
// or with none. For a name with that prefix every one of them has to be tried,
// in every decision and in every comparison below.
const crowdLimit = 4096

// checkCrowds reports prefixes that more globs share than can be told apart in
// time. Other checks are not done then.
func (t *terrain) checkCrowds(list *diag.List) {
	crowds := map[string]int{}
	t.eachGlob(func(g space.Glob, at func(int) diag.Pos, i int) {
		if g.Exact() {
			return
		}
		crowds[g.Prefix()]++
		if crowds[g.Prefix()] == crowdLimit+1 {
			list.Errorf(at(i), codeTooManyGlobs, "more than %d patterns begin with %q and a star; every decision about such a name would try them all", crowdLimit, g.Prefix()).
				Fix = "give them longer literal prefixes, or list exact names"
		}
	})
}

// eachGlob visits the patterns of clauses, then those of forbidden entries; at(i)
// is where a pattern is written.
func (t *terrain) eachGlob(visit func(g space.Glob, at func(i int) diag.Pos, i int)) {
	for i, c := range t.claims {
		visit(c.glob, t.claimPos, i)
	}
	name := func(i int) diag.Pos { return t.Forbidden[t.bans[i].entry].Item("match", t.bans[i].item) }
	for i, b := range t.bans {
		visit(b.glob, name, i)
	}
	label := func(i int) diag.Pos { return t.Forbidden[t.tags[i].entry].Item("labels", t.tags[i].item) }
	for i, b := range t.tags {
		visit(b.glob, label, i)
	}
}

// checkCovered reports clauses that forbidden entries cover. A pattern is
// covered by several entries only if one of them covers it (see
// [space.Glob.Within]), so that one can be named.
func (t *terrain) checkCovered(list *diag.List) {
	for from := 0; from < len(t.claims); {
		to, covered, by := from, 0, -1
		for ; to < len(t.claims) && t.claims[to].clause == t.claims[from].clause; to++ {
			if b := t.bannedBy(t.claims[to].glob); b >= 0 {
				covered++
				by = b
			}
		}
		clause := t.clauseOf(from)
		if covered == to-from {
			d := list.Errorf(clause.Pos(), codeCoveredByForbidden, "clause %s can never allow anything: all it matches is forbidden by %s",
				clause.ID, t.Forbidden[t.bans[by].entry].ID)
			d.Related = t.banRelated(by)
			d.Fix = "remove the clause, or narrow the forbidden entry"
		} else if covered > 0 {
			t.reportCovered(from, to, list)
		}
		from = to
	}
}

func (t *terrain) reportCovered(from, to int, list *diag.List) {
	for i := from; i < to; i++ {
		if by := t.bannedBy(t.claims[i].glob); by >= 0 {
			d := list.Warnf(t.claimPos(i), codeCoveredByForbidden, "clause %s can never allow %s: forbidden entry %s covers it",
				t.clauseOf(i).ID, quoted(t.claims[i].glob), t.Forbidden[t.bans[by].entry].ID)
			d.Related = t.banRelated(by)
			d.Fix = "remove the pattern"
		}
	}
}

func (t *terrain) banRelated(i int) []diag.Related {
	f := &t.Forbidden[t.bans[i].entry]
	return []diag.Related{{
		Pos:     f.Item("match", t.bans[i].item),
		Message: "forbidden entry " + f.ID + " covers it with " + quoted(t.bans[i].glob),
	}}
}

// checkRedundant reports patterns that add nothing to what other patterns of
// the same entry say.
func (t *terrain) checkRedundant(list *diag.List) {
	for i, c := range t.claims {
		wider := -1
		t.claimed.Match(c.glob.String(), func(j int) bool {
			if j != i && t.claims[j].clause == c.clause && c.glob.String() != t.claims[j].glob.String() {
				wider = j
			}
			return wider < 0
		})
		if wider < 0 || t.contested(i, wider) {
			continue
		}
		d := list.Warnf(t.claimPos(i), codeRedundantPattern, "%s of clause %s adds nothing: %s covers it",
			quoted(c.glob), t.clauseOf(i).ID, quoted(t.claims[wider].glob))
		d.Related = []diag.Related{{Pos: t.claimPos(wider), Message: "the wider pattern"}}
		d.Fix = "remove the narrower pattern"
	}
	t.checkRedundantBans("match", t.bans, t.banned, list)
	t.checkRedundantBans("labels", t.tags, t.tagged, list)
}

// contested reports whether the narrow claim of a clause wins names that the
// wide claim of the same clause would lose to another clause.
func (t *terrain) contested(narrow, wide int) bool {
	low, high := t.claims[wide].rank, t.claims[narrow].rank
	found := false
	t.claimed.Intersecting(t.claims[narrow].glob, func(j int) bool {
		rank := t.claims[j].rank
		found = rank >= low && rank <= high && t.claims[j].clause != t.claims[narrow].clause
		return !found
	})
	return found
}

func (t *terrain) checkRedundantBans(field string, bans []ban, index *space.Index, list *diag.List) {
	for _, b := range bans {
		wider := -1
		index.Match(b.glob.String(), func(j int) bool {
			if bans[j].entry == b.entry && bans[j].glob.String() != b.glob.String() {
				wider = j
			}
			return wider < 0
		})
		if wider < 0 {
			continue
		}
		f := &t.Forbidden[b.entry]
		d := list.Warnf(f.Item(field, b.item), codeRedundantForbidden, "%s of forbidden entry %s adds nothing: %s covers it",
			quoted(b.glob), f.ID, quoted(bans[wider].glob))
		d.Related = []diag.Related{{Pos: f.Item(field, bans[wider].item), Message: "the wider pattern"}}
		d.Fix = "remove the narrower pattern"
	}
}

// checkFloating says what globs without a literal prefix cost, once there are
// many of them.
func (t *terrain) checkFloating(list *diag.List) {
	n, last, where := 0, 0, t.claimPos
	t.eachGlob(func(g space.Glob, at func(int) diag.Pos, i int) {
		if g.Prefix() == "" {
			n, last, where = n+1, i, at
		}
	})
	if n > floatingLimit {
		list.Warnf(where(last), codeTooManyFloating, "%d patterns begin with a star; each adds about %.1f µs to every decision, together %.0f µs",
			n, floatingCost, floatingCost*float64(n)).Fix = "begin patterns with the literal text that the names have in common"
	}
}

// checkReach reports clauses that no role may use. Other clauses never make one
// unreachable: a more specific pattern lacks some name of a less specific one,
// and so does any union of them (see [space.Glob.Within]). A charter without
// roles is meant to be extended and is left alone.
func (t *terrain) checkReach(list *diag.List) {
	if len(t.Roles) == 0 {
		return
	}
	granted := map[string][]string{}
	for i := range t.Waivers {
		granted[t.Waivers[i].Clause] = append(granted[t.Waivers[i].Clause], t.Waivers[i].Grants.Operations...)
	}
	for _, c := range t.clauses {
		if !t.reached(c, granted[c.ID]) {
			list.Warnf(c.Pos(), codeUnreachableClause, "no role may %s anything of clause %s (category %s, level %s)",
				listed(operationsOf(c)), c.ID, c.Category, c.Access).
				Fix = "give a role the category or the level, or remove the clause"
		}
	}
}

// reached reports whether some role may perform an operation of the clause, or
// one that is granted to it.
func (t *terrain) reached(c *charter.Clause, granted []string) bool {
	for _, operation := range append(slices.Clone(operationsOf(c)), granted...) {
		for i := range t.Roles {
			if mayReach(&t.Roles[i], operation, c) {
				return true
			}
		}
	}
	return false
}

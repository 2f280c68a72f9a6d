package compile

import (
	"fmt"

	"github.com/westworld-charter/charter/internal/diag"
	"github.com/westworld-charter/charter/internal/space"
)

// checkProtection reports whatever in the derived charter allows more than its
// base wherever a protected clause of the base matches. docs/design/protection.md
// states the rule. Both charters are read as they decide: it does not matter
// which field of the derived charter brought a relaxation about.
func checkProtection(derived, base *terrain, list *diag.List) {
	p := &protection{derived: derived, base: base, list: list, memo: map[[2]int][]relaxation{}, seen: map[string]bool{}, buckets: map[int]*bucket{}}
	p.guards = p.protectedClaims()
	p.checkForbidden()
	if len(p.guards) == 0 {
		return
	}
	p.guarded = space.NewIndex(globsOf(p.guards, func(i int) space.Glob { return base.claims[i].glob }))
	p.tags = p.openTags()
	p.checkCharter()
	p.checkSelections()
	p.checkUncovered()
	p.checkUnselected()
}

// maxPairs bounds the pairs of clauses that one comparison looks at. Patterns
// with a literal prefix meet few others; only thousands of patterns without one
// get there.
const maxPairs = 1 << 22

// maxUnproved is the number of questions that may exceed their budget before
// the comparison stops: one is already an error.
const maxUnproved = 8

// protection is one comparison of a charter with its base.
type protection struct {
	derived, base *terrain
	list          *diag.List
	guards        []int // claims of protected clauses of the base
	guarded       *space.Index
	tags          []int                   // enforced label bans of the base that the derived charter lacks
	memo          map[[2]int][]relaxation // by clause of derived and of base
	seen          map[string]bool         // relaxations reported, by place and text
	buckets       map[int]*bucket         // by their first claim
	unproved      int
}

// relaxation is one way in which a clause of the derived charter permits more
// than a clause of the base.
type relaxation struct {
	pos  diag.Pos
	what string // a sentence: "clause x keeps data for 90d, the base for 30d"
	fix  string
	// nodes is what the base does not cover, when that is the relaxation.
	nodes nodeSet
}

func (p *protection) protectedClaims() []int {
	var all []int
	for i := range p.base.claims {
		if p.base.clauseOf(i).Protected {
			all = append(all, i)
		}
	}
	return all
}

// checkSelections compares, for every pattern of the derived charter, the clause
// it selects with the clauses that the base selects for the same names.
func (p *protection) checkSelections() {
	pairs := 0
	inBase, inDerived := common(p.derived, p.base), common(p.base, p.derived)
	for i, mine := range p.derived.claims {
		if p.unproved >= maxUnproved || pairs >= maxPairs {
			break
		}
		p.base.claimed.Intersecting(mine.glob, func(j int) bool {
			theirs := &p.base.claims[j]
			// A more specific pattern that stands in both charters decides in
			// both, so that the less specific one does not.
			if mine.rank > theirs.rank && inBase[i] || theirs.rank > mine.rank && inDerived[j] {
				pairs++
				return pairs < maxPairs
			}
			same := p.base.texts[theirs.glob.String()]
			if same[0] != j {
				return true // claims of one text are compared together
			}
			pairs += 1 + p.compare(i, p.rivals(same))
			return p.unproved < maxUnproved && pairs < maxPairs
		})
	}
	if pairs >= maxPairs {
		p.notProved(p.guards[0])
	}
}

// common tells of every claim of a charter whether its pattern stands in another
// charter too.
func common(t, other *terrain) []bool {
	all := make([]bool, len(t.claims))
	for i := range t.claims {
		all[i] = len(other.texts[t.claims[i].glob.String()]) > 0
	}
	return all
}

// rivals is the bucket of claims of the base with one text.
func (p *protection) rivals(claims []int) *bucket {
	if p.buckets[claims[0]] == nil {
		b := &bucket{}
		for _, j := range claims {
			b.add(p.base, j)
		}
		p.buckets[claims[0]] = b
	}
	return p.buckets[claims[0]]
}

// compare reports how claim i of the derived charter relaxes the claims of a
// bucket of the base, if there is a name where both decide under a protected
// clause. It returns how many times the work of an unrelated pair that was.
func (p *protection) compare(i int, b *bucket) int {
	const compared, searched = 16, 64
	clause := p.derived.claims[i].clause
	near := b.near(p.base, p.derived.nodes[clause])
	cost := compared * len(near)
	for _, j := range near {
		for _, r := range p.terms(clause, p.base.claims[j].clause) {
			if !p.seen[r.key()] {
				cost += searched
				p.underGuards(i, j, nil, func(guard int, metric string) { p.report(r, guard, metric) })
			}
		}
	}
	for _, r := range p.nodesBeyond(clause, b, near) {
		if !p.seen[r.key()] {
			cost += searched
			p.underGuards(i, b.claims[0], p.tied(b, r.nodes), func(guard int, metric string) { p.report(r, guard, metric) })
		}
	}
	return cost
}

// terms compares two clauses once.
func (p *protection) terms(mine, theirs int) []relaxation {
	pair := [2]int{mine, theirs}
	found, done := p.memo[pair]
	if !done {
		found = p.relaxations(mine, theirs)
		p.memo[pair] = found
	}
	return found
}

func (r relaxation) key() string { return r.pos.String() + "\x00" + r.what }

// tied returns the globs of the base that tie with those of the bucket and whose
// clauses cover the nodes: there they decide instead.
func (p *protection) tied(b *bucket, nodes nodeSet) []space.Glob {
	var spare []space.Glob
	mine := p.base.claims[b.claims[0]]
	p.base.claimed.Intersecting(mine.glob, func(k int) bool {
		c := p.base.claims[k]
		if c.glob.String() != mine.glob.String() && c.rank == mine.rank && nodes.within(p.base.nodes[c.clause]) {
			spare = append(spare, c.glob)
		}
		return true
	})
	return spare
}

// underGuards calls found with the first protected claim of the base under which
// the derived charter decides by claim i where the base decides by claim j.
func (p *protection) underGuards(i, j int, spare []space.Glob, found func(guard int, metric string)) {
	mine, theirs := p.derived.claims[i].glob, p.base.claims[j].glob
	p.eachGuard(j, []space.Glob{mine, theirs}, func(guard int) bool {
		all := []space.Glob{mine, theirs, p.base.claims[guard].glob}
		metric, verdict := p.witness(all, spare, func(name string) (space.Glob, bool) {
			if g, ok := p.derived.overrules(i, name); ok {
				return g, true
			}
			return p.base.overrules(j, name)
		})
		return p.settle(guard, metric, verdict, found)
	})
}

// eachGuard visits the protected claims of the base that meet all of globs,
// beginning with claim first if it is one; none is first when it is negative.
func (p *protection) eachGuard(first int, globs []space.Glob, visit func(guard int) bool) {
	if first >= 0 && p.base.clauseOf(first).Protected && !visit(first) {
		return
	}
	p.guarded.Intersecting(globs[0], func(k int) bool {
		guard := p.guards[k]
		if guard == first {
			return true
		}
		for _, g := range globs[1:] {
			if !space.Intersects(g, p.base.claims[guard].glob) {
				return true
			}
		}
		return visit(guard)
	})
}

// settle ends a search for a guard when it has found one, or has failed too
// often; it returns whether to go on.
func (p *protection) settle(guard int, metric string, verdict space.Verdict, found func(guard int, metric string)) bool {
	switch verdict {
	case space.Found:
		found(guard, metric)
		return false
	case space.Unknown:
		p.notProved(guard)
		return p.unproved < maxUnproved
	default:
		return true
	}
}

// overrules returns the widest glob by which the charter decides otherwise than
// by claim i for a name that the claim matches: a forbidden entry, or a more
// specific pattern.
func (t *terrain) overrules(i int, name string) (space.Glob, bool) {
	if b := t.denying(name); b >= 0 {
		return t.bans[b].glob, true
	}
	best := -1
	t.claimed.Match(name, func(j int) bool {
		if t.claims[j].rank > t.claims[i].rank && (best < 0 || t.claims[j].rank < t.claims[best].rank) {
			best = j
		}
		return true
	})
	if best < 0 {
		return space.Glob{}, false
	}
	return t.claims[best].glob, true
}

// maxCuts bounds the globs that one question takes away one by one.
const maxCuts = 256

// witness looks for a name that all of all match and none of none, and of which
// cut says nothing. Cut names a glob that takes a name away; adding only those
// that matter keeps the questions small in a charter of many patterns.
func (p *protection) witness(all, none []space.Glob, cut func(name string) (space.Glob, bool)) (string, space.Verdict) {
	for range maxCuts {
		name, verdict := space.Witness(all, none)
		if verdict != space.Found {
			return "", verdict
		}
		g, taken := cut(name)
		if !taken {
			return name, space.Found
		}
		none = append(none, g)
	}
	return "", space.Unknown
}

// report reports a relaxation of what guard protects, once.
func (p *protection) report(r relaxation, guard int, metric string) {
	if p.seen[r.key()] {
		return
	}
	p.seen[r.key()] = true
	m := p.base.clauseOf(guard)
	related := []diag.Related{{Pos: p.base.claimPos(guard), Message: "clause " + m.ID + " is protected here"}}
	pos := p.at(r.pos)
	if pos.File != p.derived.Pos().File { // what decides now is inherited: something was removed
		related = append(related, diag.Related{Pos: pos, Message: "this decides now"})
		pos, r.fix = p.derived.Field("remove"), "keep what was removed, or "+r.fix
	}
	d := p.list.Errorf(pos, codeRelaxesProtected, "protected clause %s is relaxed for metric %q: %s", m.ID, metric, r.what)
	d.Related, d.Fix = related, r.fix
}

func (p *protection) notProved(guard int) {
	p.unproved++
	m := p.base.clauseOf(guard)
	d := p.list.Errorf(p.at(diag.Pos{}), codeNotProved, "it could not be proved that protected clause %s is kept: the patterns that overlap it are too many or too entangled", m.ID)
	d.Related = []diag.Related{{Pos: p.base.claimPos(guard), Message: "clause " + m.ID + " is protected here"}}
	d.Fix = "use patterns with a longer literal prefix and fewer stars"
}

// at is pos, or the derived charter as a whole when there is no such place.
func (p *protection) at(pos diag.Pos) diag.Pos {
	if pos.Line == 0 {
		return p.derived.Pos()
	}
	return pos
}

func than(field, mine, theirs string) string {
	return fmt.Sprintf("%s is %s, in the base %s", field, orAbsent(mine), orAbsent(theirs))
}

func orAbsent(s string) string {
	if s == "" {
		return "absent"
	}
	return s
}

package compile

import (
	"slices"

	"github.com/westworld-charter/charter/internal/diag"
	"github.com/westworld-charter/charter/internal/space"
)

// checkTies reports pairs of clauses between which specificity cannot choose.
//
// Two exact names tie when they are the same. Two globs tie when they have the
// same rank and meet; then their prefixes have the same length, so they are the
// same, and two globs with a common prefix meet unless their suffixes contradict
// each other. Sorting claims by prefix, literals and suffix therefore leads to
// the rivals of a claim without comparing it with the others.
func (t *terrain) checkTies(list *diag.List) {
	strata := make(map[stratum]*layer, len(t.claims))
	for i, c := range t.claims {
		key := stratum{exact: c.glob.Exact(), prefix: c.glob.Prefix(), literals: c.glob.Literals()}
		if strata[key] == nil {
			strata[key] = &layer{}
		}
		strata[key].claims = append(strata[key].claims, i)
	}
	seen := map[[2]int]bool{}
	for i, c := range t.claims {
		l := strata[stratum{exact: c.glob.Exact(), prefix: c.glob.Prefix(), literals: c.glob.Literals()}]
		if len(l.claims) < 2 {
			continue
		}
		if j := l.rival(t, i); j >= 0 && !seen[[2]int{i, j}] {
			seen[[2]int{i, j}], seen[[2]int{j, i}] = true, true
			t.reportTie(i, j, list)
		}
	}
}

// stratum is what globs of equal rank that can meet have in common.
type stratum struct {
	exact    bool
	prefix   string
	literals int
}

// layer is the claims of one stratum, divided by suffix.
type layer struct {
	claims   []int
	bySuffix map[string]*bucket
	lengths  map[int]bool // of the suffixes
}

// bucket is the claims of a layer with one suffix: they all meet.
type bucket struct {
	claims []int // the first of each clause
	loose  []int // those of which no node can be excluded
	nodes  *space.Index
	owner  []int // of each glob of nodes, the claim
}

// rival returns a claim of another clause that ties with claim i, -1 for none.
func (l *layer) rival(t *terrain, i int) int {
	if l.bySuffix == nil {
		l.divide(t)
	}
	suffix := suffixOf(t.claims[i].glob)
	for n := 0; n <= len(suffix); n++ {
		if !l.lengths[n] {
			continue
		}
		if b := l.bySuffix[suffix[len(suffix)-n:]]; b != nil {
			if j := b.rival(t, i); j >= 0 {
				return j
			}
		}
	}
	return -1
}

// suffixOf is the literal end of a glob; exact names of a stratum are all alike.
func suffixOf(g space.Glob) string {
	if g.Exact() {
		return ""
	}
	text := g.String()
	at := len(text)
	for at > 0 && text[at-1] != '*' {
		at--
	}
	return text[at:]
}

func (l *layer) divide(t *terrain) {
	l.bySuffix, l.lengths = map[string]*bucket{}, map[int]bool{}
	for _, i := range l.claims {
		suffix := suffixOf(t.claims[i].glob)
		b := l.bySuffix[suffix]
		if b == nil {
			b = &bucket{}
			l.bySuffix[suffix], l.lengths[len(suffix)] = b, true
		}
		b.add(t, i)
	}
}

// add puts a claim into the bucket, unless one of the same clause is there.
// Claims come in document order, so those of one clause are neighbours.
func (b *bucket) add(t *terrain, i int) {
	if n := len(b.claims); n > 0 && t.claims[b.claims[n-1]].clause == t.claims[i].clause {
		return
	}
	b.claims = append(b.claims, i)
	if t.nodes[t.claims[i].clause].loose() {
		b.loose = append(b.loose, i)
	}
}

// near returns the claims whose nodes can be among nodes.
func (b *bucket) near(t *terrain, nodes nodeSet) []int {
	if nodes.loose() || len(b.claims) == len(b.loose) {
		return b.claims
	}
	found := slices.Clone(b.loose)
	b.indexNodes(t)
	for _, g := range nodes.globs {
		b.nodes.Intersecting(g, func(k int) bool {
			found = append(found, b.owner[k])
			return true
		})
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// rival returns a claim of the bucket that belongs to another clause than claim
// i and whose nodes can be those of i.
func (b *bucket) rival(t *terrain, i int) int {
	mine := t.claims[i].clause
	other := func(j int) bool { return t.claims[j].clause != mine }
	candidates := b.loose
	if t.nodes[mine].loose() {
		candidates = b.claims
	}
	for _, j := range candidates { // all but at most one are of other clauses
		if other(j) {
			return j
		}
	}
	found := -1
	if t.nodes[mine].loose() || len(b.claims) < 2 && !other(b.claims[0]) {
		return found
	}
	b.indexNodes(t)
	for _, g := range t.nodes[mine].globs {
		b.nodes.Intersecting(g, func(k int) bool {
			if other(b.owner[k]) {
				found = b.owner[k]
			}
			return found < 0
		})
		if found >= 0 {
			break
		}
	}
	return found
}

func (b *bucket) indexNodes(t *terrain) {
	if b.nodes != nil {
		return
	}
	var globs []space.Glob
	for _, j := range b.claims {
		for _, g := range t.nodes[t.claims[j].clause].globs {
			globs, b.owner = append(globs, g), append(b.owner, j)
		}
	}
	b.nodes = space.NewIndex(globs)
}

// reportTie reports a tie at the later of the two claims, or at the one of this
// charter when the other one is inherited.
func (t *terrain) reportTie(i, j int, list *diag.List) {
	own := func(k int) bool { return t.claimPos(k).File == t.Pos().File }
	if own(i) == own(j) && i < j || !own(i) && own(j) {
		i, j = j, i
	}
	metric, _ := space.Witness([]space.Glob{t.claims[i].glob, t.claims[j].glob}, nil)
	a, b := t.clauseOf(i), t.clauseOf(j)
	d := list.Errorf(t.claimPos(i), codeEqualSpecificity, "clauses %s and %s both select metric %q, and neither %q nor %q is more specific",
		a.ID, b.ID, metric, t.claims[i].glob, t.claims[j].glob)
	if t.claims[i].glob.String() == t.claims[j].glob.String() {
		d.Message = "clauses " + a.ID + " and " + b.ID + " both select " + quoted(t.claims[i].glob)
		if !t.claims[i].glob.Exact() {
			d.Message += ", such as metric \"" + metric + "\""
		}
	}
	d.Related = []diag.Related{{Pos: t.claimPos(j), Message: "clause " + b.ID + " selects it here"}}
	d.Fix = "make one pattern longer, move it to one clause, or give the clauses nodes that exclude each other"
}

func quoted(g space.Glob) string { return "\"" + g.String() + "\"" }

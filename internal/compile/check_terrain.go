package compile

import (
	"math"
	"strings"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/diag"
	"github.com/westworld-charter/charter/internal/space"
)

// terrain is a charter with its patterns parsed and indexed: who claims which
// metric names, and which are forbidden.
type terrain struct {
	*charter.Charter
	clauses []*charter.Clause
	nodes   []nodeSet // per clause
	claims  []claim
	claimed *space.Index     // over claims
	texts   map[string][]int // claims by the text of their pattern
	bans    []ban            // forbidden metric names
	banned  *space.Index     // over bans
	tags    []ban            // forbidden label names
	tagged  *space.Index     // over tags
	groups  map[string]*charter.Group
}

// claim is one pattern of one clause.
type claim struct {
	glob         space.Glob
	rank         int // specificity of glob
	clause, item int
}

// ban is one metric or label pattern of one forbidden entry. Enforced bans deny;
// the others only report.
type ban struct {
	glob        space.Glob
	entry, item int
	enforced    bool
}

// newTerrain parses the patterns of a charter. Those that cannot be parsed are
// reported as errors.
func newTerrain(c *charter.Charter, list *diag.List) *terrain {
	clauses := c.AllClauses()
	t := &terrain{
		Charter: c, clauses: clauses, nodes: make([]nodeSet, 0, len(clauses)), claims: make([]claim, 0, len(clauses)),
		texts: make(map[string][]int, len(clauses)), groups: map[string]*charter.Group{},
	}
	for i := range c.Nodes.Groups {
		g := &c.Nodes.Groups[i]
		t.groups[g.Name] = g
		parseAll(g.Source, "match", g.Match, list)
	}
	for i, clause := range t.clauses {
		t.nodes = append(t.nodes, t.nodeSet(clause.Source, clause.Nodes, list))
		for item, glob := range parseAll(clause.Source, "match", clause.Match, list) {
			t.texts[glob.String()] = append(t.texts[glob.String()], len(t.claims))
			t.claims = append(t.claims, claim{glob: glob, rank: specificity(glob), clause: i, item: item})
		}
	}
	for i := range c.Forbidden {
		f := &c.Forbidden[i]
		t.bans = append(t.bans, t.newBans(i, "match", f.Match, list)...)
		t.tags = append(t.tags, t.newBans(i, "labels", f.Labels, list)...)
	}
	for i := range c.Waivers {
		t.nodeSet(c.Waivers[i].Source, c.Waivers[i].Nodes, list)
	}
	for i := range c.Limits {
		t.nodeSet(c.Limits[i].Source, c.Limits[i].Nodes, list)
	}
	t.claimed = space.NewIndex(globsOf(t.claims, func(c claim) space.Glob { return c.glob }))
	t.banned = space.NewIndex(globsOf(t.bans, func(b ban) space.Glob { return b.glob }))
	t.tagged = space.NewIndex(globsOf(t.tags, func(b ban) space.Glob { return b.glob }))
	return t
}

func globsOf[T any](all []T, glob func(T) space.Glob) []space.Glob {
	globs := make([]space.Glob, len(all))
	for i := range all {
		globs[i] = glob(all[i])
	}
	return globs
}

func (t *terrain) newBans(entry int, field string, patterns []string, list *diag.List) []ban {
	f := &t.Forbidden[entry]
	var all []ban
	for item, glob := range parseAll(f.Source, field, patterns, list) {
		all = append(all, ban{glob: glob, entry: entry, item: item, enforced: t.enforces(f)})
	}
	return all
}

// parseAll parses the patterns of one field; one that cannot be parsed is
// reported and left as a glob that matches nothing.
func parseAll(at charter.Source, field string, patterns []string, list *diag.List) []space.Glob {
	globs := make([]space.Glob, len(patterns))
	for i, pattern := range patterns {
		glob, err := space.ParseGlob(pattern)
		if err != nil {
			list.Errorf(at.Item(field, i), codeBadGlob, "%v", err)
		}
		globs[i] = glob
	}
	return globs
}

// enforces reports whether a forbidden entry denies. Warn and shadow mode never
// weaken a protected one.
func (t *terrain) enforces(f *charter.Forbidden) bool {
	return f.Protected || t.modeOf(f.Mode) == decision.Enforce
}

// modeOf is the mode of an entry that says mode itself, or nothing.
func (t *terrain) modeOf(mode string) string {
	if mode == "" {
		return t.Enforcement.Mode
	}
	return mode
}

// specificity orders globs as the selection of clauses does: higher wins.
func specificity(g space.Glob) int {
	if g.Exact() {
		return math.MaxInt
	}
	return g.Rank()
}

// bannedBy returns the enforced ban that covers all of glob, -1 for none. Asked
// with an exact glob it tells whether that name is forbidden.
func (t *terrain) bannedBy(glob space.Glob) int { return t.denying(glob.String()) }

// denying returns the first enforced ban that matches name, -1 for none.
func (t *terrain) denying(name string) int {
	first := -1
	t.banned.Match(name, func(i int) bool {
		if t.bans[i].enforced && (first < 0 || i < first) {
			first = i
		}
		return true
	})
	return first
}

// claimPos is where a claim is written.
func (t *terrain) claimPos(i int) diag.Pos {
	return t.clauseOf(i).Item("match", t.claims[i].item)
}

// clauseOf is the clause of a claim.
func (t *terrain) clauseOf(i int) *charter.Clause { return t.clauses[t.claims[i].clause] }

// operationsOf is what a clause permits; absent means collect and read.
func operationsOf(c *charter.Clause) []string {
	if len(c.Operations) == 0 {
		return []string{decision.Collect, decision.Read}
	}
	return c.Operations
}

// mayReach reports whether a role has the right for an operation on a clause,
// apart from claims and the clause's own conditions. Export also needs the right
// to read.
func mayReach(r *charter.Role, operation string, c *charter.Clause) bool {
	switch operation {
	case decision.Collect:
		return grantsName(r.Collects, c.Category)
	case decision.Read:
		return grantsName(r.Reads, c.Access)
	default:
		return grantsName(r.Reads, c.Access) && grantsName(r.Exports, c.Access)
	}
}

// grantsName reports whether a list of a role contains name or stands for all.
func grantsName(list []string, name string) bool {
	for _, have := range list {
		if have == name || have == everything {
			return true
		}
	}
	return false
}

const everything = "*"

// listed joins names for a message.
func listed(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

package exportconfig

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/diag"
	"github.com/westworld-charter/charter/internal/engine"
	"github.com/westworld-charter/charter/internal/space"
)

// builder makes a plan of a charter and of what the engine says.
type builder struct {
	*Plan
	policy  *engine.Policy
	ordered []rule         // most specific first
	asked   map[string]int // treatment by clause
}

// rule is one pattern of one clause.
type rule struct {
	glob    space.Glob
	clause  *charter.Clause
	covers  bool   // the node
	witness string // a name that it decides
	unsure  bool   // whether there is such a name
	level   int
}

// rules lists the patterns of all clauses in the order in which they win: exact
// names, then by rank; among equals the clause that covers the node, then the
// smallest id (see rego/charter/selection).
func (b *builder) rules(state map[string]any) error {
	cover := newCoverage(b.charter, state, b.question.Node)
	for _, clause := range b.charter.AllClauses() {
		patterns, err := globs(clause.Match)
		if err != nil {
			return err
		}
		covers, err := cover.clause(clause)
		if err != nil {
			return err
		}
		for _, g := range patterns {
			b.ordered = append(b.ordered, rule{glob: g, clause: clause, covers: covers})
		}
	}
	slices.SortStableFunc(b.ordered, func(x, y rule) int {
		if c := cmp.Compare(specificity(y.glob), specificity(x.glob)); c != 0 {
			return c
		}
		if x.covers != y.covers {
			if x.covers {
				return -1
			}
			return 1
		}
		return cmp.Or(strings.Compare(x.clause.ID, y.clause.ID), strings.Compare(x.glob.String(), y.glob.String()))
	})
	return nil
}

func specificity(g space.Glob) int {
	if g.Exact() {
		return int(^uint(0) >> 1)
	}
	return g.Rank()
}

// ask finds out what happens to the names of every clause, and to those of none, by
// asking about one name of each. Names that nothing but the clause tells apart are
// answered alike.
func (b *builder) ask(ctx context.Context) error {
	var unsure diag.List
	pending := map[string]bool{}
	for i := range b.ordered {
		r := &b.ordered[i]
		name, verdict := b.witness(i)
		if verdict == space.Unknown {
			r.unsure, pending[r.clause.ID] = true, true
			continue
		}
		r.witness = name
		if verdict != space.Found {
			continue // more specific patterns or forbidden names leave nothing over
		}
		if _, done := b.asked[r.clause.ID]; done {
			continue
		}
		answer, err := b.decide(ctx, name, "")
		if err != nil {
			return err
		}
		b.asked[r.clause.ID] = b.treat(r.clause.ID, r.clause, answer)
	}
	for id := range pending {
		if _, done := b.asked[id]; !done {
			unsure.Errorf(b.place(id), CodeUndetermined, "no name was found that clause %s decides, and no proof that there is none", id)
		}
	}
	if err := refuse("the engine", unsure); err != nil {
		return err
	}
	return b.askRest(ctx)
}

// askRest asks about a name that no clause speaks for. Only in a charter that warns
// as a whole can it be kept.
func (b *builder) askRest(ctx context.Context) error {
	none := slices.Clone(b.forbidden)
	for i := range b.ordered {
		none = append(none, b.ordered[i].glob)
	}
	name, verdict := space.Witness(nil, none)
	switch verdict {
	case space.Empty:
		return nil
	case space.Unknown:
		var list diag.List
		list.Errorf(b.charter.Pos(), CodeUndetermined, "no name was found that no clause speaks for, and no proof that there is none")
		return refuse("the engine", list)
	default:
		answer, err := b.decide(ctx, name, "")
		if err == nil {
			b.rest = b.treat("", nil, answer)
		}
		return err
	}
}

// witness is a name that the i-th rule decides.
func (b *builder) witness(i int) (string, space.Verdict) {
	r := &b.ordered[i]
	if r.glob.Exact() { // only an equal name of another clause or a forbidden one is before it
		name := r.glob.String()
		first := slices.IndexFunc(b.ordered, func(o rule) bool { return o.glob.Exact() && o.glob.String() == name })
		if matchesAny(b.forbidden, name) || b.ordered[first].clause != r.clause {
			return "", space.Empty
		}
		return name, space.Found
	}
	var none []space.Glob
	for j := range i {
		if o := &b.ordered[j]; o.clause != r.clause && space.Intersects(o.glob, r.glob) {
			none = append(none, o.glob)
		}
	}
	for _, f := range b.forbidden {
		if space.Intersects(f, r.glob) {
			none = append(none, f)
		}
	}
	return space.Witness([]space.Glob{r.glob}, none)
}

// decide asks about a series with at most one label.
func (b *builder) decide(ctx context.Context, metric, label string) (decision.Decision, error) {
	in := b.question
	in.Metric = metric
	if label != "" {
		in.Labels = map[string]string{label: "x"}
	}
	return b.policy.Decide(ctx, in)
}

// treat returns the treatment that an answer asks for.
func (b *builder) treat(id string, clause *charter.Clause, d decision.Decision) int {
	if !d.Allow || slices.Contains(b.leftOut, id) {
		return denied
	}
	t := treatment{drop: d.Obligations.DropLabels, hash: d.Obligations.HashLabels}
	if clause != nil && enforced(b.charter, clause.Mode) {
		t.forbid = d.Obligations.ForbidLabels
	}
	n := slices.IndexFunc(b.treatments, func(o treatment) bool { return o.key() == t.key() })
	if n < 0 {
		t.retention, t.rates = map[string][]string{}, map[string][]string{}
		n, b.treatments = len(b.treatments), append(b.treatments, t)
	}
	known := &b.treatments[n]
	known.clauses = append(known.clauses, id)
	if keep := d.Obligations.Retention; keep != "" {
		known.retention[keep] = append(known.retention[keep], id)
	}
	for _, rate := range d.Obligations.Rates {
		known.rates[rate] = append(known.rates[rate], id)
	}
	return n
}

// layers puts the rules into as few groups as order permits. A rule must come before
// every less specific one that meets it and treats names otherwise; a rule that only
// says what happens anyway is not needed.
func (b *builder) layers() {
	var patterns []*rule // less specific first
	top := 0
	for i := len(b.ordered) - 1; i >= 0; i-- {
		r := &b.ordered[i]
		if r.witness == "" && !r.unsure {
			continue // it decides no name
		}
		own := b.treatmentFor(r)
		if own != b.rest {
			r.level = 1
		}
		for _, o := range patterns {
			if o.level >= max(r.level, 1) && b.treatmentFor(o) != own && space.Intersects(o.glob, r.glob) {
				r.level = o.level + 1
			}
		}
		if r.level > 0 && !r.glob.Exact() {
			patterns = append(patterns, r)
		}
		top = max(top, r.level)
	}
	for level := top; level > 0; level-- {
		for n := denied; n < len(b.treatments); n++ {
			b.group(level, n)
		}
	}
}

func (b *builder) treatmentFor(r *rule) int {
	if n, ok := b.asked[r.clause.ID]; ok {
		return n
	}
	return denied
}

// group collects the rules of one level and treatment.
func (b *builder) group(level, n int) {
	g := group{treatment: n}
	for i := range b.ordered {
		if r := &b.ordered[i]; r.level == level && b.treatmentFor(r) == n {
			g.globs = append(g.globs, r.glob)
			g.clauses = append(g.clauses, r.clause.ID)
		}
	}
	if len(g.globs) == 0 {
		return
	}
	slices.SortFunc(g.globs, func(x, y space.Glob) int { return strings.Compare(x.String(), y.String()) })
	g.globs = slices.CompactFunc(g.globs, func(x, y space.Glob) bool { return x.String() == y.String() })
	slices.Sort(g.clauses)
	g.clauses = slices.Compact(g.clauses)
	b.groups = append(b.groups, g)
}

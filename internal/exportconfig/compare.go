package exportconfig

import (
	"context"
	"maps"
	"slices"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/diag"
	"github.com/westworld-charter/charter/internal/space"
)

// compare holds the plan against the engine: one name of every pattern, of every
// overlap of patterns and of every forbidden pattern, and under each treatment every
// label that the charter speaks of. A difference would be a mistake of ours, and
// then there is no plan.
func (b *builder) compare(ctx context.Context) error {
	var list diag.List
	for _, name := range b.names() {
		if err := b.agree(ctx, &list, name, ""); err != nil {
			return err
		}
	}
	representatives := map[int]string{}
	for i := range b.ordered {
		if r := &b.ordered[i]; r.witness != "" {
			if _, ok := representatives[b.treatmentFor(r)]; !ok {
				representatives[b.treatmentFor(r)] = r.witness
			}
		}
	}
	labels := b.labels()
	for _, n := range slices.Sorted(maps.Keys(representatives)) {
		for _, label := range labels {
			if n == denied {
				continue
			}
			if err := b.agree(ctx, &list, representatives[n], label); err != nil {
				return err
			}
		}
	}
	return refuse("the engine", list)
}

// agree compares both answers about a series with at most one label.
func (b *builder) agree(ctx context.Context, list *diag.List, metric, label string) error {
	d, err := b.decide(ctx, metric, label)
	if err != nil {
		return err
	}
	labels := map[string]string{}
	if label != "" {
		labels[label] = "x"
	}
	kept, keep := b.Decide(metric, labels)
	want := d.Allow && !b.isLeftOut(metric)
	same := keep == want
	if keep && same && label == "" {
		same = b.treatments[b.treatmentOf(metric)].fits(d)
	}
	if keep && same && label != "" {
		_, left := kept[label]
		same = left != slices.Contains(d.Obligations.DropLabels, label)
	}
	if !same {
		list.Errorf(b.charter.Pos(), CodeUndetermined, "metric %q with label %q: the engine says %s by clause %s, the plan says otherwise", metric, label, outcome(d), d.Clause)
	}
	return nil
}

// fits reports whether the treatment is what an answer that allows asks for.
func (t *treatment) fits(d decision.Decision) bool {
	o := d.Obligations
	return slices.Equal(t.drop, o.DropLabels) && slices.Equal(t.hash, o.HashLabels) &&
		(slices.Equal(t.forbid, o.ForbidLabels) || len(t.forbid) == 0 && d.Mode != decision.Enforce)
}

// isLeftOut reports whether the clause that decides the metric is to be dropped.
func (b *builder) isLeftOut(metric string) bool {
	i := slices.IndexFunc(b.ordered, func(r rule) bool { return r.glob.Match(metric) })
	return i >= 0 && slices.Contains(b.leftOut, b.ordered[i].clause.ID)
}

func outcome(d decision.Decision) string {
	if d.Allow {
		return decision.Allowed
	}
	return d.Outcome
}

// names is what to ask about.
func (b *builder) names() []string {
	seen := map[string]bool{}
	add := func(globs ...space.Glob) {
		if name, verdict := space.Witness(globs, nil); verdict == space.Found {
			seen[name] = true
		}
	}
	for i := range b.ordered {
		r := &b.ordered[i]
		if r.witness != "" {
			seen[r.witness] = true
		}
		add(r.glob)
		if r.glob.Exact() {
			continue
		}
		for j := range i { // overlaps of patterns; an exact name is a name of its own
			if o := &b.ordered[j]; !o.glob.Exact() && o.clause != r.clause && space.Intersects(o.glob, r.glob) {
				add(o.glob, r.glob)
			}
		}
	}
	for _, f := range b.forbidden {
		add(f)
	}
	return slices.Sorted(maps.Keys(seen))
}

// labels is every label that the charter names and one for every pattern.
func (b *builder) labels() []string {
	seen := map[string]bool{"a_label_of_no_clause": true}
	for i := range b.charter.Forbidden {
		patterns, _ := globs(b.charter.Forbidden[i].Labels)
		for _, g := range patterns {
			if name, verdict := space.Witness([]space.Glob{g}, nil); verdict == space.Found {
				seen[name] = true
			}
		}
	}
	for _, clause := range b.charter.AllClauses() {
		for _, list := range [][]string{clause.Labels.Drop, clause.Labels.Hash, clause.Labels.Forbid} {
			for _, label := range list {
				seen[label] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

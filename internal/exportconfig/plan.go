package exportconfig

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/diag"
	"github.com/westworld-charter/charter/internal/engine"
	"github.com/westworld-charter/charter/internal/space"
)

// Options of [Build].
type Options struct {
	// State is the state document that the policy was prepared with, nil without.
	State map[string]any
	// LeaveOut names clauses whose series are dropped although the charter allows
	// them: the way out for what a target cannot express. It only ever tightens.
	LeaveOut []string
}

// Plan is what may be collected, for all metrics and labels, as ordered sets of
// names and what happens to each. It is immutable.
type Plan struct {
	charter  *charter.Charter
	question decision.Input
	leftOut  []string
	until    string // when the answers may change; "" never

	forbidden []space.Glob // names that are dropped, whatever clause speaks for them
	banned    []string     // ids of the entries these stand in
	// strict labels drop a series; lenient ones too, unless its clause drops the label.
	strict, lenient []labelBan
	treatments      []treatment
	groups          []group // the first that matches a name decides
	rest            int     // what happens to names that no group matches
}

// denied is the treatment of names that are dropped.
const denied = -1

// labelBan is a forbidden entry that speaks of labels.
type labelBan struct {
	id     string
	labels []space.Glob
}

// treatment is what happens to the series of some clauses.
type treatment struct {
	drop, hash, forbid []string // names of labels, sorted
	clauses            []string // "" stands for what no clause speaks for
	retention, rates   map[string][]string
}

// group is names that are treated alike.
type group struct {
	globs     []space.Glob
	treatment int
	clauses   []string
}

// UnknownClauseError is a clause of [Options] that the charter does not have.
type UnknownClauseError struct{ Clause, DidYouMean string }

func (e *UnknownClauseError) Error() string {
	text := fmt.Sprintf("the charter has no clause %q", e.Clause)
	if e.DidYouMean != "" {
		text += fmt.Sprintf("; did you mean %s?", e.DidYouMean)
	}
	return text
}

// Build asks policy what in.Role may do at in.Node with every metric there can be.
// Metric and labels of in are ignored; in.Time must be set, answers hold for that
// moment. The error is a [*decision.FieldError] for a question that cannot be
// asked, an [*UnknownClauseError], or a [*Refused] when the engine's answers do
// not determine a plan.
func Build(ctx context.Context, policy *engine.Policy, in decision.Input, o Options) (*Plan, error) {
	in.Labels = nil
	in.Metric = "any"
	if err := in.Validate(); err != nil {
		return nil, err
	}
	c := policy.Charter()
	if err := checkLeftOut(c, o.LeaveOut); err != nil {
		return nil, err
	}
	p := &Plan{charter: c, question: in, leftOut: slices.Compact(slices.Sorted(slices.Values(o.LeaveOut))), rest: denied}
	p.until = nextChange(c, o.State, in)
	if err := p.readForbidden(); err != nil {
		return nil, err
	}
	b := &builder{Plan: p, policy: policy, asked: map[string]int{}}
	if err := b.rules(o.State); err != nil {
		return nil, err
	}
	if err := b.ask(ctx); err != nil {
		return nil, err
	}
	b.layers()
	return p, b.compare(ctx)
}

func checkLeftOut(c *charter.Charter, ids []string) error {
	var known []string
	for _, clause := range c.AllClauses() {
		known = append(known, clause.ID)
	}
	for _, id := range ids {
		if !slices.Contains(known, id) {
			return &UnknownClauseError{Clause: id, DidYouMean: diag.DidYouMean(id, known)}
		}
	}
	return nil
}

// enforced reports whether denials of an entry with this mode are real.
func enforced(c *charter.Charter, mode string) bool {
	if mode == "" {
		mode = c.Enforcement.Mode
	}
	return mode != decision.Warn && mode != decision.Shadow
}

// readForbidden takes over the forbidden entries that deny. One in warn or shadow
// mode only speaks.
func (p *Plan) readForbidden() error {
	for i := range p.charter.Forbidden {
		f := &p.charter.Forbidden[i]
		if !f.Protected && !enforced(p.charter, f.Mode) {
			continue
		}
		names, err := globs(f.Match)
		if err != nil {
			return err
		}
		labels, err := globs(f.Labels)
		if err != nil {
			return err
		}
		if len(names) > 0 {
			p.forbidden, p.banned = append(p.forbidden, names...), append(p.banned, f.ID)
		}
		switch {
		case len(labels) == 0:
		case f.Protected && !f.Droppable:
			p.strict = append(p.strict, labelBan{f.ID, labels})
		default:
			p.lenient = append(p.lenient, labelBan{f.ID, labels})
		}
	}
	return nil
}

func globs(patterns []string) ([]space.Glob, error) {
	all := make([]space.Glob, 0, len(patterns))
	for _, pattern := range patterns {
		g, err := space.ParseGlob(pattern)
		if err != nil {
			return nil, fmt.Errorf("read the charter: %w", err) // the loader has refused it before
		}
		all = append(all, g)
	}
	return all, nil
}

// Decide is what the plan does with one series: whether it is kept, and with which
// labels. Labels with an empty value are absent, as in Prometheus.
func (p *Plan) Decide(metric string, labels map[string]string) (kept map[string]string, keep bool) {
	if matchesAny(p.forbidden, metric) {
		return nil, false
	}
	n := p.treatmentOf(metric)
	if n == denied {
		return nil, false
	}
	t := &p.treatments[n]
	kept = map[string]string{}
	for name, value := range labels {
		if value == "" {
			continue
		}
		if banned(p.strict, name) {
			return nil, false
		}
		if slices.Contains(t.drop, name) {
			continue
		}
		if banned(p.lenient, name) || slices.Contains(t.forbid, name) {
			return nil, false
		}
		kept[name] = value
	}
	return kept, true
}

func (p *Plan) treatmentOf(metric string) int {
	for i := range p.groups {
		if matchesAny(p.groups[i].globs, metric) {
			return p.groups[i].treatment
		}
	}
	return p.rest
}

// Empty reports whether nothing may be collected at all.
func (p *Plan) Empty() bool { return len(p.treatments) == 0 }

// Clauses returns the ids of the clauses whose series are kept, sorted.
func (p *Plan) Clauses() []string {
	var ids []string
	for i := range p.treatments {
		for _, id := range p.treatments[i].clauses {
			if id != "" {
				ids = append(ids, id)
			}
		}
	}
	return slices.Sorted(slices.Values(ids))
}

func matchesAny(globs []space.Glob, name string) bool {
	return slices.ContainsFunc(globs, func(g space.Glob) bool { return g.Match(name) })
}

func banned(bans []labelBan, label string) bool {
	return slices.ContainsFunc(bans, func(b labelBan) bool { return matchesAny(b.labels, label) })
}

// key tells treatments apart.
func (t *treatment) key() string {
	return strings.Join(t.drop, ",") + "|" + strings.Join(t.hash, ",") + "|" + strings.Join(t.forbid, ",")
}

// labelsOf is every label that the selected list of some treatment holds, and the
// treatments that do.
func (p *Plan) labelsOf(list func(*treatment) []string) (labels []string, in map[string][]int) {
	in = map[string][]int{}
	for i := range p.treatments {
		for _, label := range list(&p.treatments[i]) {
			in[label] = append(in[label], i)
		}
	}
	return slices.Sorted(maps.Keys(in)), in
}

func drops(t *treatment) []string   { return t.drop }
func forbids(t *treatment) []string { return t.forbid }

// place is where a clause or forbidden entry stands.
func (p *Plan) place(id string) diag.Pos {
	pos, _ := p.charter.Place(id)
	return pos
}

// refuseHash complains about every clause that must be hashed. No target knows the
// key of a node, and a hash with another key is another label.
func (p *Plan) refuseHash(list *diag.List) {
	for i := range p.treatments {
		t := &p.treatments[i]
		if len(t.hash) == 0 {
			continue
		}
		for _, id := range t.clauses {
			list.Errorf(p.place(id), CodeHash, "clause %s has %s replaced by a keyed hash", id, strings.Join(t.hash, ", ")).Fix = "--leave-out " + id + " drops the series of the clause"
		}
	}
}

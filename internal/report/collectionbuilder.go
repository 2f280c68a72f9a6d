package report

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/ledger"
)

// maxLabels is how many label names of a clause are listed.
const maxLabels = 256

// NewCollection returns a builder of the data-collection report of a node, whose
// document is a [*Collection].
func NewCollection(node string, o Options) Builder {
	o.complete()
	b := &collectionBuilder{
		node: node, options: o, losses: newLosses(o.Period, o.Rows), policies: newPolicies(&o), cases: newCases(o.Rows, o.Period.From.UnixNano()),
		decrees: decrees{limit: o.Rows, forget: o.Period.From.UnixNano()},
		uses:    newTable[use](o.Rows), kept: newTable[keep3](o.Rows), denied: newTable[refusal](o.Rows), lifted: newTable[refusal](o.Rows),
		labels:    map[string]map[string]bool{},
		standings: list[Standing]{limit: o.Rows}, violations: list[Violation]{limit: o.Rows}, before: standingGood, after: standingGood,
	}
	for _, t := range []*table[string]{&b.roles, &b.purposes, &b.clauses} {
		*t = newTable[string](o.Rows)
	}
	return b
}

const standingGood = "good"

type collectionBuilder struct {
	node    string
	options Options

	losses   losses
	policies *policies
	cases    cases
	decrees  decrees

	entries                  Citation
	sums                     Summary
	uses                     table[use]
	kept                     table[keep3]
	denied, lifted           table[refusal]
	roles, purposes, clauses table[string]
	labels                   map[string]map[string]bool // names by clause
	moreLabels               uint64                     // clauses without a place
	before, after            string
	standings                list[Standing]
	violations               list[Violation]
	through                  int64
}

type use struct{ operation, metric, clause, role, purpose, outcome string }

// keep3 is what retention follows from.
type keep3 struct{ clause, revision, asked string }

type refusal struct {
	operation, metric, role, purpose, outcome, clause, severity, reasons string

	own bool
}

func (b *collectionBuilder) since() (Period, []ledger.Kind) { return b.options.Period, b.past() }

// past are the kinds of entries that count however old they are.
func (b *collectionBuilder) past() []ledger.Kind {
	return []ledger.Kind{ledger.Standing, ledger.Investigation, ledger.Override, ledger.Revocation, ledger.Activation}
}

// Add takes the next entry.
func (b *collectionBuilder) Add(row ledger.Row) error {
	if row.Body == nil {
		b.losses.pruned++
		return nil
	}
	if b.losses.over {
		return nil
	}
	if row.Time >= b.options.Period.To.UnixNano() {
		b.losses.over = true
		return nil
	}
	during := b.options.Period.holds(row.Time)
	if !during && !slices.Contains(b.past(), row.Kind) {
		return nil
	}
	b.through = row.Time
	if during {
		b.entries.add(row.Index)
	}
	if !b.concerns(&row) {
		return nil
	}
	ev, err := read(&row)
	if err != nil {
		return err
	}
	return b.fold(&ev, during)
}

// concerns tells from its columns whether an entry may be about the node.
func (b *collectionBuilder) concerns(row *ledger.Row) bool {
	switch row.Kind {
	case ledger.Denial, ledger.Allowance, ledger.Violation, ledger.Standing, ledger.Revocation:
		return row.Node == b.node
	case ledger.Investigation, ledger.Override, ledger.Activation, ledger.WindowOpen, ledger.WindowClose, ledger.Gap:
		return true
	default:
		return false
	}
}

func (b *collectionBuilder) fold(ev *event, during bool) error {
	switch ev.Kind {
	case ledger.Denial:
		b.denial(ev)
	case ledger.Allowance:
		b.allowance(ev.index, &ledger.Counted{
			Metric: ev.Metric, Node: ev.Node, Role: ev.Role, Operation: ev.Operation, Purpose: ev.Purpose, Labels: ev.Labels,
			Retention: ev.Retention, Clause: ev.Clause, Outcome: ev.Outcome, Revision: ev.Revision, Count: 1,
		})
	case ledger.WindowOpen:
		return b.losses.opened(ev)
	case ledger.WindowClose:
		return with(ev, func(w *ledger.Window) {
			b.losses.closed(ev, w)
			for i := range w.Counts {
				b.policies.asked(w.Counts[i].Revision)
				if w.Counts[i].Node == b.node {
					b.allowance(ev.index, &w.Counts[i])
				}
			}
		})
	case ledger.Gap:
		return b.losses.gap(ev)
	case ledger.Activation:
		return with(ev, func(a *activation) { b.policies.activated(ev, a) })
	case ledger.Violation:
		return with(ev, func(v *ledger.ViolationRecord) { b.violations.add(violationOf(ev, v)) })
	case ledger.Standing:
		return with(ev, func(c *ledger.StandingChange) {
			b.after = c.To
			if !during {
				b.before = c.To
				return
			}
			b.standings.add(standingOf(ev, c))
		})
	case ledger.Investigation:
		return with(ev, func(s *ledger.InvestigationStep) {
			if s.Action != ledger.InvestigationOpened || ev.Node == b.node {
				b.cases.step(ev, s)
			}
		})
	case ledger.Override:
		_, _, err := b.decrees.overrode(ev)
		return err
	case ledger.Revocation:
		_, _, err := b.decrees.revoked(ev)
		return err
	}
	return nil
}

func (b *collectionBuilder) denial(ev *event) {
	codes := make([]string, len(ev.Reasons))
	for i := range ev.Reasons {
		codes[i] = ev.Reasons[i].Code
	}
	key := refusal{
		ev.Operation, ev.Metric, ev.Role, ev.Purpose, ev.Outcome, ev.Clause, ev.Severity, strings.Join(slices.Compact(codes), " "), ev.own(),
	}
	if ev.lifted() {
		b.lifted.add(key, 1, ev.index)
		b.sums.Lifted.add(1, ev.index)
		return
	}
	b.denied.add(key, 1, ev.index)
	b.sums.Denied.add(1, ev.index)
}

func (b *collectionBuilder) allowance(index uint64, c *ledger.Counted) {
	b.policies.asked(c.Revision)
	b.uses.add(use{c.Operation, c.Metric, c.Clause, c.Role, c.Purpose, c.Outcome}, c.Count, index)
	b.kept.add(keep3{c.Clause, c.Revision, c.Retention}, c.Count, index)
	b.roles.add(c.Role, c.Count, index)
	b.purposes.add(c.Purpose, c.Count, index)
	b.clauses.add(c.Clause, c.Count, index)
	switch c.Operation {
	case decision.Collect:
		b.sums.Collected.add(c.Count, index)
	case decision.Read:
		b.sums.Read.add(c.Count, index)
	case decision.Export:
		b.sums.Exported.add(c.Count, index)
	}
	b.labelled(c.Clause, c.Labels)
}

func (b *collectionBuilder) labelled(clause string, names []string) {
	known := b.labels[clause]
	if known == nil {
		if len(names) == 0 {
			return
		}
		if len(b.labels) >= b.options.Rows {
			b.moreLabels++
			return
		}
		known = map[string]bool{}
		b.labels[clause] = known
	}
	for _, name := range names {
		if len(known) <= maxLabels { // one more than are listed tells that there are more
			known[name] = true
		}
	}
}

// Document returns the report.
func (b *collectionBuilder) Document(checkpoint []byte, a Assurance) (Document, error) {
	coverage, err := cover(checkpoint, a)
	if err != nil {
		return nil, err
	}
	coverage.Entries = b.entries.settled()
	if b.through > 0 {
		coverage.Through = stamp(instant(b.through))
	}
	p := b.options.Period
	return &Collection{
		Schema: CollectionSchema, Node: b.node, Period: p, Coverage: coverage, Completeness: b.losses.completeness(b.policies),
		Summary: Summary{
			Collected: b.sums.Collected.settled(), Read: b.sums.Read.settled(), Exported: b.sums.Exported.settled(),
			Denied: b.sums.Denied.settled(), Lifted: b.sums.Lifted.settled(),
			ByRole: breakdown(&b.roles), ByPurpose: breakdown(&b.purposes), ByClause: breakdown(&b.clauses),
		},
		Allowed: Uses{Rows: rowsOf(&b.uses, compareUses, func(u use, f Figure) Use {
			return Use{u.operation, u.metric, u.clause, u.role, u.purpose, u.outcome, f}
		}), Other: b.uses.rest()},
		Kept: b.retentions(), Labels: b.labelNames(),
		Denied: refusals(&b.denied), Lifted: refusals(&b.lifted),
		Standing:   NodeStanding{Before: b.before, After: b.after, Changes: b.standings.all()},
		Violations: b.violations.all(), Investigations: b.cases.during(p), Revocations: b.decrees.revocationsDuring(p),
		Overrides: b.overrides(), Policies: b.policies.all(), NotListed: b.notListed(),
	}, nil
}

func compareUses(a, b use) int {
	return cmp.Or(
		strings.Compare(a.operation, b.operation), strings.Compare(a.metric, b.metric), strings.Compare(a.clause, b.clause),
		strings.Compare(a.role, b.role), strings.Compare(a.purpose, b.purpose), strings.Compare(a.outcome, b.outcome),
	)
}

func refusals(t *table[refusal]) Refusals {
	text := func(r *refusal) string {
		return strings.Join([]string{r.operation, r.metric, r.role, r.purpose, r.outcome, r.clause, r.severity, r.reasons}, "\x00")
	}
	compare := func(a, b refusal) int {
		if c := strings.Compare(text(&a), text(&b)); c != 0 || a.own == b.own {
			return c
		}
		if a.own {
			return -1
		}
		return 1
	}
	return Refusals{Rows: rowsOf(t, compare, func(r refusal, f Figure) Refused {
		return Refused{r.operation, r.metric, r.role, r.purpose, r.outcome, r.clause, r.severity, strings.Fields(r.reasons), r.own, f}
	}), Other: t.rest()}
}

// retentions says how long data may be kept, by clause, then revision.
func (b *collectionBuilder) retentions() []Kept {
	limits := map[string]map[string]string{} // by revision and clause
	for key := range b.kept.rows {
		c := b.policies.charterOf(key.revision)
		if c == nil || limits[key.revision] != nil {
			continue
		}
		of := map[string]string{}
		for _, clause := range c.AllClauses() {
			of[clause.ID] = clause.Retention
		}
		limits[key.revision] = of
	}
	rows := rowsOf(&b.kept, func(a, b keep3) int {
		return cmp.Or(strings.Compare(a.clause, b.clause), strings.Compare(a.revision, b.revision), strings.Compare(a.asked, b.asked))
	}, func(key keep3, f Figure) Kept {
		limit, given := limits[key.revision][key.clause]
		return Kept{Clause: key.clause, Revision: key.revision, Given: given, Retention: limit, Asked: key.asked, Figure: f}
	})
	slices.SortStableFunc(rows, func(a, b Kept) int { return strings.Compare(a.Clause, b.Clause) })
	return rows
}

func (b *collectionBuilder) labelNames() []Labels {
	all := []Labels{}
	for _, clause := range slices.Sorted(maps.Keys(b.labels)) {
		names := slices.Sorted(maps.Keys(b.labels[clause]))
		one := Labels{Clause: clause, Names: names, More: len(names) > maxLabels}
		one.Names = names[:min(len(names), maxLabels)]
		all = append(all, one)
	}
	return all
}

// overrides are those for this node, and those for all.
func (b *collectionBuilder) overrides() []Override {
	return slices.DeleteFunc(b.decrees.overridesDuring(b.options.Period), func(o Override) bool {
		return len(o.Nodes) > 0 && !slices.Contains(o.Nodes, b.node)
	})
}

// notListed counts, by list, what it has no room for.
func (b *collectionBuilder) notListed() map[string]uint64 {
	all := map[string]uint64{
		"kept": b.kept.other.Count, "labels": b.moreLabels, "standings": b.standings.more, "violations": b.violations.more,
		"investigations": b.cases.more, "overrides and revocations": b.decrees.more, "activations": b.policies.more, "gaps": b.losses.gaps.more,
	}
	for name, n := range all {
		if n == 0 {
			delete(all, name)
		}
	}
	return all
}

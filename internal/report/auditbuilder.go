package report

import (
	"cmp"
	"slices"
	"strings"

	"github.com/westworld-charter/charter/internal/ledger"
)

// NewAudit returns a builder of the periodic audit report, whose document is an
// [*Audit].
func NewAudit(o Options) Builder {
	o.complete()
	before := o.Period.Before()
	forget := before.From.UnixNano()
	return &auditBuilder{
		options: o, before: before, now: newTally(o.Period, o.Rows), old: newTally(before, o.Rows),
		losses: newLosses(o.Period, o.Rows), policies: newPolicies(&o), cases: newCases(o.Rows, forget),
		decrees: decrees{limit: o.Rows, forget: forget}, releases: newReleases(o.Period, o.Rows, forget),
		seats: list[Seats]{limit: o.Rows}, standings: list[Standing]{limit: o.Rows}, violations: list[Violation]{limit: o.Rows},
		keys: list[Key]{limit: o.Rows}, seals: list[Seal]{limit: o.Rows},
	}
}

type auditBuilder struct {
	options  Options
	before   Period
	now, old *tally
	losses   losses
	policies *policies
	cases    cases
	decrees  decrees
	releases releases
	seats    list[Seats]

	violations list[Violation]
	standings  list[Standing]
	keys       list[Key]
	seals      list[Seal]

	through int64 // time of the last entry that was looked at
	covered bool  // the ledger was there before the period before
}

func (b *auditBuilder) since() (Period, []ledger.Kind) {
	return Period{From: b.before.From, To: b.options.Period.To}, b.past()
}

// past are the kinds of entries that count however old they are.
func (b *auditBuilder) past() []ledger.Kind {
	return []ledger.Kind{ledger.Investigation, ledger.Override, ledger.Revocation, ledger.Activation, ledger.Release}
}

// Add takes the next entry.
func (b *auditBuilder) Add(row ledger.Row) error {
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
	old := row.Time < b.before.From.UnixNano()
	b.covered = b.covered || old
	if old && !slices.Contains(b.past(), row.Kind) {
		return nil
	}
	ev, err := read(&row)
	if err != nil {
		return err
	}
	b.through = row.Time
	var t *tally // nil before both periods
	switch {
	case b.options.Period.holds(row.Time):
		t = b.now
	case !old:
		t = b.old
	}
	if t != nil {
		t.entry(&ev)
	}
	return b.fold(&ev, t)
}

// fold takes an entry apart by its kind.
func (b *auditBuilder) fold(ev *event, t *tally) error {
	switch ev.Kind {
	case ledger.Denial:
		t.denial(ev)
	case ledger.Allowance:
		t.allowance(ev.Outcome, 1, ev.index)
		b.asked(ev, ev.Revision)
	case ledger.WindowOpen:
		return b.losses.opened(ev)
	case ledger.WindowClose:
		return b.window(ev, t)
	case ledger.Gap:
		t.gaps.add(1, ev.index)
		return b.losses.gap(ev)
	case ledger.Activation:
		return b.activated(ev)
	case ledger.Release:
		return with(ev, func(s *ledger.ReleaseStep) {
			b.releases.step(ev, s)
			if t != nil {
				t.releaseSteps.add(s.Action, 1, ev.index)
			}
		})
	case ledger.Investigation:
		return with(ev, func(s *ledger.InvestigationStep) {
			b.cases.step(ev, s)
			if t != nil {
				t.step(ev, s)
			}
		})
	case ledger.Override:
		return b.overrode(ev, t)
	case ledger.Revocation:
		return b.revoked(ev, t)
	case ledger.Violation:
		return with(ev, func(v *ledger.ViolationRecord) {
			t.violation(ev, v)
			if t == b.now {
				b.violations.add(violationOf(ev, v))
			}
		})
	case ledger.Standing:
		return with(ev, func(c *ledger.StandingChange) {
			t.standings.add(1, ev.index)
			t.byStanding.add(cmp.Or(c.From, "good")+" to "+c.To, 1, ev.index)
			if t == b.now {
				b.standings.add(standingOf(ev, c))
			}
		})
	default:
		return b.foldRest(ev, t)
	}
	return nil
}

// foldRest is fold for the kinds that say something about the running of things.
func (b *auditBuilder) foldRest(ev *event, t *tally) error {
	switch ev.Kind {
	case ledger.Load:
		return with(ev, func(l *load) {
			t.load(ev, l.Result, l.Code)
			b.releases.refused(ev, l)
		})
	case ledger.Notification:
		return with(ev, func(d *ledger.Delivery) { t.notification(ev, d) })
	case ledger.Alert:
		return with(ev, func(a *ledger.AlertRecord) { t.alert(ev, a) })
	}
	if t != b.now {
		return nil
	}
	switch ev.Kind {
	case ledger.Membership:
		return with(ev, func(c *ledger.CommitteeChange) {
			b.seats.add(Seats{ev.index, stamp(instant(ev.Time)), ev.Revision, c.Size, some(c.Added), some(c.Removed), some(c.Changed)})
		})
	case ledger.KeyRotation:
		return with(ev, func(r *ledger.Rotation) {
			b.keys.add(Key{ev.index, stamp(instant(ev.Time)), "rotation", r.New, []string{r.Old}})
		})
	case ledger.KeyRetirement:
		return with(ev, func(r *ledger.Retirement) {
			b.keys.add(Key{ev.index, stamp(instant(ev.Time)), "retirement", r.Key, some(r.Retired)})
		})
	case ledger.Sealed:
		return with(ev, func(s *ledger.Seal) {
			b.seals.add(Seal{ev.index, stamp(instant(ev.Time)), s.From, s.To, s.Manifest, s.Overruled})
		})
	}
	return nil
}

// with reads what only a kind has.
func with[T any](ev *event, use func(*T)) error {
	data, err := dataOf[T](ev)
	if err == nil {
		use(&data)
	}
	return err
}

func (b *auditBuilder) asked(ev *event, revision string) {
	if b.options.Period.holds(ev.Time) {
		b.policies.asked(revision)
	}
}

func (b *auditBuilder) window(ev *event, t *tally) error {
	return with(ev, func(w *ledger.Window) {
		t.window(ev, w)
		b.losses.closed(ev, w)
		for i := range w.Counts {
			b.asked(ev, w.Counts[i].Revision)
		}
	})
}

func (b *auditBuilder) activated(ev *event) error {
	data, err := dataOf[activation](ev)
	if err != nil {
		return err
	}
	b.policies.activated(ev, &data)
	if data.Percent == nil { // a canary decides for some nodes alone, and there is none beside a release
		b.releases.activated(ev, data.signed)
	}
	return nil
}

func (b *auditBuilder) overrode(ev *event, t *tally) error {
	_, c, err := b.decrees.overrode(ev)
	if err == nil && t != nil {
		t.overrideSteps.add(c.Action, 1, ev.index)
	}
	return err
}

func (b *auditBuilder) revoked(ev *event, t *tally) error {
	_, c, err := b.decrees.revoked(ev)
	if err == nil && t != nil {
		t.revocationSteps.add(c.Action, 1, ev.index)
	}
	return err
}

func violationOf(ev *event, v *ledger.ViolationRecord) Violation {
	one := Violation{
		Index: ev.index, Time: stamp(instant(ev.Time)), ID: v.ID, Source: v.Source, Node: ev.Node, Metric: ev.Metric, Clause: ev.Clause,
		Severity: ev.Severity, Type: v.Type, Penalty: v.Penalty, Denial: v.Denial,
	}
	if v.Consequence != nil {
		one.Level, one.Action = v.Consequence.Level, v.Consequence.Action
	}
	return one
}

func standingOf(ev *event, c *ledger.StandingChange) Standing {
	return Standing{
		Index: ev.index, Time: stamp(instant(ev.Time)), Node: ev.Node, From: c.From, To: c.To, Action: c.Action, Level: c.Level,
		Cause: c.Cause, Until: c.Until, Restore: c.Restore, Signers: some(c.Signers),
	}
}

// Document returns the report.
func (b *auditBuilder) Document(checkpoint []byte, a Assurance) (Document, error) {
	coverage, err := cover(checkpoint, a)
	if err != nil {
		return nil, err
	}
	t := b.now
	coverage.Entries = t.entries.Entries.settled()
	if b.through > 0 {
		coverage.Through = stamp(instant(b.through))
	}
	d := &Audit{
		Schema: AuditSchema, Period: b.options.Period, Coverage: coverage, Completeness: b.losses.completeness(b.policies),
		Comparison: compare(t, b.old, b.covered),
		Decisions: Decisions{
			Allowed: t.allowed.settled(), ByOutcome: breakdown(&t.byOutcome), Denied: t.denied.settled(), Lifted: t.lifted.settled(),
			ByClause: breakdown(&t.byClause), BySeverity: breakdown(&t.bySeverity), ByReason: breakdown(&t.byReason), LiftedByClause: breakdown(&t.liftedByClause),
		},
		Violations: Violations{
			Incidents: t.incidents.settled(), Reports: t.reports.settled(), Confirmed: t.confirmed.settled(), Unfounded: t.unfounded.settled(),
			ByType: breakdown(&t.vioType), BySeverity: breakdown(&t.vioSeverity), ByClause: breakdown(&t.vioClause), ByNode: breakdown(&t.vioNode),
			List: b.violations.all(),
		},
		Escalation:     Escalation{ByLevel: breakdown(&t.byLevel), ByStanding: breakdown(&t.byStanding), Changes: b.standings.all()},
		Investigations: b.investigations(),
		Overrides:      Overrides{Steps: breakdown(&t.overrideSteps), List: b.decrees.overridesDuring(t.period)},
		Revocations:    Revocations{Steps: breakdown(&t.revocationSteps), List: b.decrees.revocationsDuring(t.period)},
		Committee:      b.seats.all(), Policies: b.policies.all(), Releases: b.releases.document(&t.releaseSteps),
		Loads: Loads{Loaded: t.loaded.settled(), Refused: t.refused.settled(), ByCode: breakdown(&t.loadCodes)},
		Notifications: Notifications{
			Delivered: t.delivered.settled(), Failed: t.failed.settled(), Dead: t.dead.settled(), Notices: t.notices.settled(), ByError: breakdown(&t.errorCodes),
			Receivers: rowsOf(&t.receivers, compareReceivers, func(r receiver, f Figure) Delivered { return Delivered{r.name, r.channel, r.state, f} }),
			Other:     t.receivers.rest(),
		},
		Alerts: Alerts{Firing: t.firing.settled(), Resolved: t.calmed.settled(), ByName: breakdown(&t.alerted)},
		Ledger: Health{
			Entries: t.entries.settled(), ByKind: breakdown(&t.byKind), ClockBack: t.clockBack.settled(), Conflicts: t.conflicts.settled(),
			Keys: b.keys.all(), Seals: b.seals.all(),
		},
		NotListed: b.notListed(),
	}
	return d, nil
}

func compareReceivers(a, b receiver) int {
	return cmp.Or(strings.Compare(a.name, b.name), strings.Compare(a.channel, b.channel), strings.Compare(a.state, b.state))
}

func (b *auditBuilder) investigations() Investigations {
	t, p := b.now, b.options.Period
	i := Investigations{
		Opened: t.opened.settled(), Resolved: t.resolved.settled(), Dismissed: t.dismissed.settled(), Overdue: t.overdue.settled(), List: b.cases.during(p),
	}
	var took []uint64
	for n := range i.List {
		one := &i.List[n]
		if one.opened < p.From.UnixNano() {
			i.OpenBefore++
		}
		if one.closed == 0 {
			i.OpenAfter++
			if one.Overdue {
				i.OverdueOpen++
			}
		} else {
			took = append(took, *one.Seconds)
		}
	}
	i.TimeToClose = durations(took)
	return i
}

// notListed counts, by list, what it has no room for.
func (b *auditBuilder) notListed() map[string]uint64 {
	all := map[string]uint64{
		"violations": b.violations.more, "standings": b.standings.more, "investigations": b.cases.more, "overrides and revocations": b.decrees.more,
		"committee": b.seats.more, "activations": b.policies.more, "releases": b.releases.notListed(), "keys": b.keys.more, "seals": b.seals.more, "gaps": b.losses.gaps.more,
	}
	for name, n := range all {
		if n == 0 {
			delete(all, name)
		}
	}
	return all
}

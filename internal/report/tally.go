package report

import (
	"strconv"

	"github.com/westworld-charter/charter/internal/ledger"
)

// tally is what is counted of one period for an [Audit].
type tally struct {
	period Period

	entries   Figure
	byKind    table[string]
	clockBack Figure
	conflicts Figure

	allowed, denied, lifted                                        Figure
	byOutcome, byClause, bySeverity, byReason, liftedByClause      table[string]
	incidents, reports, confirmed, unfounded                       Figure
	vioType, vioSeverity, vioClause, vioNode, byLevel, byStanding  table[string]
	opened, resolved, dismissed, overdue                           Figure
	overrideSteps, revocationSteps, loadCodes, errorCodes, alerted table[string]
	loaded, refused, delivered, failed, dead, notices              Figure
	firing, calmed, gaps, standings                                Figure
	receivers                                                      table[receiver]
	releaseSteps                                                   table[string]
}

type receiver struct{ name, channel, state string }

func newTally(p Period, rows int) *tally {
	t := &tally{period: p, receivers: newTable[receiver](rows)}
	for _, one := range []*table[string]{
		&t.byKind, &t.byOutcome, &t.byClause, &t.bySeverity, &t.byReason, &t.liftedByClause, &t.vioType, &t.vioSeverity, &t.vioClause,
		&t.vioNode, &t.byLevel, &t.byStanding, &t.overrideSteps, &t.revocationSteps, &t.loadCodes, &t.errorCodes, &t.alerted, &t.releaseSteps,
	} {
		*one = newTable[string](rows)
	}
	return t
}

// entry counts what every entry has.
func (t *tally) entry(ev *event) {
	t.entries.add(1, ev.index)
	t.byKind.add(string(ev.Kind), 1, ev.index)
	if ev.ClockBack {
		t.clockBack.add(1, ev.index)
	}
	if ev.Kind == ledger.Conflict {
		t.conflicts.add(1, ev.index)
	}
}

func (t *tally) denial(ev *event) {
	if ev.lifted() {
		t.lifted.add(1, ev.index)
		t.byOutcome.add("lifted: "+ev.Outcome, 1, ev.index)
		t.liftedByClause.add(ev.Clause, 1, ev.index)
		return
	}
	t.denied.add(1, ev.index)
	t.byOutcome.add(ev.Outcome, 1, ev.index)
	t.byClause.add(ev.Clause, 1, ev.index)
	t.bySeverity.add(ev.Severity, 1, ev.index)
	for i := range ev.Reasons {
		if code := ev.Reasons[i].Code; !citesBefore(ev.Reasons[:i], code) {
			t.byReason.add(code, 1, ev.index)
		}
	}
}

func citesBefore(reasons []ledger.Reason, code string) bool {
	for i := range reasons {
		if reasons[i].Code == code {
			return true
		}
	}
	return false
}

func (t *tally) allowance(outcome string, n, index uint64) {
	t.allowed.add(n, index)
	t.byOutcome.add(outcome, n, index)
}

func (t *tally) window(ev *event, w *ledger.Window) {
	for i := range w.Counts {
		t.allowance(w.Counts[i].Outcome, w.Counts[i].Count, ev.index)
	}
	if w.Overflow > 0 {
		t.allowance(notToldApart, w.Overflow, ev.index)
	}
}

// notToldApart names the outcome of what a window counted together: nobody knows
// more than that it was allowed.
const notToldApart = "allowed, not told apart"

func (t *tally) violation(ev *event, v *ledger.ViolationRecord) {
	t.vioType.add(v.Type, 1, ev.index)
	t.vioSeverity.add(ev.Severity, 1, ev.index)
	t.vioClause.add(ev.Clause, 1, ev.index)
	t.vioNode.add(ev.Node, 1, ev.index)
	if v.Source != ledger.FromDenial {
		t.reports.add(1, ev.index)
		return
	}
	t.incidents.add(1, ev.index)
	t.escalated(ev, v.Consequence)
}

func (t *tally) escalated(ev *event, c *ledger.Consequence) {
	name := "none"
	if c != nil {
		name = strconv.Itoa(c.Level) + " " + c.Action
	}
	t.byLevel.add(name, 1, ev.index)
}

func (t *tally) step(ev *event, s *ledger.InvestigationStep) {
	switch s.Action {
	case ledger.InvestigationOpened:
		t.opened.add(1, ev.index)
	case ledger.InvestigationOverdue:
		t.overdue.add(1, ev.index)
	case ledger.InvestigationDismissed:
		t.dismissed.add(1, ev.index)
	case ledger.InvestigationResolved:
		t.resolved.add(1, ev.index)
		if s.Outcome == "confirmed" {
			t.confirmed.add(1, ev.index)
		} else {
			t.unfounded.add(1, ev.index)
		}
		if s.Consequence != nil { // a report became an incident
			t.escalated(ev, s.Consequence)
		}
	}
}

func (t *tally) load(ev *event, result, code string) {
	if result == "refused" {
		t.refused.add(1, ev.index)
		t.loadCodes.add(code, 1, ev.index)
		return
	}
	if result == "loaded" { // degraded and recovered are about what was loaded before
		t.loaded.add(1, ev.index)
	}
}

func (t *tally) notification(ev *event, d *ledger.Delivery) {
	t.receivers.add(receiver{d.Receiver, d.Channel, d.State}, 1, ev.index)
	if d.Error != "" {
		t.errorCodes.add(d.Error, 1, ev.index)
	}
	switch d.State {
	case ledger.Delivered:
		t.delivered.add(1, ev.index)
		t.notices.add(uint64(max(d.Messages, 0)), ev.index)
	case ledger.DeadLettered:
		t.dead.add(1, ev.index)
	default:
		t.failed.add(1, ev.index)
	}
}

func (t *tally) alert(ev *event, a *ledger.AlertRecord) {
	if a.Status == "resolved" {
		t.calmed.add(1, ev.index)
		return
	}
	t.firing.add(1, ev.index)
	t.alerted.add(a.Name, 1, ev.index)
}

// headlines are the figures that periods are compared by.
func (t *tally) headlines() []headline {
	steps := func(of *table[string], name string) Figure {
		if f := of.rows[name]; f != nil {
			return *f
		}
		return Figure{}
	}
	return []headline{
		{"allowed", t.allowed},
		{"denied", t.denied},
		{"denied, critical", steps(&t.bySeverity, "critical")},
		{"lifted denials", t.lifted},
		{"incidents", t.incidents},
		{"reports of violations", t.reports},
		{"changes of standing", t.standings},
		{"investigations opened", t.opened},
		{"investigations resolved", t.resolved},
		{"investigations dismissed", t.dismissed},
		{"investigations overdue", t.overdue},
		{"overrides begun", steps(&t.overrideSteps, ledger.Began)},
		{"revocations begun", steps(&t.revocationSteps, ledger.Began)},
		{"charters refused", t.refused},
		{"releases published", steps(&t.releaseSteps, stepPublish)},
		{"releases rolled back", steps(&t.releaseSteps, stepRollback)},
		{"nodes that went backwards", steps(&t.releaseSteps, stepBackwards)},
		{"messages delivered", t.delivered},
		{"messages given up", t.dead},
		{"alerts firing", t.firing},
		{"gaps", t.gaps},
		{"clock went back", t.clockBack},
	}
}

type headline struct {
	name   string
	figure Figure
}

// compare makes the comparison of two periods.
func compare(now, before *tally, covered bool) Comparison {
	c := Comparison{Before: before.period, Covered: covered}
	old := before.headlines()
	for i, h := range now.headlines() {
		c.Rows = append(c.Rows, Change{
			Name: h.name, Now: h.figure.settled(), Before: old[i].figure.settled(), Difference: int64(h.figure.Count - old[i].figure.Count),
		})
	}
	return c
}

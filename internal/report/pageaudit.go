package report

import (
	"fmt"
	"slices"
)

func (d *Audit) page() page {
	title := "Audit report"
	if d.Period.Name != "" {
		title += " " + d.Period.Name
	}
	p := page{
		title: title, facts: d.Coverage.head(d.Period),
		sections: []section{
			d.Completeness.section(d.NotListed), d.comparison(), d.decisions(), d.violations(), d.escalation(), d.investigations(),
			d.decrees(), d.committee(), policiesSection(d.Policies), d.releases(), d.loads(), d.messages(), d.health(),
		},
	}
	return p.limit(d.Period)
}

func (d *Audit) comparison() section {
	s := section{id: "comparison", title: "Compared with the period before", text: []string{"The period before is " + d.Comparison.Before.String() + "."}}
	if !d.Comparison.Covered {
		s.text = append(s.text, "The ledger has no entry from before that period: it may have begun within it.")
	}
	g := newGrid("Figures of both periods", "What", "Now#", "Before#", "Difference#", "Entries now", "Entries before")
	for _, r := range d.Comparison.Rows {
		g.row(words(r.Name), count(r.Now.Count), count(r.Before.Count), wordsf("%+d", r.Difference), cited(r.Now.Entries), cited(r.Before.Entries))
	}
	s.tables = g.filled()
	return s
}

func (d *Audit) decisions() section {
	s := section{
		id: "decisions", title: "Decisions", check: "charter-admin audit list --kind denial,allowance,window",
		text: []string{
			"Allowed questions are counted in windows, denials are entries of their own. Lifted denials are those that warn or shadow mode let pass.",
			"A denial counts once for each code among its reasons.",
		},
	}
	s.tables = slices.Concat(
		[]grid{figures("Decisions", headline{"allowed", d.Decisions.Allowed}, headline{"denied", d.Decisions.Denied}, headline{"lifted denials", d.Decisions.Lifted})},
		d.Decisions.ByOutcome.grids("Decisions by outcome", "Outcome"),
		d.Decisions.ByClause.grids("Denied by clause", "Clause"),
		d.Decisions.BySeverity.grids("Denied by severity", "Severity"),
		d.Decisions.ByReason.grids("Denied by reason", "Code"),
		d.Decisions.LiftedByClause.grids("Lifted denials by clause", "Clause"),
	)
	return s
}

func (d *Audit) violations() section {
	v := &d.Violations
	s := section{
		id: "violations", title: "Violations", check: "charter-admin audit list --kind violation",
		text: []string{"An incident is begun by a denial; further ones of the same node and clause belong to it until it has been quiet for a while. A report counts as an incident when an investigation confirms it."},
	}
	s.tables = slices.Concat(
		[]grid{figures("Violations", headline{"incidents", v.Incidents}, headline{"reports", v.Reports}, headline{"confirmed by an investigation", v.Confirmed}, headline{"found to be unfounded", v.Unfounded})},
		v.ByType.grids("Incidents and reports by type", "Type"), v.BySeverity.grids("Incidents and reports by severity", "Severity"),
		v.ByClause.grids("Incidents and reports by clause", "Clause"), v.ByNode.grids("Incidents and reports by node", "Node"),
		violationsGrid(v.List),
	)
	return s
}

func (d *Audit) escalation() section {
	s := section{id: "escalation", title: "Escalation and standing", check: "charter-admin audit list --kind standing"}
	s.tables = slices.Concat(
		d.Escalation.ByLevel.grids("Incidents by the level they reached", "Level"), d.Escalation.ByStanding.grids("Changes of standing by kind", "Change"),
		standingsGrid(d.Escalation.Changes),
	)
	nothing(&s, "No incident, and no change of standing.")
	return s
}

func (d *Audit) investigations() section {
	i := &d.Investigations
	s := section{
		id: "investigations", title: "Investigations", check: "charter-admin audit list --kind investigation",
		text: []string{fmt.Sprintf("%s were open when the period began, %s when it ended, %s of these overdue.", number(i.OpenBefore), number(i.OpenAfter), number(i.OverdueOpen))},
	}
	if t := i.TimeToClose; t.Count > 0 {
		s.text = append(s.text, fmt.Sprintf("Time to close, of %s closed: least %s, median %s, 90th percentile %s, most %s.",
			number(t.Count), spell(t.Least), spell(t.Median), spell(t.P90), spell(t.Most)))
	}
	s.tables = append([]grid{figures("Steps", headline{"opened", i.Opened}, headline{"resolved", i.Resolved}, headline{"dismissed", i.Dismissed}, headline{"became overdue", i.Overdue})},
		casesGrid(i.List)...)
	return s
}

func (d *Audit) decrees() section {
	s := section{id: "overrides", title: "Overrides and revocations", check: "charter-admin audit list --kind override,revocation"}
	s.tables = slices.Concat(
		d.Overrides.Steps.grids("Steps of overrides", "Step"), overridesGrid(d.Overrides.List),
		d.Revocations.Steps.grids("Steps of revocations", "Step"), revocationsGrid(d.Revocations.List),
	)
	nothing(&s, "None was in force.")
	return s
}

func (d *Audit) committee() section {
	s := section{id: "committee", title: "Committee", check: "charter-admin audit list --kind committee"}
	g := newGrid("Changes of the committee", "Time", "Revision", "Members#", "Added", "Removed", "Changed", "Entry")
	for _, c := range d.Committee {
		g.row(at(c.Time), name(c.Revision), wordsf("%d", c.Size), names(c.Added, "–"), names(c.Removed, "–"), names(c.Changed, "–"), index(c.Index))
	}
	s.tables = g.filled()
	nothing(&s, "It did not change.")
	return s
}

func (d *Audit) loads() section {
	return section{
		id: "loads", title: "Charters loaded", check: "charter-admin audit list --kind charter-load",
		tables: append([]grid{figures("Loads", headline{"loaded", d.Loads.Loaded}, headline{"refused", d.Loads.Refused})}, d.Loads.ByCode.grids("Refused by code", "Code")...),
	}
}

func (d *Audit) messages() section {
	n := &d.Notifications
	s := section{
		id: "notifications", title: "Notifications and alerts", check: "charter-admin audit list --kind notification,alert",
		text: []string{"A failed attempt is repeated; a message that is given up is kept with the server. One message may stand for several notices."},
	}
	g := newGrid("Messages by receiver", "Receiver", "Channel", "State", "Count#", "Entries")
	for _, r := range n.Receivers {
		g.row(name(r.Receiver), name(r.Channel), name(r.State), count(r.Count), cited(r.Entries))
	}
	g.other(n.Other)
	s.tables = slices.Concat(
		[]grid{figures(
			"Messages", headline{"delivered", n.Delivered}, headline{"notices in them", n.Notices}, headline{"failed attempts", n.Failed}, headline{"given up", n.Dead},
			headline{"alerts firing", d.Alerts.Firing}, headline{"alerts resolved", d.Alerts.Resolved},
		)},
		g.filled(), n.ByError.grids("Failures by code", "Code"), d.Alerts.ByName.grids("Alerts firing by name", "Alert"),
	)
	return s
}

func (d *Audit) health() section {
	h := &d.Ledger
	s := section{id: "ledger", title: "The ledger", check: "charter-admin audit verify"}
	keys := newGrid("Keys that sign the ledger", "Time", "Change", "Key", "Before", "Entry")
	for _, k := range h.Keys {
		keys.row(at(k.Time), words(k.Action), name(k.Key), names(k.Old, "–"), index(k.Index))
	}
	seals := newGrid("Ranges that were exported and may be pruned", "Time", "From", "Before", "Manifest", "Retention overruled", "Entry")
	for _, r := range h.Seals {
		seals.row(at(r.Time), index(r.From), index(r.To), name(r.Manifest), yes(r.Overruled), index(r.Index))
	}
	s.tables = slices.Concat(
		[]grid{figures("Entries", headline{"entries of the period", h.Entries}, headline{"the clock had gone back", h.ClockBack}, headline{"request ids used for another request", h.Conflicts})},
		h.ByKind.grids("Entries by kind", "Kind"), keys.filled(), seals.filled(),
	)
	return s
}

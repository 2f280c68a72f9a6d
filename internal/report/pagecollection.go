package report

import (
	"slices"
)

func (d *Collection) page() page {
	facts := append([]fact{{"Node", name(d.Node)}}, d.Coverage.head(d.Period)...)
	p := page{
		title: "Data-collection report", facts: facts,
		sections: []section{
			d.Completeness.section(d.NotListed), d.summary(), d.allowed(), d.retention(), d.refused(), d.standing(), d.decrees(), policiesSection(d.Policies),
		},
	}
	return p.limit(d.Period)
}

func (d *Collection) summary() section {
	s := section{id: "summary", title: "Summary", text: []string{
		"Counts are of questions: one for each series or metric that somebody asked about. What was overflowing or missing cannot be ascribed to a node: the counts of this one are at least these.",
	}}
	if d.Completeness.Complete {
		s.text = []string{"Counts are of questions: one for each series or metric that somebody asked about."}
	}
	s.tables = slices.Concat(
		[]grid{figures("In total", headline{"allowed to collect", d.Summary.Collected}, headline{"allowed to read", d.Summary.Read}, headline{"allowed to export", d.Summary.Exported},
			headline{"denied", d.Summary.Denied}, headline{"lifted denials", d.Summary.Lifted})},
		d.Summary.ByClause.grids("Allowed by clause", "Clause"), d.Summary.ByRole.grids("Allowed by role", "Role"), d.Summary.ByPurpose.grids("Allowed by purpose", "Purpose"),
	)
	return s
}

func (d *Collection) allowed() section {
	s := section{id: "allowed", title: "What was allowed", check: "charter-admin audit list --kind window,allowance"}
	g := newGrid("Allowed questions", "Metric", "Operation", "Clause", "Role", "Purpose", "Outcome", "Count#", "Entries")
	for i := range d.Allowed.Rows {
		u := &d.Allowed.Rows[i]
		g.row(name(u.Metric), name(u.Operation), name(u.Clause), name(u.Role), name(u.Purpose), name(u.Outcome), count(u.Count), cited(u.Entries))
	}
	g.other(d.Allowed.Other)
	labels := newGrid("Names of labels that came with it; their values are nowhere in the ledger", "Clause", "Labels")
	for _, l := range d.Labels {
		list := names(l.Names, "–")
		if l.More {
			list.text += ", and more"
		}
		labels.row(name(l.Clause), list)
	}
	s.tables = slices.Concat(g.filled(), labels.filled())
	nothing(&s, "Nothing was.")
	return s
}

func (d *Collection) retention() section {
	s := section{id: "retention", title: "How long it is kept", text: []string{
		"The longest time is that of the clause, in the charter that answered. A question may ask for less; one that asks for none gets the longest time. What asked for more was allowed by a waiver or an override.",
	}}
	g := newGrid("Retention by clause", "Clause", "Revision", "Longest", "Asked for", "Count#", "Entries")
	for i := range d.Kept {
		k := &d.Kept[i]
		longest := words("not known: the charter was not given")
		switch {
		case k.Given && k.Retention == "":
			longest = words("no limit")
		case k.Given:
			longest = name(k.Retention)
		}
		asked := words("the longest")
		if k.Asked != "" {
			asked = name(k.Asked)
		}
		g.row(name(k.Clause), name(k.Revision), longest, asked, count(k.Count), cited(k.Entries))
	}
	s.tables = g.filled()
	nothing(&s, "Nothing was allowed, so there is nothing to keep.")
	return s
}

func (d *Collection) refused() section {
	s := section{
		id: "denied", title: "What was denied, and why", check: "charter-admin audit list --kind denial",
		text: []string{"Own tells whether the node itself asked, proven by its certificate: others can ask in its name."},
	}
	s.tables = slices.Concat(d.Denied.grids("Denied"), d.Lifted.grids("Denials that warn or shadow mode let pass: this data could be had"))
	nothing(&s, "Nothing was.")
	return s
}

func (r *Refusals) grids(caption string) []grid {
	g := newGrid(caption, "Metric", "Operation", "Role", "Purpose", "Outcome", "Clause", "Severity", "Reasons", "Own", "Count#", "Entries")
	for i := range r.Rows {
		f := &r.Rows[i]
		g.row(name(f.Metric), name(f.Operation), name(f.Role), name(f.Purpose), name(f.Outcome), name(f.Clause), name(f.Severity), names(f.Reasons, "–"), yes(f.Own),
			count(f.Count), cited(f.Entries))
	}
	g.other(r.Other)
	return g.filled()
}

func (d *Collection) standing() section {
	s := section{
		id: "standing", title: "Standing, violations and investigations", check: "charter-admin audit list --kind standing,violation,investigation",
		text: []string{"The standing of the node when the period began and when it ended:"},
	}
	ends := newGrid("Standing", "When", "Standing")
	ends.row(words("at the beginning"), name(d.Standing.Before))
	ends.row(words("at the end"), name(d.Standing.After))
	s.tables = slices.Concat([]grid{ends}, standingsGrid(d.Standing.Changes), violationsGrid(d.Violations), casesGrid(d.Investigations))
	return s
}

func (d *Collection) decrees() section {
	s := section{id: "overrides", title: "Overrides and revocations", check: "charter-admin audit list --kind override,revocation"}
	s.tables = slices.Concat(overridesGrid(d.Overrides), revocationsGrid(d.Revocations))
	nothing(&s, "None was in force for this node.")
	return s
}

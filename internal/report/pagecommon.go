package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// head are the facts that every report begins with.
func (c *Coverage) head(p Period) []fact {
	facts := []fact{
		{"Period", words(p.String() + ", the end excluded")},
		{"Ledger", name(c.Origin)},
		{"Entries of the period", cited(c.Entries)},
		{"Last entry looked at", at(c.Through)},
		{"Checkpoint", wordsf("size %s, root %s", number(c.Size), c.Root)},
		{"Signature of the checkpoint", words(map[bool]string{true: "verified", false: "NOT verified"}[c.Signature == "verified"])},
		{"Assurance", words(assurance(c.Assurance))},
	}
	if len(c.Keys) > 0 {
		facts = append(facts, fact{"Keys", names(c.Keys, "")})
	}
	if c.KeysFrom != "" {
		facts = append(facts, fact{"Keys come from", name(c.KeysFrom)})
	}
	if c.Witnessed > 0 {
		facts = append(facts, fact{"Cosigned by witnesses up to size", count(c.Witnessed)})
	}
	return facts
}

// assurance says what a level is worth.
func assurance(level string) string {
	switch level {
	case "self-consistent":
		return "self-consistent: every entry verified, against keys that were found with the ledger; who can write there could write another one"
	case "anchored":
		return "anchored: every entry verified, against a key or checkpoint that was kept elsewhere"
	case "witnessed":
		return "witnessed: every entry verified, and cosigned by enough witnesses"
	default:
		return "UNVERIFIED: nobody verified the ledger for this report; it says what the ledger's holder says"
	}
}

// section is what is missing from a report.
func (c *Completeness) section(notListed map[string]uint64) section {
	s := section{id: "completeness", title: "Completeness", text: c.sentences()}
	if c.Complete && len(notListed) == 0 {
		s.text = append([]string{"Nothing is known to be missing from the counts of this report."}, s.text...)
	} else {
		s.text = append([]string{"The counts are exact for what was recorded. This is known to be missing or not told apart:"}, s.text...)
	}
	for _, list := range slices.Sorted(maps.Keys(notListed)) {
		s.text = append(s.text, fmt.Sprintf("The list of %s has no room for %s more.", list, number(notListed[list])))
	}
	g := newGrid("Gaps that the ledger reports", "Time", "Reason", "What is missing", "How many#", "From", "To", "Entry")
	for _, gap := range c.Gaps {
		many := words("unknown")
		if gap.Count != nil {
			many = count(*gap.Count)
		} else if gap.AtLeast > 0 {
			many = words("at least " + number(gap.AtLeast))
		}
		what := "denials"
		if gap.What == MissingAllowed {
			what = "counts of allowed questions"
		}
		g.row(at(gap.Time), name(gap.Reason), words(what), many, at(gap.From), at(gap.To), index(gap.Index))
	}
	s.tables = append(g.filled(), revisions("Revisions that do not have allowed questions recorded", c.Unrecorded)...)
	return s
}

func revisions(caption string, list []string) []grid {
	g := newGrid(caption, "Revision")
	for _, revision := range list {
		g.row(name(revision))
	}
	return g.filled()
}

func index(i uint64) cell { return wordsf("%d", i) }

func violationsGrid(list []Violation) []grid {
	g := newGrid("Violations", "Id", "Time", "Source", "Node", "Metric", "Clause", "Severity", "Type", "Consequence", "Entry")
	for i := range list {
		v := &list[i]
		consequence := words("–")
		if v.Action != "" {
			consequence = name(fmt.Sprintf("%d %s", v.Level, v.Action))
		}
		entry := index(v.Index)
		if v.Denial != nil {
			entry = wordsf("%d, denial %d", v.Index, *v.Denial)
		}
		g.row(name(v.ID), at(v.Time), name(v.Source), name(v.Node), name(v.Metric), name(v.Clause), name(v.Severity), name(v.Type), consequence, entry)
	}
	return g.filled()
}

func standingsGrid(list []Standing) []grid {
	g := newGrid("Changes of standing", "Time", "Node", "From", "To", "Action", "Level#", "Cause", "Until", "Lifted by", "Signed by", "Entry")
	for i := range list {
		s := &list[i]
		g.row(at(s.Time), name(s.Node), name(s.From), name(s.To), name(s.Action), wordsf("%d", s.Level), name(s.Cause), at(s.Until), name(s.Restore), names(s.Signers, "–"), index(s.Index))
	}
	return g.filled()
}

func casesGrid(list []Case) []grid {
	g := newGrid("Investigations", "Id", "Violation", "Node", "Severity", "Opened", "Opened by", "Assigned to", "Due", "Status", "Closed", "Time to close", "Overdue", "Entries")
	for i := range list {
		c := &list[i]
		status := c.Status
		if c.Outcome != "" {
			status += ": " + c.Outcome
		}
		took := words("–")
		if c.Seconds != nil {
			took = words(spell(*c.Seconds))
		}
		g.row(name(c.ID), name(c.Violation), name(c.Node), name(c.Severity), at(c.Opened), name(c.OpenedBy), name(c.Assignee), at(c.Due),
			name(status), at(c.Closed), took, yes(c.Overdue), cited(c.Entries))
	}
	return g.filled()
}

func overridesGrid(list []Override) []grid {
	g := newGrid("Overrides", "Id", "Clauses", "Nodes", "Loosened", "From", "Until", "Renewals#", "Ended", "Signed by", "Entries")
	for i := range list {
		o := &list[i]
		var what []string
		if o.Retention != "" {
			what = append(what, "retention "+o.Retention)
		}
		for _, purpose := range o.Purposes {
			what = append(what, "purpose "+purpose)
		}
		ended := at(o.Ended)
		if o.Ended != "" {
			ended = name(o.Ended + " by " + o.EndedBy)
		}
		g.row(name(o.ID), names(o.Clauses, "–"), names(o.Nodes, "all"), names(what, "–"), at(o.From), at(o.Until), count(o.Renewals), ended,
			names(o.Signers, "nobody"), cited(o.Entries))
	}
	return g.filled()
}

func revocationsGrid(list []Revocation) []grid {
	g := newGrid("Revocations of data access", "Node", "Reason", "Began", "By", "Export until", "Export closed", "Ended", "Signed by", "Entries")
	for i := range list {
		r := &list[i]
		g.row(name(r.Node), name(r.Reason), at(r.Began), name(r.By), at(r.ExportUntil), at(r.ExportClosed), at(r.Ended), names(r.Signers, "–"), cited(r.Entries))
	}
	return g.filled()
}

func policiesSection(list []Policy) section {
	s := section{
		id: "policies", title: "Charters in force", check: "charter-admin audit list --kind activation",
		text: []string{"A charter that was given when the report was made is recognised by its digest, and retention is that which it says."},
	}
	g := newGrid("Activations", "Revision", "Charter", "Version", "Digest", "Given", "Time", "Trigger", "Share of nodes", "Entry")
	for i := range list {
		p := &list[i]
		for _, a := range p.Activations {
			share := words("all")
			if a.Percent != nil {
				share = wordsf("%d %%", *a.Percent)
			}
			when := at(a.Time)
			if a.Before {
				when = words(a.Time + ", before the period")
			}
			g.row(name(p.Revision), name(p.Charter), name(p.Version), name(p.Digest), yes(p.Given), when, name(a.Trigger), share, index(a.Index))
		}
	}
	s.tables = g.filled()
	if s.tables == nil {
		s.text = []string{"The ledger does not say which charter was in force."}
	}
	return s
}

// spell writes seconds for people.
func spell(seconds uint64) string {
	var parts []string
	for _, unit := range []struct {
		size uint64
		name string
	}{{86400, "d"}, {3600, "h"}, {60, "m"}, {1, "s"}} {
		if n := seconds / unit.size; n > 0 || unit.size == 1 && len(parts) == 0 {
			parts = append(parts, fmt.Sprintf("%d%s", n, unit.name))
			seconds %= unit.size
		}
	}
	return strings.Join(parts, " ")
}

// nothing is the text of a section without tables.
func nothing(s *section, text string) {
	if len(s.tables) == 0 {
		s.text = append(s.text, text)
	}
}

package report

import (
	"slices"
	"strconv"
)

func (d *Audit) releases() section {
	r := &d.Releases
	s := section{
		id: "releases", title: "Releases", check: "charter-admin audit list --kind release,activation,charter-load",
		text: []string{
			"A server verifies a release against its trust policy before it is published, and so does every node before it runs it; signers have the names that they have in the policy of the server.",
			"What a node ran and refused is in its own ledger, of which the server keeps a copy.",
		},
	}
	s.tables = slices.Concat(r.Steps.grids("Steps of rollouts", "Step"), releasesGrid(r.List), stopsGrid(r.Stops), backwardsGrid(r.Backwards), decidedGrid(r.Decided), refusedGrid(r.Refused))
	if len(s.tables) == 0 {
		s.text = []string{"The ledger tells of no signed release."}
	}
	return s
}

// sequence writes a sequence; there is none of 0.
func sequence(n int64) cell {
	if n == 0 {
		return words("–")
	}
	return words(strconv.FormatInt(n, 10))
}

func releasesGrid(list []Release) []grid {
	g := newGrid("Releases for nodes", "Channel", "Sequence", "Revision", "Digest", "Signed by", "Published", "Published by", "Rollback", "First offered", "Everybody", "Nobody any more", "State", "Entries")
	for i := range list {
		r := &list[i]
		state := r.State
		switch {
		case r.ReplacedBy != 0:
			state += " by " + strconv.FormatInt(r.ReplacedBy, 10)
		case r.Stages > 0 && (r.State == releaseRunning || r.State == releaseHalted || r.State == releaseRolledBack):
			state += " in stage " + strconv.Itoa(r.Stage) + " of " + strconv.Itoa(r.Stages)
		}
		back := sequence(r.Rollback)
		if r.RollbackOf != 0 {
			back = words("of " + strconv.FormatInt(r.RollbackOf, 10))
		}
		g.row(name(r.Channel), sequence(r.Sequence), name(r.Revision), name(r.Digest), names(r.Signers, "–"), at(r.Published), name(r.PublishedBy), back,
			at(r.Began), at(r.Completed), at(r.Ended), words(state), cited(r.Entries))
	}
	return g.filled()
}

func stopsGrid(list []Stop) []grid {
	g := newGrid("Halts and rollbacks", "Time", "Channel", "Sequence", "Step", "Given instead", "Stage", "By", "Measured", "Allowed", "Entry")
	for i := range list {
		s := &list[i]
		by, value, limit := name(s.By), words("–"), words("–")
		if s.Gate != "" {
			by = name("gate " + s.Gate)
			value = wordsf("%.6g, in %s of %s", s.Value, several(s.Reports, "report"), several(s.Reached, "node"))
			limit = wordsf("%.6g", s.Limit)
		}
		g.row(at(s.Time), name(s.Channel), sequence(s.Sequence), name(s.Action), sequence(s.Rollback), wordsf("%d of %d", s.Stage, s.Stages), by, value, limit, index(s.Index))
	}
	return g.filled()
}

func several(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return strconv.Itoa(n) + " " + what
}

func backwardsGrid(list []Backwards) []grid {
	g := newGrid("Nodes that ran an older release than before", "Time", "Node", "Channel", "Sequence", "Before", "Digest", "Entry")
	for i := range list {
		b := &list[i]
		g.row(at(b.Time), name(b.Node), name(b.Channel), sequence(b.Sequence), sequence(b.Before), name(b.Digest), index(b.Index))
	}
	return g.filled()
}

func decidedGrid(list []Decided) []grid {
	g := newGrid("Releases that decided where this ledger was written", "From", "Until", "Channel", "Sequence", "Revision", "Digest", "Its statement ends", "Entry")
	for i := range list {
		d := &list[i]
		from := at(d.From)
		if d.Before {
			from = words(d.From + ", before the period")
		}
		g.row(from, at(d.Until), name(d.Channel), sequence(d.Sequence), name(d.Revision), name(d.Digest), at(d.Expires), index(d.Index))
	}
	return g.filled()
}

func refusedGrid(list []RefusedRelease) []grid {
	g := newGrid("Releases and state bundles that were refused there", "Time", "What", "Code", "Channel", "Sequence", "Digest", "How often#", "Entry")
	for i := range list {
		r := &list[i]
		g.row(at(r.Time), name(r.Part), name(r.Code), name(r.Channel), sequence(r.Sequence), name(r.Digest), count(max(r.Repeats, 1)), index(r.Index))
	}
	return g.filled()
}

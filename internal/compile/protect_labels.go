package compile

import (
	"slices"

	"github.com/westworld-charter/charter/internal/charter"
)

// A label of a series is denied when the selected clause forbids it, or when an
// enforced forbidden entry matches it. Dropping the label in the clause
// satisfies such an entry, unless the entry is hard: protected and not
// droppable.

// hard reports whether dropping a label does not satisfy the entry.
func hard(f *charter.Forbidden) bool { return f.Protected && !f.Droppable }

// tagging reports whether an enforced entry matches everything that a label
// pattern does, and whether a hard one does.
func (t *terrain) tagging(label string) (some, firm bool) {
	t.tagged.Match(label, func(i int) bool {
		if t.tags[i].enforced {
			some = true
			firm = hard(&t.Forbidden[t.tags[i].entry])
		}
		return !firm
	})
	return some, firm
}

// refuses reports whether a series that carries the label is denied by the
// charter under the clause.
func (t *terrain) refuses(c *charter.Clause, label string) bool {
	if slices.Contains(c.Labels.Forbid, label) {
		return true
	}
	some, firm := t.tagging(label)
	return firm || some && !slices.Contains(c.Labels.Drop, label)
}

// openTags returns the enforced label bans of the base that no entry of the
// derived charter covers as hard.
func (p *protection) openTags() []int {
	var open []int
	for i, b := range p.base.tags {
		if !b.enforced {
			continue
		}
		some, firm := p.derived.tagging(b.glob.String())
		if !some || hard(&p.base.Forbidden[b.entry]) && !firm {
			open = append(open, i)
		}
	}
	return open
}

// compareTags reports labels that the base refuses by a forbidden entry and the
// derived charter does not refuse under this clause. Of a pattern nothing but
// another pattern covers all names; of an exact name the clause can do it.
func (d *duel) compareTags() {
	for _, i := range d.tags {
		b := d.base.tags[i]
		f := &d.base.Forbidden[b.entry]
		label := b.glob.String()
		if b.glob.Exact() && (d.derived.refuses(d.mine, label) || !d.base.refuses(d.theirs, label)) {
			continue
		}
		pos := d.mine.Pos()
		if own := d.forbidden(f.ID); own != nil {
			pos = own.Pos()
		}
		d.add(pos, "keep "+quoted(b.glob)+" among the forbidden labels", "label %s is no longer forbidden by entry %s", quoted(b.glob), f.ID)
	}
}

// compareLabels compares what the two clauses do with single labels.
func (d *duel) compareLabels() {
	mine, theirs := &d.mine.Labels, &d.theirs.Labels
	for _, label := range theirs.Forbid {
		if !d.derived.refuses(d.mine, label) {
			d.add(mine.Field("forbid"), "forbid "+label, "clause %s no longer forbids label %s", d.mine.ID, label)
		}
	}
	for _, label := range theirs.Drop {
		if !slices.Contains(mine.Drop, label) && !d.derived.refuses(d.mine, label) {
			d.add(mine.Field("drop"), "drop "+label, "clause %s no longer drops label %s", d.mine.ID, label)
		}
	}
	for _, label := range theirs.Hash {
		if !slices.Contains(mine.Hash, label) && !slices.Contains(mine.Drop, label) && !d.derived.refuses(d.mine, label) {
			d.add(mine.Field("hash"), "hash "+label, "clause %s no longer hashes label %s", d.mine.ID, label)
		}
	}
	for i, label := range mine.Drop {
		if d.base.refuses(d.theirs, label) && !slices.Contains(theirs.Forbid, label) && !d.derived.refuses(d.mine, label) {
			d.add(mine.Item("drop", i), "do not drop "+label, "clause %s drops label %s, which satisfies the entry that refuses it in the base", d.mine.ID, label)
		}
	}
}

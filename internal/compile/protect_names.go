package compile

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/diag"
	"github.com/westworld-charter/charter/internal/space"
)

// checkForbidden reports protected forbidden entries of the base of which
// something is no longer forbidden by protected entries, or forbidden less
// severely.
func (p *protection) checkForbidden() {
	for i := range p.base.Forbidden {
		f := &p.base.Forbidden[i]
		if !f.Protected {
			continue
		}
		own := p.forbidden(f.ID)
		p.checkEntry(f, own)
		for k, b := range p.base.bans {
			if b.entry == i {
				p.checkBan(f, own, "match", p.base.bans[k], p.derived.bans, p.derived.banned)
			}
		}
		for k, b := range p.base.tags {
			if b.entry == i {
				p.checkBan(f, own, "labels", p.base.tags[k], p.derived.tags, p.derived.tagged)
			}
		}
	}
}

// forbidden is the forbidden entry of the derived charter with that id.
func (p *protection) forbidden(id string) *charter.Forbidden {
	for i := range p.derived.Forbidden {
		if p.derived.Forbidden[i].ID == id {
			return &p.derived.Forbidden[i]
		}
	}
	return nil
}

// checkEntry compares the fields of the entry of the same id.
func (p *protection) checkEntry(f, own *charter.Forbidden) {
	if own == nil {
		return
	}
	if !own.Protected {
		p.relaxedEntry(f, own.Field("protected"), "it is no longer protected", "write protected: true")
	}
	if own.Droppable && !f.Droppable {
		p.relaxedEntry(f, own.Field("droppable"), "its labels may be dropped instead of being refused", "remove droppable")
	}
}

func (p *protection) relaxedEntry(f *charter.Forbidden, pos diag.Pos, what, fix string) {
	d := p.list.Errorf(p.at(pos), codeRelaxesProtected, "protected forbidden entry %s is relaxed: %s", f.ID, what)
	d.Related = []diag.Related{{Pos: f.Pos(), Message: "entry " + f.ID + " is protected here"}}
	d.Fix = fix
}

// checkBan checks that protected entries of the derived charter forbid what one
// pattern of a protected entry of the base forbids, as strictly.
func (p *protection) checkBan(f, own *charter.Forbidden, field string, b ban, bans []ban, index *space.Index) {
	var covering []*charter.Forbidden
	index.Match(b.glob.String(), func(k int) bool {
		c := &p.derived.Forbidden[bans[k].entry]
		if c.Protected && (f.Droppable || !c.Droppable || field == "match") {
			covering = append(covering, c)
		}
		return true
	})
	pos := p.derived.Field("forbidden")
	if own != nil {
		pos = own.Field(field)
		if !own.Protected || own.Droppable && !f.Droppable && field == "labels" {
			return // the cause was reported
		}
	}
	if len(covering) == 0 {
		var none []space.Glob
		for k := range bans {
			if p.derived.Forbidden[bans[k].entry].Protected {
				none = append(none, bans[k].glob)
			}
		}
		kind := map[string]string{"match": "metric", "labels": "label"}[field]
		what := fmt.Sprintf("no protected entry forbids %s any more", quoted(b.glob))
		if name, verdict := space.Witness([]space.Glob{b.glob}, none); verdict == space.Found {
			what += fmt.Sprintf(", such as %s %q", kind, name)
		}
		p.relaxedEntry(f, pos, what, fmt.Sprintf("keep %s, or a wider pattern, in a protected entry", quoted(b.glob)))
		return
	}
	p.checkStrictness(f, own, covering)
}

// checkStrictness checks that one of the entries that cover a pattern is at
// least as strict as the entry of the base in everything that follows from a
// violation.
func (p *protection) checkStrictness(f, own *charter.Forbidden, covering []*charter.Forbidden) {
	at := func(field string) diag.Pos {
		if own != nil {
			return own.Field(field)
		}
		return covering[0].Field(field)
	}
	fields := []struct {
		name   string
		theirs string
		get    func(*charter.Forbidden) string
		scale  []string // from lenient to strict; nil: any other value is a relaxation
	}{
		{"severity", f.Severity, func(c *charter.Forbidden) string { return c.Severity }, []string{"low", "medium", "high", "critical"}},
		{"penalty", f.Penalty, func(c *charter.Forbidden) string { return c.Penalty }, []string{"warning", "suspension", "ban_1year", "permanent_ban", "criminal_referral"}},
		{"violation", f.Violation, func(c *charter.Forbidden) string { return c.Violation }, nil},
	}
	for _, field := range fields {
		enough := func(c *charter.Forbidden) bool {
			mine := field.get(c)
			return field.theirs == "" || mine == field.theirs ||
				slices.Index(field.scale, mine) > slices.Index(field.scale, field.theirs)
		}
		if !slices.ContainsFunc(covering, enough) {
			p.relaxedEntry(f, at(field.name), than(field.name, field.get(cmp.Or(own, covering[0])), field.theirs), "write "+field.name+": "+field.theirs)
		}
	}
	if f.AutoShutdown && !slices.ContainsFunc(covering, func(c *charter.Forbidden) bool { return c.AutoShutdown }) {
		p.relaxedEntry(f, at("auto_shutdown"), "it no longer shuts down", "write auto_shutdown: true")
	}
}

// checkUncovered reports metric names that the base forbids under a protected
// clause, with an entry that is not protected itself, and the derived charter
// allows.
func (p *protection) checkUncovered() {
	for _, b := range p.base.bans {
		if !b.enforced || p.derived.bannedBy(b.glob) >= 0 {
			continue
		}
		f := &p.base.Forbidden[b.entry]
		if f.Protected {
			continue // reported by checkForbidden
		}
		pos := p.derived.Field("remove")
		if own := p.forbidden(f.ID); own != nil {
			pos = own.Field("match")
			if !p.derived.enforces(own) {
				pos = own.Field("mode")
			}
		}
		r := relaxation{
			pos: pos, what: fmt.Sprintf("the base forbids it with %s of entry %s", quoted(b.glob), f.ID),
			fix: fmt.Sprintf("keep %s forbidden", quoted(b.glob)),
		}
		p.derived.claimed.Intersecting(b.glob, func(i int) bool {
			mine := p.derived.claims[i].glob
			p.eachGuard(-1, []space.Glob{mine, b.glob}, func(guard int) bool {
				all := []space.Glob{mine, b.glob, p.base.claims[guard].glob}
				metric, verdict := p.witness(all, nil, func(name string) (space.Glob, bool) { return p.derived.overrules(i, name) })
				return p.settle(guard, metric, verdict, func(guard int, metric string) { p.report(r, guard, metric) })
			})
			return p.unproved < maxUnproved && !p.seen[r.key()]
		})
	}
}

// checkUnselected reports names that the base decides by a clause and for which
// the derived charter has none, when its mode does not enforce the denial that
// follows from that: such names pass, and without obligations.
func (p *protection) checkUnselected() {
	mode := p.derived.Enforcement.Mode
	if mode == decision.Enforce {
		return
	}
	for j, theirs := range p.base.claims {
		b := p.base.clauseOf(j)
		r := relaxation{
			pos:  p.derived.Enforcement.Field("mode"),
			what: fmt.Sprintf("no clause speaks for it, and enforcement.mode %s lets that pass; in the base clause %s decides", mode, b.ID),
			fix:  "keep the patterns of the base, or write mode: enforce",
		}
		p.eachGuard(j, []space.Glob{theirs.glob}, func(guard int) bool {
			metric, verdict := p.witness([]space.Glob{theirs.glob, p.base.claims[guard].glob}, nil, func(name string) (space.Glob, bool) {
				if g, ok := p.derived.speaks(name); ok {
					return g, true
				}
				return p.base.overrules(j, name)
			})
			return p.settle(guard, metric, verdict, func(guard int, metric string) { p.report(r, guard, metric) })
		})
	}
}

// speaks returns the widest glob of the charter that says something about name.
func (t *terrain) speaks(name string) (space.Glob, bool) {
	if b := t.denying(name); b >= 0 {
		return t.bans[b].glob, true
	}
	best := -1
	t.claimed.Match(name, func(i int) bool {
		if best < 0 || t.claims[i].rank < t.claims[best].rank {
			best = i
		}
		return true
	})
	if best < 0 {
		return space.Glob{}, false
	}
	return t.claims[best].glob, true
}

// strictness orders modes.
func strictness(mode string) int {
	return slices.Index([]string{decision.Shadow, decision.Warn, decision.Enforce}, mode)
}

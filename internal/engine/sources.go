package engine

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/decision"
)

// WithCharter returns the same policy with c in place of the charter that the
// bundle carries: the same charter as people wrote it, whose entries know their
// files. Another charter is an error.
func (p *Policy) WithCharter(c *charter.Charter) (*Policy, error) {
	if got := c.Revision(); got != p.revision {
		return nil, fmt.Errorf("the charter is %s, the policy %s", got, p.revision)
	}
	next := *p
	next.charter = c
	return &next, nil
}

// Locate returns d with the places where its clauses are written, as [Engine]
// answers have them: FILE:LINE of the file that wrote the clause, or of the
// charter in the bundle unless [Policy.WithCharter] gave another. It does not
// modify what d shares with others.
func (p *Policy) Locate(d decision.Decision) decision.Decision {
	d.Source = p.source(d.Clause)
	cloned := false
	for i := range d.Reasons {
		source := d.Source
		if clause := d.Reasons[i].Clause; clause != d.Clause {
			source = p.source(clause)
		}
		if source == "" {
			continue
		}
		if !cloned {
			d.Reasons, cloned = slices.Clone(d.Reasons), true
		}
		d.Reasons[i].Source = source
	}
	if d.WouldDeny != nil {
		original := p.Locate(*d.WouldDeny)
		d.WouldDeny = &original
	}
	return d
}

// source is "" for clauses that are not in the charter.
func (p *Policy) source(clause string) string {
	pos, ok := p.charter.Place(clause)
	if !ok {
		return ""
	}
	return pos.File + ":" + strconv.Itoa(pos.Line)
}

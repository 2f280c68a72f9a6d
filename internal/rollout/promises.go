package rollout

import (
	"slices"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/engine"
	"github.com/westworld-charter/charter/internal/space"
)

// promises are the protected forbidden entries of the active policy, which hold
// for canary nodes too.
type promises struct {
	revision string
	entries  map[string]bool // by id
	labels   []space.Glob    // that they forbid
}

// promisesOf returns nil without a policy.
func promisesOf(p *engine.Policy) *promises {
	if p == nil {
		return nil
	}
	kept := &promises{revision: p.Revision(), entries: map[string]bool{}}
	for _, f := range p.Charter().Forbidden {
		if !f.Protected {
			continue
		}
		kept.entries[f.ID] = true
		for _, pattern := range f.Labels {
			if glob, err := space.ParseGlob(pattern); err == nil { // a served charter has no others
				kept.labels = append(kept.labels, glob)
			}
		}
	}
	return kept
}

// broken reports whether the candidate's answer allows what the active one
// forbids by a promise, or lets pass a label that it removes by one. In doubt it
// does: the answer may be of a policy that was just replaced.
func (p *promises) broken(active, candidate *decision.Decision) bool {
	if !candidate.Allow {
		return false
	}
	unsure := p == nil || p.revision != active.Revision
	if !active.Allow {
		return slices.ContainsFunc(active.Reasons, func(r decision.Reason) bool {
			forbids := r.Code == decision.CodeForbiddenMetric || r.Code == decision.CodeForbiddenLabel
			return forbids && (unsure || p.entries[r.Clause])
		})
	}
	lost := func(label string) bool {
		removed := slices.Contains(candidate.Obligations.DropLabels, label) || slices.Contains(candidate.Obligations.ForbidLabels, label)
		return !removed && (unsure || slices.ContainsFunc(p.labels, func(g space.Glob) bool { return g.Match(label) }))
	}
	return slices.ContainsFunc(active.Obligations.DropLabels, lost) || slices.ContainsFunc(active.Obligations.ForbidLabels, lost)
}

package enforcement

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/westworld-charter/charter/internal/committee"
)

// maxLifts bounds the requests that lifted something and have expired since; the
// newest stay.
const maxLifts = 10_000

// lift is a signed request that ended a restriction or an override. A node elsewhere
// may have missed that, and believes nobody but the committee.
type lift struct {
	index   uint64 // of its entry
	expires time.Time
	request string // signed, JSON
}

// lifted is what a request lifts: a kind of requests, and the node or override.
type lifted struct{ kind, id string }

// lift remembers a request. Of each node the newest of each kind stays, and every other
// until it expires: a node that has seen a request beside the restriction takes it for
// spent, so that nobody can lift a later restriction with it.
func (s *state) lift(what lifted, index uint64, request string) {
	r, err := committee.Decode([]byte(request))
	if err != nil {
		return // it was lifted otherwise
	}
	before := slices.DeleteFunc(slices.Clone(s.lifts[what]), func(l lift) bool { return !s.at.Before(l.expires) })
	s.lifts[what] = append(before, lift{index, r.Request.Expires, request})
}

// Outbound is what nodes elsewhere are told, and by what they know that it is so.
type Outbound struct {
	// State are sections of data.charter_state, as [Options.Publish] has them, with the
	// time at which a warning or suspension ends by itself; nil when there is nothing to
	// say.
	State map[string]any
	// Proofs are signed requests of the committee: those that overrides in force come
	// from, with their renewals, and those that lifted something. Of the latter, of each
	// node, the newest of each kind and all that have not expired are there, but of the
	// expired ones no more than the newest 10,000 of all nodes.
	Proofs []json.RawMessage
}

// Outbound returns what there is to tell now.
func (e *Enforcer) Outbound() Outbound {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return Outbound{e.state.document(true), e.state.proofs(e.clock())}
}

// proofs lists requests in an order that follows from the state: overrides, then what
// was lifted, the latest first.
func (s *state) proofs(now time.Time) []json.RawMessage {
	var proofs []json.RawMessage
	for _, id := range slices.Sorted(maps.Keys(s.overrides)) {
		if o := s.overrides[id]; o.Ended.IsZero() {
			for _, request := range append([]string{o.Request}, o.renewed...) {
				if request != "" {
					proofs = append(proofs, json.RawMessage(request))
				}
			}
		}
	}
	var fresh, expired []lift
	for what, all := range s.lifts {
		for i, l := range all {
			switch {
			case now.Before(l.expires):
				fresh = append(fresh, l)
			case i == len(all)-1 && what.kind != committee.EndOverride: // an override has no restriction to hold on to
				expired = append(expired, l)
			}
		}
	}
	newest := func(a, b lift) int { return cmp.Compare(b.index, a.index) }
	slices.SortFunc(fresh, newest)
	slices.SortFunc(expired, newest)
	for _, l := range append(fresh, expired[:min(len(expired), maxLifts)]...) {
		proofs = append(proofs, json.RawMessage(l.request))
	}
	return proofs
}

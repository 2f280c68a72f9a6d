package explain

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/engine"
)

const (
	// MaxEvaluations bounds how many changed questions are decided for one
	// explanation.
	MaxEvaluations = 1000
	// MaxFields is how many fields of a question may change at the same time.
	MaxFields = 3
)

// Reach bounds a search to what the caller may say itself: a change to a role, or
// with a claim, that is not listed is not looked for.
type Reach struct{ Roles, Claims []string }

// Search says how a change was looked for.
type Search struct {
	// Fields is how many fields were changed at most, at the same time.
	Fields int `json:"fields"`
	// Evaluations is how many changed questions were decided, MaxEvaluations at
	// most.
	Evaluations int `json:"evaluations"`
	// Complete says that everything was tried, up to the change that was found:
	// without one there is none.
	Complete bool `json:"complete"`
	// Restricted says that only changes were tried that the caller may make.
	Restricted bool `json:"restricted,omitempty"`
}

// field is a field of questions that a change may be about. Those that ask for
// less come first: of changes of one size the first is stated.
type field uint8

const (
	labels field = iota
	retention
	claims
	purpose
	operation
	role
	fields int = iota
)

// search looks for the smallest change.
type search struct {
	Search

	ctx    context.Context
	in     decision.Input
	policy *engine.Policy
	facts  *facts
	reach  *Reach

	offending []string // labels, all of which must go
	longest   string   // retention
	found     *Change
}

// run tries the changes of one field, then of two, and so on.
//
// Two kinds of fields are settled beforehand, since the rules judge them by the
// name and node alone: every label that they found offending must go, and a
// retention that they found too long must be shorter; otherwise changing them
// changes nothing. The tests hold this against trying everything.
func (s *search) run() {
	s.Fields, s.Restricted = MaxFields, s.reach != nil
	s.offending = s.facts.LabelsRefused.get()
	for _, more := range s.facts.ForbiddenLabels.get() {
		s.offending = append(s.offending, more...)
	}
	slices.Sort(s.offending)
	s.offending = slices.Compact(s.offending)
	if !holds(s.facts.RetentionWithin) {
		s.longest = s.longestRetention()
	}
	for size := 1; size <= MaxFields; size++ {
		for _, set := range choose(size) {
			if slices.Contains(set, labels) != (len(s.offending) > 0) || slices.Contains(set, retention) != (s.longest != "") {
				continue
			}
			if !s.try(set) {
				return
			}
		}
	}
	s.Complete = true
}

// choose returns the sets of so many fields, in order.
func choose(size int) [][]field {
	var all [][]field
	var extend func(set []field, next field)
	extend = func(set []field, next field) {
		if len(set) == size {
			all = append(all, slices.Clone(set))
			return
		}
		for f := next; int(f) < fields; f++ {
			extend(append(set, f), f+1)
		}
	}
	extend(nil, 0)
	return all
}

// longestRetention is what the rules oblige to when no retention is asked for.
func (s *search) longestRetention() string {
	in := s.in
	in.Retention = ""
	s.Evaluations++
	d, err := s.policy.Decide(s.ctx, in)
	if err != nil {
		return ""
	}
	return d.Obligations.Retention
}

// try tries all values of a set of fields. It returns false when there is
// nothing left to do.
func (s *search) try(set []field) bool {
	has := func(f field) bool { return slices.Contains(set, f) }
	var c Change
	if has(labels) {
		c.RemoveLabels = s.offending
	}
	if has(retention) {
		c.Retention = s.longest
	}
	for _, who := range s.roles(has(role), has(claims)) {
		c.Role, c.AddClaims = who.role, who.claims
		for _, c.Operation = range s.operations(has(operation)) {
			for _, c.Purpose = range s.purposes(has(purpose)) {
				if !s.evaluate(c) {
					return false
				}
			}
		}
	}
	return true
}

// evaluate decides a changed question; false ends the search.
func (s *search) evaluate(c Change) bool {
	if s.Evaluations >= MaxEvaluations || s.ctx.Err() != nil {
		return false
	}
	s.Evaluations++
	d, err := s.policy.Decide(s.ctx, c.Apply(s.in))
	if err == nil && d.Outcome == decision.Allowed && d.Allow {
		s.found, s.Complete = &c, true
		return false
	}
	return true
}

// who is a role, "" when it stays, with claims to add.
type who struct {
	role   string
	claims []string
}

// roles returns the role, or the others, and with it the claims that it lacks.
// Those that lack fewer come first.
func (s *search) roles(change, withClaims bool) []who {
	var all []who
	c := s.policy.Charter()
	for i := range c.Roles {
		r := &c.Roles[i]
		if (r.Name != s.in.Role) != change || change && !s.mayBe(r.Name) {
			continue
		}
		w := who{}
		if change {
			w.role = r.Name
		}
		if withClaims {
			if w.claims = s.lacking(r); len(w.claims) == 0 || !s.mayClaim(w.claims) {
				continue
			}
		}
		all = append(all, w)
	}
	if !change && !withClaims {
		return []who{{}} // also when the role is not in the charter
	}
	slices.SortFunc(all, func(a, b who) int {
		return cmp.Or(cmp.Compare(len(a.claims), len(b.claims)), strings.Compare(a.role, b.role))
	})
	return all
}

func (s *search) mayBe(role string) bool {
	return s.reach == nil || slices.Contains(s.reach.Roles, role)
}

func (s *search) mayClaim(claims []string) bool {
	return s.reach == nil || !slices.ContainsFunc(claims, func(c string) bool { return !slices.Contains(s.reach.Claims, c) })
}

// lacking are the claims that a role requires and the question does not hold.
func (s *search) lacking(r *charter.Role) []string {
	var all []string
	for _, claim := range r.Requires {
		if !slices.Contains(s.in.Claims, claim) {
			all = append(all, claim)
		}
	}
	slices.Sort(all)
	return all
}

// operations returns the other operations; reading asks for the least.
func (s *search) operations(change bool) []string {
	if !change {
		return []string{""}
	}
	return slices.DeleteFunc([]string{decision.Read, decision.Collect, decision.Export}, func(o string) bool { return o == s.in.Operation })
}

// purposes returns the other purposes of the charter, then none.
func (s *search) purposes(change bool) []*string {
	if !change {
		return []*string{nil}
	}
	var all []*string
	for _, p := range append(slices.Sorted(slices.Values(s.policy.Charter().Purposes)), "") {
		if p != s.in.Purpose {
			all = append(all, &p)
		}
	}
	return all
}

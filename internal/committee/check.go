package committee

import (
	"slices"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
)

// Check says whether the charter lets such a request have effect at that time,
// signatures aside. What else decides is the state of the node or override, which is
// not in the charter. An error is an [*Error].
func (r Request) Check(c *charter.Charter, now time.Time) error {
	if _, _, err := r.message(); err != nil {
		return err
	}
	if r.Charter != c.Metadata.Name {
		return refuse(CodeWrongCharter, "the request is for the charter %q, and this one is %q", r.Charter, c.Metadata.Name)
	}
	if !now.Before(r.Expires) {
		return refuse(CodeExpiredRequest, "the request expired at %s; make another one", instant(r.Expires))
	}
	if r.Expires.Sub(now) > MaxLife {
		return refuse(CodeExpiresTooLate, "the request expires at %s, more than %v from now; make one that expires sooner", instant(r.Expires), MaxLife)
	}
	switch r.Kind {
	case Override:
		return r.loosens(c, now)
	case Renew:
		return within(c, now, now, r.Until)
	}
	return nil
}

// loosens looks at what an override would loosen.
func (r *Request) loosens(c *charter.Charter, now time.Time) error {
	clauses := make(map[string]*charter.Clause)
	for _, clause := range c.AllClauses() {
		clauses[clause.ID] = clause
	}
	for _, id := range r.Clauses {
		clause, ok := clauses[id]
		switch {
		case !ok:
			return refuse(CodeUnknownClause, "clauses: the charter has no clause %q; what is forbidden cannot be overridden", id)
		case clause.Protected:
			return refuse(CodeProtectedClause, "clauses: %s is protected, and no override loosens it", id)
		}
	}
	for _, f := range []struct {
		name string
		used bool
	}{{"retention", r.Retention != ""}, {"purposes", len(r.Purposes) > 0}} {
		if f.used && !slices.Contains(c.Emergency.May, f.name) {
			return refuse(CodeNotOverridable, "%s: the charter does not list it in emergency.may", f.name)
		}
	}
	for _, purpose := range r.Purposes {
		if !slices.Contains(c.Purposes, purpose) {
			return refuse(CodeNotOverridable, "purposes: the charter has no purpose %q", purpose)
		}
	}
	return within(c, now, r.From, r.Until)
}

// within keeps an override to the longest time the charter gives it.
func within(c *charter.Charter, now, from, until time.Time) error {
	longest, err := charter.ParseDuration(c.Emergency.Max)
	if err != nil {
		return refuse(CodeNotOverridable, "the charter says nothing about emergencies, so there are no overrides")
	}
	if !now.Before(until) {
		return refuse(CodeExpiredRequest, "until: the override would have ended at %s", instant(until))
	}
	if until.Sub(from) > longest {
		return refuse(CodeNotOverridable, "until: an override lasts %s at most", c.Emergency.Max)
	}
	return nil
}

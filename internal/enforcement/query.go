package enforcement

import (
	"maps"
	"slices"
	"time"
)

// Filter selects violations and investigations. Empty fields select all; times are
// half-open.
type Filter struct {
	Node, Clause, Severity, Status, Source, Type string

	Since, Until time.Time
	Before       uint64 // only those whose entry has a lower index; 0 is all
	Limit        int    // 0 is all
}

// Violations returns the violations that a filter selects, newest first.
func (e *Enforcer) Violations(f Filter) []Violation {
	e.mu.RLock()
	defer e.mu.RUnlock()
	var list []Violation
	for _, id := range slices.Backward(e.state.listed) {
		v := e.state.violations[id]
		if v == nil || f.Before > 0 && v.Index >= f.Before || !f.match(v.Node, v.Clause, v.Severity, v.Status, v.Source, v.Type, v.Time) {
			continue
		}
		list = append(list, *v)
		if len(list) == f.Limit {
			break
		}
	}
	return list
}

func (f *Filter) match(node, clause, severity, status, source, kind string, at time.Time) bool {
	return (f.Node == "" || f.Node == node) && (f.Clause == "" || f.Clause == clause) && (f.Severity == "" || f.Severity == severity) &&
		(f.Status == "" || f.Status == status) && (f.Source == "" || f.Source == source) && (f.Type == "" || f.Type == kind) &&
		(f.Since.IsZero() || !at.Before(f.Since)) && (f.Until.IsZero() || at.Before(f.Until))
}

// Violation returns one.
func (e *Enforcer) Violation(id string) (Violation, bool) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	v := e.state.violations[id]
	if v == nil {
		return Violation{}, false
	}
	return *v, true
}

// Investigations returns the investigations that a filter selects, newest first.
func (e *Enforcer) Investigations(f Filter) []Investigation {
	e.mu.RLock()
	defer e.mu.RUnlock()
	var list []Investigation
	for _, id := range slices.Backward(e.state.opened) {
		c := e.state.cases[id]
		var clause, source string
		if v := e.state.violations[c.Violation]; v != nil {
			clause, source = v.Clause, v.Source
		}
		if f.Before > 0 && c.Index >= f.Before || !f.match(c.Node, clause, c.Severity, c.Status, source, c.Type, c.Opened) {
			continue
		}
		list = append(list, c.copy())
		if len(list) == f.Limit {
			break
		}
	}
	return list
}

// Investigation returns one.
func (e *Enforcer) Investigation(id string) (Investigation, bool) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	c := e.state.cases[id]
	if c == nil {
		return Investigation{}, false
	}
	return c.copy(), true
}

func (c *Investigation) copy() Investigation {
	i := *c
	i.Notes = slices.Clone(c.Notes)
	return i
}

// Overrides returns all there were, newest first.
func (e *Enforcer) Overrides() []Override {
	e.mu.RLock()
	defer e.mu.RUnlock()
	list := make([]Override, 0, len(e.state.declared))
	for _, id := range slices.Backward(e.state.declared) {
		list = append(list, *e.state.overrides[id])
	}
	return list
}

// Revocations returns those in force, by node.
func (e *Enforcer) Revocations() []Revocation {
	e.mu.RLock()
	defer e.mu.RUnlock()
	var list []Revocation
	for _, id := range slices.Sorted(maps.Keys(e.state.nodes)) {
		if r := e.state.nodes[id].revoked; r != nil {
			list = append(list, *r)
		}
	}
	return list
}

// Nodes returns those of which something is known, by id.
func (e *Enforcer) Nodes() []Node {
	e.mu.RLock()
	defer e.mu.RUnlock()
	list := make([]Node, 0, len(e.state.nodes))
	for _, id := range slices.Sorted(maps.Keys(e.state.nodes)) {
		list = append(list, e.state.known(id))
	}
	return list
}

// Node returns what is known of a node: of one that never did anything, that it has
// a good standing.
func (e *Enforcer) Node(id string) Node {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.state.known(id)
}

func (s *state) known(id string) Node {
	n := s.nodes[id]
	if n == nil {
		return Node{ID: id, Standing: Good}
	}
	known := Node{ID: id, Standing: n.standing, Since: n.since, Until: n.until, Level: n.level, Restore: n.restore, Cause: n.cause}
	for i := range n.incidents {
		if !n.incidents[i].out {
			known.Incidents++
		}
	}
	if n.revoked != nil {
		r := *n.revoked
		known.Revocation = &r
	}
	return known
}

// State returns the sections of data.charter_state that follow from the ledger; nil
// when there is nothing to say.
func (e *Enforcer) State() map[string]any {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.state.document(false)
}

// Stats returns figures.
func (e *Enforcer) Stats() Stats {
	e.mu.RLock()
	defer e.mu.RUnlock()
	st := e.stats
	st.Next, st.Violations, st.Committee = e.state.next, len(e.state.listed), len(e.state.committee)
	st.UnderInvestigation, st.Standings = map[string]int{}, map[string]int{}
	for _, c := range e.state.cases {
		if c.Status == InvestigationOpen {
			st.UnderInvestigation[c.Severity]++
			if c.Overdue {
				st.Overdue++
			}
		}
	}
	for _, o := range e.state.overrides {
		if o.Ended.IsZero() {
			st.OverridesActive++
		}
	}
	for _, n := range e.state.nodes {
		if n.standing != Good {
			st.Standings[n.standing]++
		}
		if n.revoked != nil {
			st.Revocations++
		}
	}
	return st
}

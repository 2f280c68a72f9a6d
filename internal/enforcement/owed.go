package enforcement

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/ledger"
)

// owed returns the entries that the ledger still lacks, in the order in which they
// are to be appended: incidents of denials with what they bring about, changes of
// standing that a crash cut off, what has ended by itself, and another committee.
// Quiet is for new incidents. Each entry has an id that follows from what it is
// about, so that it is there once however often it is appended.
func (s *state) owed(c *charter.Charter, quiet time.Duration, ended []end) ([]ledger.Entry, error) {
	p := plan{state: s, charter: c, ahead: map[string]*node{}, stands: map[string]bool{}}
	for _, id := range s.due {
		v := s.violations[id]
		if change, changes := s.change(v); changes {
			p.stand(v.Node, v.Clause, v.Severity, change)
		}
	}
	for _, b := range s.beginning() {
		p.incident(b.thread, b.denial, quiet)
	}
	for _, e := range ended {
		p.end(e)
	}
	p.seat()
	return p.entries, p.err
}

// opening is a denial that begins an incident.
type opening struct {
	thread
	denial
}

// beginning returns the denials that begin an incident and have none, by index: one
// of each thread, since those after it may belong to it.
func (s *state) beginning() []opening {
	all := make([]opening, 0, len(s.waiting))
	for key := range s.waiting {
		all = append(all, opening{key, s.threads[key].pending[0]})
	}
	slices.SortFunc(all, func(a, b opening) int {
		if a.index < b.index {
			return -1
		}
		return 1
	})
	return all
}

// plan is a list of entries to append, and what becomes of nodes with them.
type plan struct {
	*state

	charter *charter.Charter
	ahead   map[string]*node // copies of nodes that entries are about
	stands  map[string]bool  // nodes whose standing changes
	entries []ledger.Entry
	err     error
}

// of returns a node as it will be with the entries so far.
func (p *plan) of(id string) *node {
	n := p.ahead[id]
	if n == nil {
		n = &node{standing: Good}
		if now := p.nodes[id]; now != nil {
			*n = *now
			n.incidents = slices.Clone(now.incidents)
		}
		p.ahead[id] = n
	}
	return n
}

// add appends an entry under an id.
func (p *plan) add(kind ledger.Kind, node, id string, data any) *ledger.Entry {
	text, err := json.Marshal(data)
	if err != nil && p.err == nil {
		p.err = err
	}
	p.entries = append(p.entries, ledger.Entry{Kind: kind, Node: node, Principal: Principal, RequestID: id, Data: text})
	return &p.entries[len(p.entries)-1]
}

// incident plans an incident with its consequence.
func (p *plan) incident(key thread, d denial, quiet time.Duration) {
	number := strconv.FormatUint(d.index, 10)
	n := p.of(key.node)
	r := ledger.ViolationRecord{
		ID: "v" + number, Source: ledger.FromDenial, At: textOf(d.at), Quiet: quiet.String(), Denial: &d.index,
		Consequence: consequence(p.charter.Escalation, n.incidents, d.at),
	}
	if f := forbidden(p.charter, key.clause); f != nil {
		r.Type, r.Penalty = f.Violation, f.Penalty
	}
	e := p.add(ledger.Violation, key.node, "incident/"+number, r)
	e.Metric, e.Clause, e.Severity = d.metric, key.clause, d.severity
	change, changes := n.change(r.ID, r.Consequence, d.at)
	n.count(incident{at: d.at, id: r.ID})
	if changes {
		p.stand(key.node, key.clause, d.severity, change)
	}
}

// stand plans a change of standing.
func (p *plan) stand(id, clause, severity string, change ledger.StandingChange) {
	n := p.of(id)
	change.From = n.standing
	e := p.add(ledger.Standing, id, "standing/"+change.Cause, change)
	e.Clause, e.Severity = clause, severity
	n.standing, n.until = change.To, timeOf(change.Until)
	p.stands[id] = true
}

// end plans what follows when something has ended by itself.
func (p *plan) end(e end) {
	if _, set := p.ends[e]; !set {
		return // it was ended otherwise
	}
	switch e.what {
	case endOfStanding:
		if p.stands[e.id] {
			return // it changes anyhow; what it becomes has an end of its own
		}
		n := p.of(e.id)
		p.add(ledger.Standing, e.id, "expiry/"+strconv.FormatUint(n.index, 10), ledger.StandingChange{From: n.standing, To: Good, Action: ActionExpire, Cause: n.cause})
	case endOfOverride:
		o := p.overrides[e.id]
		p.add(ledger.Override, "", "end/"+e.id, ledger.OverrideChange{ID: e.id, Action: ledger.Ended, By: "expiry", Clauses: o.Clauses, Nodes: o.Nodes})
	case endOfExport:
		r := p.nodes[e.id].revoked
		p.add(ledger.Revocation, e.id, "window/"+strconv.FormatUint(r.index, 10), ledger.RevocationChange{Action: ledger.WindowClosed, Reason: r.Reason})
	case endOfCase:
		c := p.cases[e.id]
		p.add(ledger.Investigation, c.Node, "overdue/"+c.ID, ledger.InvestigationStep{
			ID: c.ID, Violation: c.Violation, Action: ledger.InvestigationOverdue, Due: textOf(c.Due),
		}).Severity = c.Severity
	}
}

// seat plans the entry about a charter with another committee.
func (p *plan) seat() {
	members := membersOf(p.charter)
	if slices.Equal(members, p.committee) {
		return
	}
	c := ledger.CommitteeChange{Size: len(members), Members: members}
	before, now := map[string]ledger.Member{}, map[string]ledger.Member{}
	for _, m := range p.committee {
		before[m.ID] = m
	}
	for _, m := range members {
		now[m.ID] = m
		if was, known := before[m.ID]; !known {
			c.Added = append(c.Added, m.ID)
		} else if was != m {
			c.Changed = append(c.Changed, m.ID)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(before)) {
		if _, stays := now[id]; !stays {
			c.Removed = append(c.Removed, id)
		}
	}
	p.add(ledger.Membership, "", "committee/"+strconv.FormatUint(p.seats, 10), c).Revision = p.charter.Revision()
}

// membersOf are the members of a charter's committee, by id.
func membersOf(c *charter.Charter) []ledger.Member {
	var members []ledger.Member
	for i := range c.Committee.Members {
		m := &c.Committee.Members[i]
		members = append(members, ledger.Member{ID: m.ID, Address: strings.ToLower(m.Address), Power: m.Power})
	}
	slices.SortFunc(members, func(a, b ledger.Member) int { return strings.Compare(a.ID, b.ID) })
	return members
}

// forbidden returns the entry of a charter with an id, nil when it is another clause.
func forbidden(c *charter.Charter, id string) *charter.Forbidden {
	for i := range c.Forbidden {
		if c.Forbidden[i].ID == id {
			return &c.Forbidden[i]
		}
	}
	return nil
}

package enforcement

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/westworld-charter/charter/internal/committee"
	"github.com/westworld-charter/charter/internal/ledger"
)

// violated folds a violation entry: an incident, or the report of one.
func (s *state) violated(ev *event) {
	var r ledger.ViolationRecord
	if json.Unmarshal(ev.entry.Data, &r) != nil || r.ID == "" || s.violations[r.ID] != nil {
		return // it says nothing that could have a consequence
	}
	e := &ev.entry
	v := &Violation{
		ID: r.ID, Index: ev.index, Time: timeOf(r.At), Source: r.Source, Node: e.Node, Clause: e.Clause, Metric: e.Metric, Severity: e.Severity,
		Type: r.Type, Penalty: r.Penalty, Status: Reported, Denial: r.Denial, Reporter: r.Reporter, Evidence: r.Evidence, Consequence: r.Consequence,
	}
	if v.Time.IsZero() {
		v.Time = ev.at
	}
	s.violations[v.ID] = v
	s.listed = append(s.listed, v.ID)
	if v.Source != ledger.FromDenial {
		return
	}
	v.Quiet, _ = time.ParseDuration(r.Quiet) // 0: every denial is an incident
	v.Status, v.Denials, v.Last = Counted, 1, v.Time
	s.begin(thread{v.Node, v.Clause}, v)
	s.happened(v, v.Time)
}

// happened counts an incident and notes what it brings about.
func (s *state) happened(v *Violation, at time.Time) {
	v.at = at
	s.node(v.Node).count(incident{at: at, id: v.ID})
	if _, changes := s.change(v); changes {
		s.due = append(s.due, v.ID)
	}
}

// stood folds a standing entry.
func (s *state) stood(ev *event) {
	var c ledger.StandingChange
	if json.Unmarshal(ev.entry.Data, &c) != nil || ev.entry.Node == "" {
		return
	}
	id := ev.entry.Node
	n := s.node(id)
	n.standing, n.index, n.since, n.until = c.To, ev.index, ev.at, timeOf(c.Until)
	n.level, n.restore, n.cause = c.Level, c.Restore, c.Cause
	s.endAt(end{endOfStanding, id}, n.until)
	s.touch(id)
	s.used(c.Request)
	if c.Action == ActionRestore {
		s.lift(lifted{committee.Restore, id}, ev.index, c.Request)
	}
	s.due = slices.DeleteFunc(s.due, func(due string) bool {
		v := s.violations[due]
		if v.Node != id {
			return false
		}
		_, changes := s.change(v)
		return due == c.Cause || !changes
	})
}

// investigated folds a step of an investigation.
func (s *state) investigated(ev *event) {
	var step ledger.InvestigationStep
	if json.Unmarshal(ev.entry.Data, &step) != nil {
		return
	}
	v, c := s.violations[step.Violation], s.cases[step.ID]
	if step.Action == ledger.InvestigationOpened {
		if v == nil || c != nil {
			return
		}
		v.Investigation = step.ID
		c = &Investigation{
			ID: step.ID, Index: ev.index, Violation: v.ID, Node: v.Node, Severity: v.Severity, Type: v.Type, Status: InvestigationOpen,
			OpenedBy: step.By, Assignee: step.Assignee, Opened: ev.at, Due: timeOf(step.Due),
		}
		s.cases[c.ID] = c
		s.opened = append(s.opened, c.ID)
		s.endAt(end{endOfCase, c.ID}, c.Due)
	}
	if c == nil || v == nil || c.Status != InvestigationOpen {
		return
	}
	if step.Note != nil {
		c.Notes = append(c.Notes, Note{Time: ev.at, By: step.By, Text: *step.Note})
	}
	switch step.Action {
	case ledger.InvestigationAssigned:
		c.Assignee = step.Assignee
	case ledger.InvestigationOverdue:
		c.Overdue = true
		s.endAt(end{endOfCase, c.ID}, time.Time{})
	case ledger.InvestigationDismissed:
		s.closeCase(c, InvestigationDismissed, ev.at)
		if v.Status == Reported {
			v.Status = Dismissed
		}
	case ledger.InvestigationResolved:
		c.Outcome = step.Outcome
		s.closeCase(c, InvestigationResolved, ev.at)
		s.found(v, &step, ev.at)
	}
}

func (s *state) closeCase(c *Investigation, status string, at time.Time) {
	c.Status, c.Closed = status, at
	s.endAt(end{endOfCase, c.ID}, time.Time{})
}

// found gives a violation the outcome of an investigation. A report that is
// confirmed becomes an incident then; an incident that is unfounded counts no more.
func (s *state) found(v *Violation, step *ledger.InvestigationStep, at time.Time) {
	before := v.counts()
	if step.Outcome != OutcomeConfirmed {
		v.Status = Unfounded
		for i := range s.node(v.Node).incidents {
			if in := &s.nodes[v.Node].incidents[i]; in.id == v.ID {
				in.out = true
			}
		}
		return
	}
	v.Status = Confirmed
	if before {
		return
	}
	v.Consequence = step.Consequence
	if t := timeOf(step.At); !t.IsZero() {
		at = t
	}
	v.Last = at
	s.happened(v, at)
}

// overrode folds an override entry.
func (s *state) overrode(ev *event) {
	var c ledger.OverrideChange
	if json.Unmarshal(ev.entry.Data, &c) != nil || c.ID == "" {
		return
	}
	s.used(c.Request)
	o := s.overrides[c.ID]
	switch {
	case c.Action == ledger.Began && o == nil:
		s.overrides[c.ID] = &Override{
			ID: c.ID, Clauses: c.Clauses, Nodes: c.Nodes, Purposes: c.Purposes, Retention: c.Retention,
			From: timeOf(c.From), Until: timeOf(c.Until), Signers: c.Signers, Request: c.Request,
		}
		s.declared = append(s.declared, c.ID)
		s.endAt(end{endOfOverride, c.ID}, timeOf(c.Until))
	case o == nil || !o.Ended.IsZero():
		return
	case c.Action == ledger.Renewed:
		o.Until = timeOf(c.Until)
		o.Renewals++
		o.renewed = append(slices.Clip(o.renewed), c.Request) // copies of an Override share what is before
		s.endAt(end{endOfOverride, c.ID}, o.Until)
	case c.Action == ledger.Ended:
		o.Ended, o.EndedBy, o.renewed = ev.at, c.By, nil
		s.lift(lifted{committee.EndOverride, c.ID}, ev.index, c.Request)
		s.endAt(end{endOfOverride, c.ID}, time.Time{})
	}
	s.version++
}

// revoked folds a revocation entry.
func (s *state) revoked(ev *event) {
	var c ledger.RevocationChange
	id := ev.entry.Node
	if json.Unmarshal(ev.entry.Data, &c) != nil || id == "" {
		return
	}
	s.used(c.Request)
	n := s.node(id)
	switch c.Action {
	case ledger.Began:
		n.revoked = &Revocation{Node: id, Reason: c.Reason, By: c.By, Since: ev.at, ExportUntil: timeOf(c.ExportUntil), index: ev.index}
		s.endAt(end{endOfExport, id}, n.revoked.ExportUntil)
	case ledger.WindowClosed, ledger.Ended:
		s.endAt(end{endOfExport, id}, time.Time{})
		if n.revoked == nil {
			return
		}
		closed := *n.revoked
		closed.ExportUntil = time.Time{}
		if n.revoked = &closed; c.Action == ledger.Ended {
			n.revoked = nil
			s.lift(lifted{committee.EndRevocation, id}, ev.index, c.Request)
		}
	default:
		return
	}
	s.touch(id)
}

// seated folds a change of the committee.
func (s *state) seated(ev *event) {
	var c ledger.CommitteeChange
	if json.Unmarshal(ev.entry.Data, &c) == nil {
		s.committee = c.Members
		s.seats++
	}
}

// used remembers the nonce of a signed request until the request has expired.
func (s *state) used(request string) {
	if request == "" {
		return
	}
	r, err := committee.Decode([]byte(request))
	if err != nil {
		return
	}
	maps.DeleteFunc(s.nonces, func(_ string, expires time.Time) bool { return expires.Before(s.at) })
	s.nonces[r.Request.Nonce] = r.Request.Expires
}

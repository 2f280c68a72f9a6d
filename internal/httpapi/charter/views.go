package charterapi

import (
	"time"

	"github.com/westworld-charter/charter/internal/enforcement"
	"github.com/westworld-charter/charter/internal/ledger"
)

// The types below are what answers show.

type violation struct {
	ID            string              `json:"id"`
	Entry         uint64              `json:"entry"` // index in the ledger
	Time          time.Time           `json:"time"`
	Source        string              `json:"source"`
	Status        string              `json:"status"`
	Node          string              `json:"node,omitempty"` // not in the answer to an anonymous report
	Clause        string              `json:"clause,omitempty"`
	Metric        string              `json:"metric,omitempty"`
	Severity      string              `json:"severity,omitempty"`
	Type          string              `json:"type,omitempty"`
	Penalty       string              `json:"penalty,omitempty"`
	Denial        *uint64             `json:"denial,omitempty"` // index of the first
	Denials       int                 `json:"denials,omitempty"`
	Last          time.Time           `json:"last,omitzero"`
	Reporter      string              `json:"reporter,omitempty"`
	Evidence      *ledger.EvidenceRef `json:"evidence,omitempty"`
	Consequence   *ledger.Consequence `json:"consequence,omitempty"`
	Investigation string              `json:"investigation,omitempty"`
}

func violationOf(v enforcement.Violation) violation {
	return violation{
		ID: v.ID, Entry: v.Index, Time: v.Time.UTC(), Source: v.Source, Status: v.Status, Node: v.Node, Clause: v.Clause, Metric: v.Metric,
		Severity: v.Severity, Type: v.Type, Penalty: v.Penalty, Denial: v.Denial, Denials: v.Denials, Last: utc(v.Last), Reporter: v.Reporter,
		Evidence: v.Evidence, Consequence: v.Consequence, Investigation: v.Investigation,
	}
}

// utc keeps the zero time what it is.
func utc(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC()
}

type investigation struct {
	ID        string    `json:"id"`
	Violation string    `json:"violation"`
	Node      string    `json:"node"`
	Severity  string    `json:"severity,omitempty"`
	Type      string    `json:"type,omitempty"`
	Status    string    `json:"status"`
	Outcome   string    `json:"outcome,omitempty"`
	OpenedBy  string    `json:"opened_by,omitempty"`
	Assignee  string    `json:"assignee,omitempty"`
	Opened    time.Time `json:"opened"`
	Due       time.Time `json:"due,omitzero"`
	Closed    time.Time `json:"closed,omitzero"`
	Overdue   bool      `json:"overdue"`
	Notes     []note    `json:"notes"`
}

// note says where its text is.
type note struct {
	Time time.Time          `json:"time"`
	By   string             `json:"by,omitempty"`
	Text ledger.EvidenceRef `json:"text"`
}

func investigationOf(i enforcement.Investigation) investigation {
	view := investigation{
		ID: i.ID, Violation: i.Violation, Node: i.Node, Severity: i.Severity, Type: i.Type, Status: i.Status, Outcome: i.Outcome,
		OpenedBy: i.OpenedBy, Assignee: i.Assignee, Opened: i.Opened.UTC(), Due: utc(i.Due), Closed: utc(i.Closed), Overdue: i.Overdue,
		Notes: make([]note, len(i.Notes)),
	}
	for k, n := range i.Notes {
		view.Notes[k] = note{n.Time.UTC(), n.By, n.Text}
	}
	return view
}

type override struct {
	ID        string    `json:"id"`
	Active    bool      `json:"active"`
	Clauses   []string  `json:"clauses"`
	Nodes     []string  `json:"nodes"` // none is all
	Retention string    `json:"retention,omitempty"`
	Purposes  []string  `json:"purposes"`
	From      time.Time `json:"from"`
	Until     time.Time `json:"until"`
	Renewals  int       `json:"renewals"`
	Signers   []string  `json:"signers"`
	Ended     time.Time `json:"ended,omitzero"`
	EndedBy   string    `json:"ended_by,omitempty"`
	// Request is what the committee signed, as it was brought: whoever doubts it can
	// verify it.
	Request string `json:"request,omitempty"`
}

func overrideOf(o enforcement.Override) override {
	return override{
		ID: o.ID, Active: o.Ended.IsZero(), Clauses: some(o.Clauses), Nodes: some(o.Nodes), Retention: o.Retention, Purposes: some(o.Purposes),
		From: o.From.UTC(), Until: o.Until.UTC(), Renewals: o.Renewals, Signers: some(o.Signers), Ended: utc(o.Ended), EndedBy: o.EndedBy,
		Request: o.Request,
	}
}

// some is a list that is [] in JSON when it is empty.
func some[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

type revocation struct {
	Node        string    `json:"node"`
	Reason      string    `json:"reason"`
	By          string    `json:"by,omitempty"`
	Since       time.Time `json:"since"`
	ExportUntil time.Time `json:"export_until,omitzero"`
}

func revocationOf(r enforcement.Revocation) revocation {
	return revocation{Node: r.Node, Reason: r.Reason, By: r.By, Since: r.Since.UTC(), ExportUntil: utc(r.ExportUntil)}
}

type node struct {
	ID         string      `json:"id"`
	Standing   string      `json:"standing"`
	Since      time.Time   `json:"since,omitzero"`
	Until      time.Time   `json:"until,omitzero"`
	Level      int         `json:"level,omitempty"`
	Restore    string      `json:"restore,omitempty"`
	Cause      string      `json:"cause,omitempty"`
	Incidents  int         `json:"incidents"`
	Revocation *revocation `json:"revocation,omitempty"`
}

func nodeOf(n enforcement.Node) node {
	view := node{
		ID: n.ID, Standing: n.Standing, Since: utc(n.Since), Until: utc(n.Until), Level: n.Level, Restore: n.Restore, Cause: n.Cause,
		Incidents: n.Incidents,
	}
	if n.Revocation != nil {
		r := revocationOf(*n.Revocation)
		view.Revocation = &r
	}
	return view
}

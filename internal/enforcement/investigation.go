package enforcement

import (
	"context"
	"crypto/rand"
	"time"
	"unicode/utf8"

	"github.com/westworld-charter/charter/internal/ledger"
)

// Step is one of an investigation.
type Step struct {
	ID        string // of the investigation; "" to open one
	Violation string // to open one
	By        string // principal
	Assignee  string // to open or assign
	Outcome   string // to resolve: [OutcomeConfirmed] or [OutcomeUnfounded]
	Text      string // a note, which stays out of the ledger; may be ""
	RequestID string // chosen by who asks, the same in a retry; may be ""
}

func (t *Step) check() error {
	switch {
	case len(t.Text) > MaxDescription || !utf8.ValidString(t.Text):
		return refuse(InvalidStep, "text: it must be UTF-8 of %d bytes at most", MaxDescription)
	case len(t.Assignee) > maxShort || len(t.By) > 2*maxShort || len(t.RequestID) > maxShort || !utf8.ValidString(t.Assignee+t.By+t.RequestID):
		return refuse(InvalidStep, "assignee, request_id: they must be UTF-8 of %d bytes at most", maxShort)
	}
	return nil
}

// Open opens the investigation of a violation. It is due after [Options.SLA].
func (e *Enforcer) Open(ctx context.Context, t Step) (Investigation, error) {
	return e.step(ctx, t, ledger.InvestigationOpened)
}

// Assign gives an investigation to somebody.
func (e *Enforcer) Assign(ctx context.Context, t Step) (Investigation, error) {
	if t.Assignee == "" {
		return Investigation{}, refuse(InvalidStep, "assignee: it is missing")
	}
	return e.step(ctx, t, ledger.InvestigationAssigned)
}

// Note adds a note.
func (e *Enforcer) Note(ctx context.Context, t Step) (Investigation, error) {
	if t.Text == "" {
		return Investigation{}, refuse(InvalidStep, "text: it is missing")
	}
	return e.step(ctx, t, ledger.InvestigationNoted)
}

// Resolve closes an investigation with an outcome. A report that is confirmed becomes
// an incident, with its consequences. An incident that is unfounded counts no more;
// a standing that it has brought about stays until it ends or is lifted.
func (e *Enforcer) Resolve(ctx context.Context, t Step) (Investigation, error) {
	if t.Outcome != OutcomeConfirmed && t.Outcome != OutcomeUnfounded {
		return Investigation{}, refuse(InvalidStep, "outcome: it is %s or %s", OutcomeConfirmed, OutcomeUnfounded)
	}
	return e.step(ctx, t, ledger.InvestigationResolved)
}

// Dismiss closes an investigation without an outcome: a report stays without
// consequences, and an incident keeps counting.
func (e *Enforcer) Dismiss(ctx context.Context, t Step) (Investigation, error) {
	return e.step(ctx, t, ledger.InvestigationDismissed)
}

func (e *Enforcer) step(ctx context.Context, t Step, action string) (Investigation, error) {
	if err := t.check(); err != nil {
		return Investigation{}, err
	}
	c := e.Charter()
	if c == nil {
		return Investigation{}, refuse(Unavailable, "there is no charter")
	}
	note, err := e.keep(ctx, func() ([]byte, string, error) { return []byte(t.Text), "text/plain; charset=utf-8", nil })
	if err != nil {
		return Investigation{}, err
	}
	if t.ID == "" && action == ledger.InvestigationOpened {
		t.ID = "i" + t.Violation
	}
	err = e.command(ctx, ledger.Durable, func(s *state, now time.Time) (ledger.Entry, error) {
		v, err := s.open(&t, action)
		if err != nil {
			return ledger.Entry{}, err
		}
		step := ledger.InvestigationStep{ID: t.ID, Violation: v.ID, Type: v.Type, Action: action, By: t.By, Assignee: t.Assignee, Note: note}
		switch action {
		case ledger.InvestigationOpened:
			step.Due = textOf(now.Add(e.SLA))
		case ledger.InvestigationResolved:
			step.Outcome = t.Outcome
			if t.Outcome == OutcomeConfirmed && v.Status == Reported {
				step.At = textOf(now)
				step.Consequence = consequence(c.Escalation, s.node(v.Node).incidents, now)
			}
		}
		entry, err := entryOf(ledger.Investigation, v.Node, t.requestID(action), step)
		entry.Clause, entry.Severity = v.Clause, v.Severity
		return entry, err
	})
	if err != nil {
		e.drop(ctx, note)
		return Investigation{}, err
	}
	i, _ := e.Investigation(t.ID)
	return i, nil
}

// requestID is that of the entry: one for all tries of a request, and one for all
// that close or open an investigation, which happens once.
func (t *Step) requestID(action string) string {
	switch action {
	case ledger.InvestigationOpened:
		return "investigation/" + t.ID
	case ledger.InvestigationResolved, ledger.InvestigationDismissed:
		return "investigation/" + t.ID + "/close"
	}
	if t.RequestID != "" {
		return "investigation/" + t.ID + "/" + digest(t.By, t.RequestID)
	}
	return "investigation/" + t.ID + "/" + digest(rand.Text())
}

// open returns the violation that a step is about, unless the step is out of order.
func (s *state) open(t *Step, action string) (*Violation, error) {
	if action == ledger.InvestigationOpened {
		v := s.violations[t.Violation]
		switch {
		case v == nil:
			return nil, refuse(UnknownViolation, "violation: there is none with the id %q", t.Violation)
		case v.Investigation != "":
			return nil, refuse(AlreadyOpen, "violation: %s is investigated by %s", v.ID, v.Investigation)
		}
		return v, nil
	}
	c := s.cases[t.ID]
	switch {
	case c == nil:
		return nil, refuse(UnknownInvestigation, "there is no investigation with the id %q", t.ID)
	case c.Status != InvestigationOpen:
		return nil, refuse(AlreadyClosed, "the investigation %s is %s", c.ID, c.Status)
	}
	return s.violations[c.Violation], nil
}

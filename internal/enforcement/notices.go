package enforcement

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/westworld-charter/charter/internal/ledger"
)

// notice is what people should be told of an entry that was folded.
func (s *state) notice(ev *event) (Notice, bool) {
	e := &ev.entry
	n := Notice{Node: e.Node, Clause: e.Clause, Severity: e.Severity, Time: ev.at, Fields: map[string]string{"entry": strconv.FormatUint(ev.index, 10)}}
	var told bool
	switch e.Kind {
	case ledger.Violation:
		told = s.tellViolation(e, &n)
	case ledger.Standing:
		told = tellStanding(e, &n)
	case ledger.Investigation:
		told = tellInvestigation(e, &n)
	case ledger.Override:
		told = tellOverride(e, &n)
	case ledger.Revocation:
		told = tellRevocation(e, &n)
	case ledger.Membership:
		told = tellCommittee(e, &n)
	}
	if n.Severity == "" {
		n.Severity = "medium"
	}
	return n, told
}

func (s *state) tellViolation(e *ledger.Entry, n *Notice) bool {
	var r ledger.ViolationRecord
	if json.Unmarshal(e.Data, &r) != nil {
		return false
	}
	n.Violation = r.ID
	n.Fields["type"] = r.Type
	if r.Source == ledger.FromReport {
		n.Kind, n.Title = NoticeReport, "A violation was reported: "+e.Node
		n.Text = fmt.Sprintf("Somebody reported %s of the node %s. It counts for nothing until an investigation confirms it.", r.Type, e.Node)
		return true
	}
	n.Kind, n.Title = NoticeViolation, fmt.Sprintf("%s tried to collect %s", e.Node, e.Metric)
	n.Text = fmt.Sprintf("The node %s was denied to collect %s, which %s forbids.", e.Node, e.Metric, e.Clause)
	n.Fields["metric"] = e.Metric
	if c := r.Consequence; c != nil {
		n.Fields["level"], n.Fields["action"], n.Fields["count"] = strconv.Itoa(c.Level), c.Action, strconv.Itoa(c.Count)
		n.Text += fmt.Sprintf(" It is incident %d of the node: level %d, %s.", c.Count, c.Level, c.Action)
	}
	return true
}

func tellStanding(e *ledger.Entry, n *Notice) bool {
	var c ledger.StandingChange
	if json.Unmarshal(e.Data, &c) != nil {
		return false
	}
	n.Kind, n.Violation = NoticeStanding, c.Cause
	n.Title = fmt.Sprintf("%s is %s", e.Node, c.To)
	n.Text = fmt.Sprintf("The node %s was %s and is %s (%s).", e.Node, c.From, c.To, c.Action)
	if c.Until != "" {
		n.Text += " It ends " + timeOf(c.Until).UTC().Format(time.RFC3339) + "."
	}
	if c.Restore != "" {
		n.Text += " It is lifted by " + c.Restore + "."
	}
	n.Fields["from"], n.Fields["to"], n.Fields["action"] = c.From, c.To, c.Action
	if c.Level > 0 {
		n.Fields["level"] = strconv.Itoa(c.Level)
	}
	return true
}

func tellInvestigation(e *ledger.Entry, n *Notice) bool {
	var step ledger.InvestigationStep
	if json.Unmarshal(e.Data, &step) != nil || step.Action == ledger.InvestigationNoted {
		return false
	}
	n.Kind, n.Violation = NoticeInvestigation, step.Violation
	n.Title = fmt.Sprintf("Investigation %s: %s", step.ID, step.Action)
	n.Text = fmt.Sprintf("The investigation %s of the violation %s of the node %s: %s.", step.ID, step.Violation, e.Node, step.Action)
	if step.Action == ledger.InvestigationOverdue {
		n.Kind, n.Title = NoticeOverdue, "Investigation "+step.ID+" is overdue"
		n.Text = fmt.Sprintf("The investigation %s of the violation %s ought to have been closed by %s.", step.ID, step.Violation, step.Due)
	}
	if step.Outcome != "" {
		n.Fields["outcome"] = step.Outcome
		n.Text += " Outcome: " + step.Outcome + "."
	}
	return true
}

func tellOverride(e *ledger.Entry, n *Notice) bool {
	var c ledger.OverrideChange
	if json.Unmarshal(e.Data, &c) != nil {
		return false
	}
	n.Kind, n.Severity = NoticeOverride, "high"
	n.Title = fmt.Sprintf("Emergency override %s: %s", c.ID, c.Action)
	n.Text = fmt.Sprintf("The emergency override %s of %v: %s, by %s.", c.ID, c.Clauses, c.Action, c.By)
	if c.Until != "" {
		n.Text += " It ends " + c.Until + "."
	}
	n.Fields["override"], n.Fields["action"] = c.ID, c.Action
	return true
}

func tellRevocation(e *ledger.Entry, n *Notice) bool {
	var c ledger.RevocationChange
	if json.Unmarshal(e.Data, &c) != nil {
		return false
	}
	n.Kind = NoticeRevocation
	n.Title = fmt.Sprintf("Data access of %s: %s", e.Node, c.Action)
	n.Text = fmt.Sprintf("The data access of the node %s: %s (%s).", e.Node, c.Action, c.Reason)
	if c.ExportUntil != "" {
		n.Text += " It may export its own data until " + c.ExportUntil + "."
	}
	n.Fields["reason"], n.Fields["action"] = c.Reason, c.Action
	return true
}

func tellCommittee(e *ledger.Entry, n *Notice) bool {
	var c ledger.CommitteeChange
	if json.Unmarshal(e.Data, &c) != nil {
		return false
	}
	n.Kind, n.Title = NoticeCommittee, "The committee has other members"
	n.Text = fmt.Sprintf("The charter in force has a committee of %d: %d new, %d gone, %d changed.", c.Size, len(c.Added), len(c.Removed), len(c.Changed))
	return true
}

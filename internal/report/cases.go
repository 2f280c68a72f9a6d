package report

import (
	"cmp"
	"slices"

	"github.com/westworld-charter/charter/internal/ledger"
)

// Case is an investigation that was open in the period. Times are those of entries.
type Case struct {
	ID        string `json:"id"`
	Violation string `json:"violation"`
	Node      string `json:"node"`
	Severity  string `json:"severity"`
	Type      string `json:"type,omitempty"`
	Opened    string `json:"opened"`
	OpenedBy  string `json:"opened_by,omitempty"` // principal
	Assignee  string `json:"assignee,omitempty"`
	Due       string `json:"due,omitempty"`
	// Status is open, resolved or dismissed, at the end of the period.
	Status  string `json:"status"`
	Outcome string `json:"outcome,omitempty"` // confirmed or unfounded
	Closed  string `json:"closed,omitempty"`
	// Seconds from opening to closing; absent while open.
	Seconds *uint64 `json:"seconds,omitempty"`
	// Overdue says that the ledger says so: nobody had closed it in time.
	Overdue bool     `json:"overdue"`
	Notes   uint64   `json:"notes"`
	Entries Citation `json:"entries"`

	opened, closed int64 // nanoseconds since 1970; closed is 0 while open
}

// States of a [Case].
const (
	caseOpen      = "open"
	caseResolved  = "resolved"
	caseDismissed = "dismissed"
)

// cases follows investigations, from before the period on.
type cases struct {
	limit  int
	byID   map[string]*Case
	order  []string // as they were opened
	more   uint64   // opened without a place
	forget int64    // those closed before this time are not kept
}

func newCases(limit int, forget int64) cases {
	return cases{limit: limit, byID: map[string]*Case{}, forget: forget}
}

// step folds a step; it returns the case, nil when there is none.
func (c *cases) step(ev *event, s *ledger.InvestigationStep) *Case {
	one := c.byID[s.ID]
	if s.Action == ledger.InvestigationOpened && one == nil {
		if one = c.open(ev, s); one == nil {
			return nil
		}
	}
	if one == nil || one.Status != caseOpen {
		return nil
	}
	one.Entries.add(ev.index)
	if s.Note != nil {
		one.Notes++
	}
	switch s.Action {
	case ledger.InvestigationAssigned:
		one.Assignee = s.Assignee
	case ledger.InvestigationOverdue:
		one.Overdue = true
	case ledger.InvestigationResolved, ledger.InvestigationDismissed:
		one.Status, one.Outcome = caseResolved, s.Outcome
		if s.Action == ledger.InvestigationDismissed {
			one.Status = caseDismissed
		}
		one.closed = ev.Time
		one.Closed = stamp(instant(ev.Time))
		seconds := uint64(max(one.closed-one.opened, 0)) / 1e9
		one.Seconds = &seconds
	}
	return one
}

func (c *cases) open(ev *event, s *ledger.InvestigationStep) *Case {
	if len(c.order) >= c.limit {
		c.order = slices.DeleteFunc(c.order, func(id string) bool {
			if one := c.byID[id]; one.closed == 0 || one.closed >= c.forget {
				return false
			}
			delete(c.byID, id)
			return true
		})
	}
	if len(c.order) >= c.limit {
		c.more++
		return nil
	}
	one := &Case{
		ID: s.ID, Violation: s.Violation, Node: ev.Node, Severity: ev.Severity, Type: s.Type, Opened: stamp(instant(ev.Time)),
		OpenedBy: s.By, Assignee: s.Assignee, Due: s.Due, Status: caseOpen, opened: ev.Time,
	}
	c.byID[s.ID] = one
	c.order = append(c.order, s.ID)
	return one
}

// during are the cases that were open at some time of a period.
func (c *cases) during(p Period) []Case {
	all := []Case{}
	for _, id := range c.order {
		one := c.byID[id]
		if one.opened >= p.To.UnixNano() || one.closed > 0 && one.closed < p.From.UnixNano() {
			continue
		}
		found := *one
		found.Entries = one.Entries.settled()
		all = append(all, found)
	}
	return all
}

// Durations sums up how long something took, in seconds.
type Durations struct {
	Count  uint64 `json:"count"`
	Least  uint64 `json:"least"`
	Median uint64 `json:"median"`
	P90    uint64 `json:"p90"`
	Most   uint64 `json:"most"`
}

// durations sums up; the median and the 90th percentile are values that occur, by
// the nearest rank.
func durations(seconds []uint64) Durations {
	if len(seconds) == 0 {
		return Durations{}
	}
	slices.SortFunc(seconds, cmp.Compare[uint64])
	rank := func(percent int) uint64 { return seconds[(len(seconds)*percent+99)/100-1] }
	return Durations{Count: uint64(len(seconds)), Least: seconds[0], Median: rank(50), P90: rank(90), Most: seconds[len(seconds)-1]}
}

package enforcement

import (
	"time"

	"github.com/westworld-charter/charter/internal/ledger"
)

// Standings of a node, from best to worst.
const (
	Good        = "good"
	Warned      = "warned"
	Suspended   = "suspended"   // may neither collect nor export, for a time
	Quarantined = "quarantined" // the same, until somebody restores it
)

// rank orders standings. What is unknown is the worst.
func rank(standing string) int {
	switch standing {
	case "", Good:
		return 0
	case Warned:
		return 1
	case Suspended:
		return 2
	case Quarantined:
		return 3
	}
	return 4
}

// States of a [Violation].
const (
	Reported  = "reported"  // nobody has looked into it: it counts for nothing
	Counted   = "counted"   // an incident
	Confirmed = "confirmed" // an investigation found it to be one
	Unfounded = "unfounded" // an investigation found it to be none: it counts no more
	Dismissed = "dismissed" // a report that was put aside
)

// Violation is an incident, or the report of one.
type Violation struct {
	ID          string
	Index       uint64    // of its entry
	Time        time.Time // of its first denial, or of the report
	Source      string    // [ledger.FromDenial] or [ledger.FromReport]
	Node        string
	Clause      string
	Metric      string
	Severity    string
	Type        string // such as silent_collection
	Penalty     string // that the charter holds appropriate
	Status      string
	Denial      *uint64 // index of the first denial
	Denials     int     // that belong to it, so far
	Last        time.Time
	Quiet       time.Duration
	Reporter    string // principal; "" is anonymous
	Evidence    *ledger.EvidenceRef
	Consequence *ledger.Consequence // nil when it has none
	// Investigation is the id of the one that looks into it, or did.
	Investigation string

	at time.Time // when it became an incident
}

// counts reports whether the violation is an incident.
func (v *Violation) counts() bool { return v.Status == Counted || v.Status == Confirmed }

// States of an [Investigation].
const (
	InvestigationOpen      = "open"
	InvestigationResolved  = "resolved"
	InvestigationDismissed = "dismissed"
)

// Outcomes of a resolved [Investigation].
const (
	OutcomeConfirmed = "confirmed"
	OutcomeUnfounded = "unfounded"
)

// Investigation is how people look into a violation.
type Investigation struct {
	ID        string
	Index     uint64 // of the entry that opened it
	Violation string
	Node      string
	Severity  string
	Type      string
	Status    string
	Outcome   string
	OpenedBy  string // principal
	Assignee  string
	Opened    time.Time
	Due       time.Time // when it ought to be closed
	Closed    time.Time
	Overdue   bool // it was not
	Notes     []Note
}

// Note is one of an [Investigation]; what it says is with the evidence.
type Note struct {
	Time time.Time
	By   string
	Text ledger.EvidenceRef
}

// Override loosens clauses for a short time.
type Override struct {
	ID        string
	Clauses   []string
	Nodes     []string // none is all
	Purposes  []string
	Retention string
	From      time.Time
	Until     time.Time // unless it is renewed, or ended before
	Signers   []string  // addresses
	Renewals  int
	Request   string // signed, JSON
	Ended     time.Time
	EndedBy   string // quorum or expiry; "" while it is in force

	renewed []string // signed requests, JSON, while it is in force
}

// Revocation is that of a node's data access.
type Revocation struct {
	Node        string
	Reason      string // one of [ledger.RevocationReasons]
	By          string // principal
	Since       time.Time
	ExportUntil time.Time // until then the node may export its own data; zero: no more
	RequestID   string    // of a request, chosen by who makes it; "" for none

	index uint64 // of its entry
}

// Node is what is known of a node.
type Node struct {
	ID         string
	Standing   string
	Since      time.Time // of the standing; zero while it was never another
	Until      time.Time // zero when nobody knows
	Level      int       // of the escalation
	Restore    string    // who lifts a quarantine: vote or committee
	Cause      string    // id of a violation
	Incidents  int       // that count, ever
	Revocation *Revocation
}

// Stats are figures for metrics and health.
type Stats struct {
	Next               uint64 // index of the first entry that is not folded yet
	Violations         int
	UnderInvestigation map[string]int // by severity
	Overdue            int            // investigations that are open after their time
	OverridesActive    int
	Revocations        int
	Standings          map[string]int // nodes by standing, the good ones left out
	Committee          int            // members
	Swaps              uint64         // of the state document, since New
	Late               uint64         // denials that were answered before their consequences were in force
	Err                error          // why consequences wait; nil when none do
}

// Notice is something that people should know.
type Notice struct {
	// Kind is one of the kinds of notices; see the constants.
	Kind      string
	Severity  string // low, medium, high or critical
	Node      string
	Violation string
	Clause    string
	Title     string
	Text      string
	Receivers []string  // names in the charter; none is everybody it names
	Time      time.Time // of the ledger entry it is about
	Fields    map[string]string
}

// Kinds of a [Notice].
const (
	NoticeViolation     = "violation"
	NoticeReport        = "report"
	NoticeStanding      = "standing"
	NoticeInvestigation = "investigation"
	NoticeOverdue       = "overdue"
	NoticeOverride      = "override"
	NoticeRevocation    = "revocation"
	NoticeCommittee     = "committee"
)

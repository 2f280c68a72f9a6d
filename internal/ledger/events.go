package ledger

// The Data of entries about violations and their consequences. What people write in
// their own words never enters an entry: it is kept elsewhere, so that it can be
// erased, and the entry has a salted hash of it ([EvidenceRef]).

// EvidenceRef names evidence that is kept outside the ledger.
type EvidenceRef struct {
	Hash      string `json:"hash"`       // SHA-256 of salt and content, hex; the salt is kept with the content
	Size      int64  `json:"size"`       // of the content, in bytes
	MediaType string `json:"media_type"` // such as text/plain
}

// Sources of a [ViolationRecord].
const (
	FromDenial = "denial" // the node's own authenticated request was denied as forbidden
	FromReport = "report" // somebody reported it
)

// ViolationRecord is the Data of a violation entry: an incident, or the report of one.
// Node, clause, metric and severity are those of the entry.
type ViolationRecord struct {
	ID     string `json:"id"`
	Source string `json:"source"`
	At     string `json:"at,omitempty"` // of the first denial or of the report, RFC 3339
	// Quiet is for how long after one denial the next belongs to the same incident, in
	// the form of [time.Duration].
	Quiet string `json:"quiet,omitempty"`
	// Consequence is that of an incident; nil when it has none, and for a report.
	Consequence *Consequence `json:"consequence,omitempty"`

	Type     string       `json:"type,omitempty"`    // of the closed list of charters, such as silent_collection
	Penalty  string       `json:"penalty,omitempty"` // what the charter holds appropriate
	Denial   *uint64      `json:"denial,omitempty"`  // index of the first denial of the incident
	Reporter string       `json:"reporter,omitempty"`
	Evidence *EvidenceRef `json:"evidence,omitempty"`
}

// Consequence is what an incident brings about by the escalation of the charter that
// was in force: the entry says it, so that another charter changes nothing afterwards.
type Consequence struct {
	Level   int    `json:"level"`             // of the charter's escalation
	Action  string `json:"action"`            // log, warn, suspend, quarantine or refer
	Count   int    `json:"count"`             // incidents within the time of the level, this one included
	For     string `json:"for,omitempty"`     // how long a warning or suspension lasts, in the charter's language
	Restore string `json:"restore,omitempty"` // who lifts a quarantine: vote or committee
}

// Actions of an [InvestigationStep].
const (
	InvestigationOpened    = "open"
	InvestigationAssigned  = "assign"
	InvestigationNoted     = "note"
	InvestigationResolved  = "resolve" // with an outcome
	InvestigationDismissed = "dismiss"
	InvestigationOverdue   = "overdue" // nobody has resolved it in time
)

// InvestigationStep is the Data of an investigation entry.
type InvestigationStep struct {
	ID        string       `json:"id"`
	Violation string       `json:"violation"`
	Type      string       `json:"type,omitempty"` // of the violation, when it opens
	Action    string       `json:"action"`
	By        string       `json:"by,omitempty"`
	Assignee  string       `json:"assignee,omitempty"`
	Outcome   string       `json:"outcome,omitempty"` // confirmed or unfounded
	Due       string       `json:"due,omitempty"`     // RFC 3339
	Note      *EvidenceRef `json:"note,omitempty"`
	// A confirmed report is an incident: At is when it was confirmed, RFC 3339.
	At          string       `json:"at,omitempty"`
	Consequence *Consequence `json:"consequence,omitempty"`
}

// StandingChange is the Data of a standing entry: from here on the node has another
// standing, or its standing has another end.
type StandingChange struct {
	From    string   `json:"from"`
	To      string   `json:"to"` // good, warned, suspended or quarantined
	Action  string   `json:"action"`
	Level   int      `json:"level,omitzero"`    // of the charter's escalation
	Cause   string   `json:"cause,omitempty"`   // id of the violation, or of the request of the committee
	Count   int      `json:"count,omitzero"`    // incidents within the time of the level
	Until   string   `json:"until,omitempty"`   // RFC 3339
	Restore string   `json:"restore,omitempty"` // who lifts it: vote or committee
	Signers []string `json:"signers,omitempty"` // addresses of the committee that lifted it, sorted
	Request string   `json:"request,omitempty"` // of the committee, signed, JSON: whoever doubts it can verify it
}

// Actions of an [OverrideChange] and a [RevocationChange].
const (
	Began        = "begin"
	Renewed      = "renew"
	Ended        = "end"
	WindowClosed = "window-closed" // the time in which a node may export its own data is over
)

// OverrideChange is the Data of an override entry.
type OverrideChange struct {
	ID        string   `json:"id"`
	Action    string   `json:"action"`
	By        string   `json:"by"` // quorum or expiry
	Clauses   []string `json:"clauses,omitempty"`
	Nodes     []string `json:"nodes,omitempty"`
	Retention string   `json:"retention,omitempty"`
	Purposes  []string `json:"purposes,omitempty"`
	From      string   `json:"from,omitempty"`
	Until     string   `json:"until,omitempty"`
	// Request is the signed request as it was made, JSON: what nodes verify again.
	Request string   `json:"request,omitempty"`
	Signers []string `json:"signers,omitempty"`
}

// RevocationChange is the Data of a revocation entry: a node's data access ends, or is
// given back.
type RevocationChange struct {
	Action      string   `json:"action"`
	Reason      string   `json:"reason,omitempty"` // one of [RevocationReasons]
	ExportUntil string   `json:"export_until,omitempty"`
	By          string   `json:"by,omitempty"`
	Signers     []string `json:"signers,omitempty"`
	Request     string   `json:"request,omitempty"` // of the committee, signed, JSON
}

// RevocationReasons returns the closed list of why a node's data access ends.
func RevocationReasons() []string {
	return []string{"consent_withdrawn", "decommissioned", "key_compromised", "legal", "violation", "other"}
}

// CommitteeChange is the Data of a committee entry: an activated charter has other
// members than the one before.
type CommitteeChange struct {
	Added   []string `json:"added,omitempty"` // ids of members, sorted
	Removed []string `json:"removed,omitempty"`
	Changed []string `json:"changed,omitempty"` // in address or power
	Size    int      `json:"size"`
	Members []Member `json:"members,omitempty"` // all of them, by id
}

// Member is one of a [CommitteeChange].
type Member struct {
	ID      string  `json:"id"`
	Address string  `json:"address"`
	Power   float64 `json:"power"`
}

// States of a [Delivery].
const (
	Delivered    = "delivered"
	Undelivered  = "failed" // and tried again
	DeadLettered = "dead"   // given up, and kept
)

// Delivery is the Data of a notification entry: what became of a message.
type Delivery struct {
	ID       string `json:"id"`
	Receiver string `json:"receiver"` // its name in the charter
	Channel  string `json:"channel"`  // slack, email or webhook
	State    string `json:"state"`
	Messages int    `json:"messages"` // how many notices the message stands for
	Attempts int    `json:"attempts"`
	Error    string `json:"error,omitempty"` // a code, never a secret
}

// AlertRecord is the Data of an alert entry: Alertmanager told of an alert.
type AlertRecord struct {
	Name        string `json:"name"`
	Status      string `json:"status"` // firing or resolved
	Fingerprint string `json:"fingerprint"`
	StartsAt    string `json:"starts_at,omitempty"`
	EndsAt      string `json:"ends_at,omitempty"`
}

// ReleaseStep is the Data of a release entry. Revision of the entry is that of the
// release; a node that ran an older release than before is its Node.
type ReleaseStep struct {
	Action   string `json:"action"` // publish, begin, advance, resume, halt, rollback, finish, distrust, trust or went-backwards
	Channel  string `json:"channel"`
	Sequence int64  `json:"sequence"`
	Digest   string `json:"digest,omitempty"`   // of the release
	Rollback int64  `json:"rollback,omitempty"` // sequence of its rollback
	// RollbackDigest and RollbackSigners are of the rollback that was published with a release.
	RollbackDigest  string            `json:"rollback_digest,omitempty"`
	RollbackSigners []string          `json:"rollback_signers,omitempty"`
	Before          int64             `json:"before,omitempty"`  // sequence that others have; of a node, that it had
	Signers         []string          `json:"signers,omitempty"` // of what was published
	Stage           int               `json:"stage,omitempty"`   // from 1
	Stages          int               `json:"stages,omitempty"`  // of the plan
	Percent         int               `json:"percent,omitempty"` // of the node ids that the stage reaches
	Labels          map[string]string `json:"labels,omitempty"`  // of the nodes that the stage reaches
	Cause           *ReleaseCause     `json:"cause,omitempty"`   // nil when a person took the step, or the plan
	Code            string            `json:"code,omitempty"`    // why a release is not trusted any more
}

// ReleaseCause is a gate that did not hold.
type ReleaseCause struct {
	Gate    string  `json:"gate"` // errors, violations or latency
	Value   float64 `json:"value"`
	Limit   float64 `json:"limit"`
	Reached int     `json:"reached"` // nodes
	Reports int     `json:"reports"` // of these
}

// MirrorChange is the Data of a mirror entry: something about the ledger of a node, whose
// copy is kept here.
type MirrorChange struct {
	Action string `json:"action"` // begin, fault or recover
	Origin string `json:"origin"` // of the node's ledger
	Key    string `json:"key"`    // that it showed first
	Size   uint64 `json:"size"`   // of the copy
	Code   string `json:"code,omitempty"`
	// Held and Shown are checkpoints that the node's key has signed and that contradict
	// each other.
	Held  string `json:"held,omitempty"`
	Shown string `json:"shown,omitempty"`
}

// InstanceChange is the Data of an opa-instance entry: what an OPA uploaded about a
// bundle. Revision of the entry is the active one; Node is that of the uploader.
type InstanceChange struct {
	Instance  string `json:"instance"`            // the id label of the OPA, which is another one after a restart
	Bundle    string `json:"bundle"`              // as its configuration calls it
	Activated string `json:"activated,omitempty"` // when, by its clock; RFC 3339
	Code      string `json:"code,omitempty"`      // of its last error; "" for none
	HTTPCode  string `json:"http_code,omitempty"` // that it was answered with
	Before    string `json:"before,omitempty"`    // the revision before, where it is known
}

package report

// AuditSchema names the form of an [Audit] in JSON. Members may be added to it.
const AuditSchema = "charter/audit-report/v1"

// Audit is the periodic audit report.
type Audit struct {
	Schema         string            `json:"schema"`
	Period         Period            `json:"period"`
	Coverage       Coverage          `json:"coverage"`
	Completeness   Completeness      `json:"completeness"`
	Comparison     Comparison        `json:"comparison"`
	Decisions      Decisions         `json:"decisions"`
	Violations     Violations        `json:"violations"`
	Escalation     Escalation        `json:"escalation"`
	Investigations Investigations    `json:"investigations"`
	Overrides      Overrides         `json:"overrides"`
	Revocations    Revocations       `json:"revocations"`
	Committee      []Seats           `json:"committee"`
	Policies       []Policy          `json:"policies"`
	Releases       Releases          `json:"releases"`
	Loads          Loads             `json:"loads"`
	Notifications  Notifications     `json:"notifications"`
	Alerts         Alerts            `json:"alerts"`
	Ledger         Health            `json:"ledger"`
	NotListed      map[string]uint64 `json:"not_listed"` // by list: items that it has no room for
}

// Decisions are the answers to questions.
type Decisions struct {
	// Allowed are the questions of windows, those not told apart included, and the
	// allowances that were recorded one by one.
	Allowed   Figure    `json:"allowed"`
	ByOutcome Breakdown `json:"by_outcome"` // of all decisions; a lifted denial counts as lifted: OUTCOME
	// Denied are denials that held, Lifted those that warn or shadow mode let pass.
	Denied     Figure    `json:"denied"`
	Lifted     Figure    `json:"lifted"`
	ByClause   Breakdown `json:"denied_by_clause"`
	BySeverity Breakdown `json:"denied_by_severity"`
	// ByReason counts a denial once for each code among its reasons.
	ByReason       Breakdown `json:"denied_by_reason"`
	LiftedByClause Breakdown `json:"lifted_by_clause"`
}

// Violations are incidents and reports of violations.
type Violations struct {
	Incidents Figure `json:"incidents"` // that denials began
	Reports   Figure `json:"reports"`
	// Confirmed and Unfounded are what investigations found in the period.
	Confirmed  Figure      `json:"confirmed"`
	Unfounded  Figure      `json:"unfounded"`
	ByType     Breakdown   `json:"by_type"`
	BySeverity Breakdown   `json:"by_severity"`
	ByClause   Breakdown   `json:"by_clause"`
	ByNode     Breakdown   `json:"by_node"`
	List       []Violation `json:"list"`
}

// Violation is an incident or a report.
type Violation struct {
	Index    uint64 `json:"index"`
	Time     string `json:"time"` // of the entry
	ID       string `json:"id"`
	Source   string `json:"source"` // denial or report
	Node     string `json:"node"`
	Metric   string `json:"metric,omitempty"`
	Clause   string `json:"clause,omitempty"`
	Severity string `json:"severity,omitempty"`
	Type     string `json:"type,omitempty"`
	Penalty  string `json:"penalty,omitempty"`
	// Level and Action are its consequence by the charter's escalation; 0 and empty
	// without any.
	Level  int     `json:"level"`
	Action string  `json:"action,omitempty"`
	Denial *uint64 `json:"denial,omitempty"` // index of the first denial
}

// Escalation is what incidents brought about.
type Escalation struct {
	// ByLevel counts incidents, confirmed reports among them, by the level that they
	// reached, such as "2 suspend"; "none" without a consequence.
	ByLevel Breakdown `json:"by_level"`
	// ByStanding counts changes of standing, such as "good to suspended".
	ByStanding Breakdown  `json:"by_standing"`
	Changes    []Standing `json:"changes"`
}

// Standing is a change of a node's standing.
type Standing struct {
	Index   uint64   `json:"index"`
	Time    string   `json:"time"`
	Node    string   `json:"node"`
	From    string   `json:"from"`
	To      string   `json:"to"`
	Action  string   `json:"action"`
	Level   int      `json:"level"`
	Cause   string   `json:"cause,omitempty"` // id of a violation or of a request
	Until   string   `json:"until,omitempty"`
	Restore string   `json:"restore,omitempty"` // who lifts it
	Signers []string `json:"signers"`
}

// Investigations are cases, and what became of them. Overdue counts those of which
// the ledger said in the period that nobody had closed them in time.
type Investigations struct {
	OpenBefore  uint64    `json:"open_before"` // at the beginning of the period
	Opened      Figure    `json:"opened"`
	Resolved    Figure    `json:"resolved"`
	Dismissed   Figure    `json:"dismissed"`
	Overdue     Figure    `json:"overdue"`
	OpenAfter   uint64    `json:"open_after"` // at its end
	OverdueOpen uint64    `json:"overdue_open"`
	TimeToClose Durations `json:"time_to_close_seconds"` // of those closed in the period
	List        []Case    `json:"list"`
}

// Overrides are emergency overrides. Steps counts begin, renew and end.
type Overrides struct {
	Steps Breakdown  `json:"steps"`
	List  []Override `json:"list"` // in force in the period
}

// Revocations are those of nodes' data access. Steps counts begin, end and
// window-closed.
type Revocations struct {
	Steps Breakdown    `json:"steps"`
	List  []Revocation `json:"list"`
}

// Seats is a change of the committee.
type Seats struct {
	Index    uint64   `json:"index"`
	Time     string   `json:"time"`
	Revision string   `json:"revision"`
	Size     int      `json:"size"`
	Added    []string `json:"added"`
	Removed  []string `json:"removed"`
	Changed  []string `json:"changed"`
}

// Loads are charters that were read.
type Loads struct {
	Loaded  Figure    `json:"loaded"`
	Refused Figure    `json:"refused"`
	ByCode  Breakdown `json:"refused_by_code"`
}

// Notifications are messages to receivers. A message may stand for several notices.
type Notifications struct {
	Delivered Figure      `json:"delivered"`
	Failed    Figure      `json:"failed"` // attempts; they are repeated
	Dead      Figure      `json:"dead"`   // given up
	Notices   Figure      `json:"notices_delivered"`
	ByError   Breakdown   `json:"by_error"`
	Receivers []Delivered `json:"receivers"`
	// Other are the messages of receivers that the list has no room for.
	Other *Figure `json:"other,omitempty"`
}

// Delivered is what became of the messages to a receiver over a channel.
type Delivered struct {
	Receiver string `json:"receiver"`
	Channel  string `json:"channel"`
	State    string `json:"state"` // delivered, failed or dead
	Figure
}

// Alerts are what an Alertmanager told.
type Alerts struct {
	Firing   Figure    `json:"firing"`
	Resolved Figure    `json:"resolved"`
	ByName   Breakdown `json:"firing_by_name"`
}

// Health is about the ledger itself.
type Health struct {
	Entries   Figure    `json:"entries"` // of the period
	ByKind    Breakdown `json:"by_kind"`
	ClockBack Figure    `json:"clock_back"` // entries for which the clock had gone back
	Conflicts Figure    `json:"conflicts"`  // request ids that came back with another request
	Keys      []Key     `json:"keys"`
	Seals     []Seal    `json:"seals"`
}

// Key is a change of the keys that sign the ledger.
type Key struct {
	Index  uint64   `json:"index"`
	Time   string   `json:"time"`
	Action string   `json:"action"` // rotation or retirement
	Key    string   `json:"key"`    // that signs from then on
	Old    []string `json:"old"`    // that it replaces, or that sign no more
}

// Seal says that entries were exported and may be pruned.
type Seal struct {
	Index     uint64 `json:"index"`
	Time      string `json:"time"`
	From      uint64 `json:"from"`
	To        uint64 `json:"to"` // exclusive
	Manifest  string `json:"manifest"`
	Overruled bool   `json:"overruled"`
}

// Comparison is with the period before, by figures.
type Comparison struct {
	Before Period `json:"before"`
	// Covered says that the ledger has entries from before that period began: it was
	// kept all the time.
	Covered bool     `json:"covered"`
	Rows    []Change `json:"rows"`
}

// Change is a figure of both periods.
type Change struct {
	Name       string `json:"name"`
	Now        Figure `json:"now"`
	Before     Figure `json:"before"`
	Difference int64  `json:"difference"`
}

package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Schema is the version of [Entry] that this package writes.
const Schema = 1

// MaxBody is the size in bytes of the largest entry. Bundles of entries (C2SP
// tlog-tiles) count them in 16 bits.
const MaxBody = 1<<16 - 1

// Kind says what an entry is about.
type Kind string

// The kinds of entries. Data is what [Entry.Data] holds.
const (
	Denial        Kind = "denial"           // a question was denied, or would have been in warn or shadow mode
	Allowance     Kind = "allowance"        // a question was allowed, where the charter wants each recorded
	Violation     Kind = "violation"        // somebody did or reported what the charter forbids; Data is a [ViolationRecord]
	Investigation Kind = "investigation"    // a step of one; Data is an [InvestigationStep]
	Standing      Kind = "standing"         // a node has another standing; Data is a [StandingChange]
	Revocation    Kind = "revocation"       // a node's data access ended or was given back; Data is a [RevocationChange]
	Membership    Kind = "committee"        // the committee has other members; Data is a [CommitteeChange]
	Notification  Kind = "notification"     // what became of a message; Data is a [Delivery]
	Alert         Kind = "alert"            // Alertmanager told of an alert; Data is an [AlertRecord]
	WindowOpen    Kind = "window-open"      // allowed decisions are counted from here on; Data is a [Window] without counts
	WindowClose   Kind = "window"           // the allowed decisions of a window; Data is a [Window]
	Gap           Kind = "gap"              // entries or counts are known to be missing; Data is a [Missing]
	Activation    Kind = "activation"       // another bundle decides
	Release       Kind = "release"          // a release was published, or its rollout took a step; Data is a [ReleaseStep]
	Load          Kind = "charter-load"     // a charter was loaded or refused
	Mirrored      Kind = "mirror"           // the ledger of a node is copied, or shows that it cannot be trusted; Data is a [MirrorChange]
	Instance      Kind = "opa-instance"     // an OPA runs another revision of a bundle, or has another error; Data is an [InstanceChange]
	Override      Kind = "override"         // an emergency override began, was renewed or ended; Data is an [OverrideChange]
	KeyRotation   Kind = "key-rotation"     // another key signs; Data is a [Rotation]
	KeyRetirement Kind = "key-retirement"   // a key that was replaced signs no more; Data is a [Retirement]
	Conflict      Kind = "request-conflict" // a request id came back with another request
	Sealed        Kind = "sealed"           // a range was exported and pruned; Data is a [Seal]
)

// Kinds returns the closed list of kinds.
func Kinds() []Kind {
	return []Kind{
		Denial, Allowance, Violation, Investigation, Standing, Revocation, Membership, Notification, Alert, WindowOpen, WindowClose, Gap, Activation, Release, Load, Mirrored, Instance, Override, KeyRotation, KeyRetirement, Conflict, Sealed,
	}
}

// Entry is one record. Of its fields only Schema, Kind and Time are always set.
// Texts are UTF-8; what a caller chose is as long as a question may be.
type Entry struct {
	Schema int  `json:"schema"`
	Kind   Kind `json:"kind"`
	// Time is when the entry was appended, RFC 3339 in UTC with nine digits. It
	// never goes back from one entry to the next: order is the index. ClockBack
	// marks an entry that got the time of the one before because the clock did.
	Time      string `json:"time"`
	ClockBack bool   `json:"clock_back,omitzero"`

	// The question, without label values.
	Metric    string   `json:"metric,omitempty"`
	Node      string   `json:"node,omitempty"`
	Role      string   `json:"role,omitempty"`
	Operation string   `json:"operation,omitempty"`
	Purpose   string   `json:"purpose,omitempty"`
	Labels    []string `json:"labels,omitempty"` // names, sorted
	Claims    []string `json:"claims,omitempty"`
	Retention string   `json:"retention,omitempty"`
	Asked     string   `json:"asked,omitempty"` // the time that was decided for, as in the question

	// The answer.
	Outcome    string   `json:"outcome,omitempty"`
	Clause     string   `json:"clause,omitempty"`
	Severity   string   `json:"severity,omitempty"`
	Mode       string   `json:"mode,omitempty"`
	Reasons    []Reason `json:"reasons,omitempty"`
	Revision   string   `json:"revision,omitempty"`
	DecisionID string   `json:"decision_id,omitempty"`

	// Who asked, and the request that the entry comes from.
	Principal string `json:"principal,omitempty"`
	RequestID string `json:"request_id,omitempty"`

	// Data is what only this kind has: a JSON object.
	Data jsontext.Value `json:"data,omitzero"`
}

// Reason is why a question was denied. Its words are those of the charter with
// that revision; they are not repeated in every entry.
type Reason struct {
	// In the order of their names: see canonicalEntry.
	Clause   string `json:"clause,omitempty"`
	Code     string `json:"code"`            // of package decision
	Field    string `json:"field,omitempty"` // of an invalid question
	Severity string `json:"severity,omitempty"`
}

// ErrTooLarge marks an entry over [MaxBody].
var ErrTooLarge = errors.New("entry is too large")

// ErrMalformed marks bytes that are no entry of a known schema, or not in
// canonical form.
var ErrMalformed = errors.New("malformed entry")

// Body returns the entry as canonical JSON (RFC 8785), which is what the tree
// covers. Errors wrap [ErrTooLarge] or [ErrMalformed].
func (e *Entry) Body() ([]byte, error) {
	body, err := e.canonical()
	if err != nil {
		return nil, err
	}
	if len(body) > MaxBody {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrTooLarge, len(body), MaxBody)
	}
	return body, nil
}

// ParseEntry reads a body. It accepts exactly what [Entry.Body] returns, so that
// an entry has one form and one address; the error wraps [ErrMalformed] or
// [ErrTooLarge].
func ParseEntry(body []byte) (Entry, error) {
	var e Entry
	if len(body) > MaxBody {
		return e, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(body))
	}
	if err := json.Unmarshal(body, &e, json.RejectUnknownMembers(true)); err != nil {
		return Entry{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if e.Schema != Schema {
		return Entry{}, fmt.Errorf("%w: schema %d, this program knows %d", ErrMalformed, e.Schema, Schema)
	}
	if _, err := e.At(); err != nil || e.Kind == "" {
		return Entry{}, fmt.Errorf("%w: no kind or no time", ErrMalformed)
	}
	again, err := e.Body()
	if err != nil || !bytes.Equal(again, body) {
		return Entry{}, fmt.Errorf("%w: not canonical", ErrMalformed)
	}
	return e, nil
}

// timeFormat is RFC 3339 with nine digits, so that times sort as texts.
const timeFormat = "2006-01-02T15:04:05.000000000Z"

// At returns the time of the entry.
func (e *Entry) At() (time.Time, error) { return time.Parse(timeFormat, e.Time) }

// stampOf writes a time as entries have it.
func stampOf(t time.Time) string { return t.UTC().Format(timeFormat) }

// Counted is one question that was allowed, as often as it was within a window.
type Counted struct {
	Metric    string   `json:"metric"`
	Node      string   `json:"node,omitempty"`
	Role      string   `json:"role"`
	Operation string   `json:"operation"`
	Purpose   string   `json:"purpose,omitempty"`
	Labels    []string `json:"labels,omitempty"` // names, sorted
	Claims    []string `json:"claims,omitempty"` // sorted
	Retention string   `json:"retention,omitempty"`
	Clause    string   `json:"clause"`
	Outcome   string   `json:"outcome"`
	Revision  string   `json:"revision"`
	Count     uint64   `json:"count"`
}

// Window is what was allowed between two times, exactly: every distinct question
// with its count. A window that does not fit into one entry has several, with
// Part from 0; More says that another follows. What there was no room to tell
// apart is counted in Overflow.
type Window struct {
	ID       string    `json:"id"` // of its window-open entry, too
	From     string    `json:"from"`
	To       string    `json:"to,omitempty"`
	Part     int       `json:"part,omitzero"`
	More     bool      `json:"more,omitzero"`
	Counts   []Counted `json:"counts,omitempty"`
	Overflow uint64    `json:"overflow,omitzero"`
	// Reported is the instance that allowed and counted, such as the id of an OPA, with
	// From and To by its clock; "" is this program.
	Reported string `json:"reported,omitempty"`
}

// Why something is missing.
const (
	ReasonCrash       = "crash"       // the program ended before a window was recorded
	ReasonBestEffort  = "best-effort" // the charter lets these denials go unrecorded
	ReasonUnavailable = "unavailable" // the ledger could not be written
	ReasonDropped     = "dropped"     // an OPA gave up decisions before it could upload them
)

// Missing is what a gap is about. Count is nil when nobody knows it: a crash lost
// the counts of a window, or how many denials an outage had cost.
type Missing struct {
	Reason  string  `json:"reason"` // one of the Reason constants
	Window  string  `json:"window,omitempty"`
	Count   *uint64 `json:"count,omitempty"`
	AtLeast uint64  `json:"at_least,omitzero"` // what is known of a count that is not
	From    string  `json:"from,omitempty"`
	To      string  `json:"to,omitempty"`
	// Reported is the OPA that dropped decisions, and Dropped how often it has since it
	// was started: each time it was one of them, or an upload full.
	Reported string `json:"reported,omitempty"`
	Dropped  uint64 `json:"dropped,omitzero"`
}

// Rotation says that another key signs checkpoints from this entry on. Both sign
// for the overlap. Keys are note verifier keys (C2SP signed-note).
type Rotation struct {
	Old string `json:"old"`
	New string `json:"new"`
	// Signature is by the new key over the old one, base64; the old key's is
	// that of the checkpoint.
	Signature string `json:"signature"`
}

// Retirement says that from this entry on one key signs alone, which ends the
// overlap that a [Rotation] began.
type Retirement struct {
	Key     string   `json:"key"`     // that signs
	Retired []string `json:"retired"` // that sign no more
}

// Seal says that the bodies of a range were exported and may be pruned.
type Seal struct {
	From     uint64 `json:"from"`
	To       uint64 `json:"to"`
	Manifest string `json:"manifest"` // CID of the export's manifest
	// Overruled says that nobody looked whether the charter wants them kept.
	Overruled bool `json:"overruled,omitzero"`
}

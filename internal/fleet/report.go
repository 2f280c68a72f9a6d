package fleet

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/release"
)

// Limits of a [Report].
const (
	MaxReport     = 32 << 10 // bytes of its JSON
	maxLabels     = 32
	maxLabel      = 255 // bytes of a name or value
	maxText       = 255 // bytes of a version, code or revision
	maxMessage    = 512 // bytes that are kept of a message
	maxCheckpoint = 8 << 10
)

// Times between two reports of a node.
const (
	DefaultInterval = 30 * time.Second
	minInterval     = time.Second
	maxInterval     = time.Hour
)

// Report is what a node says about itself. It is sent when something changes, and at
// the interval that it names. Times are of the node's clock.
type Report struct {
	Node     string            `json:"node"`
	Labels   map[string]string `json:"labels,omitempty"`
	Version  string            `json:"version,omitempty"` // of the program
	Time     time.Time         `json:"time"`              // when it was sent
	Interval float64           `json:"interval_seconds,omitempty"`

	Status    Status        `json:"status"`
	Ledger    *LedgerStatus `json:"ledger,omitempty"`
	Decisions Decisions     `json:"decisions"`
}

// Status is what a node runs. All of it is zero for a node that has never had a release.
type Status struct {
	Digest      string       `json:"digest,omitempty"` // of the release
	Revision    string       `json:"revision,omitempty"`
	Channel     string       `json:"channel,omitempty"`
	Sequence    int64        `json:"sequence,omitempty"`
	HighWater   int64        `json:"high_water,omitempty"` // the highest sequence it has accepted
	Expires     time.Time    `json:"expires,omitzero"`
	Activated   time.Time    `json:"activated,omitzero"`
	LastChecked time.Time    `json:"last_checked,omitzero"`
	LastError   *Fault       `json:"last_error,omitempty"` // nil when the last check went well
	Degraded    bool         `json:"degraded,omitempty"`
	State       *StateStatus `json:"state,omitempty"` // of the state bundle; nil without one
}

// Fault is why a node does not run what it is offered. Code is a reason code of package
// activation, or of one below.
type Fault struct {
	Code    string    `json:"code"`
	Message string    `json:"message,omitempty"`
	Since   time.Time `json:"since,omitzero"`
}

// StateStatus is about the state bundle of a node.
type StateStatus struct {
	Sequence  int64     `json:"sequence,omitempty"`
	Expires   time.Time `json:"expires,omitzero"`
	LastError *Fault    `json:"last_error,omitempty"`
}

// LedgerStatus is about the ledger of a node.
type LedgerStatus struct {
	Origin     string `json:"origin"`
	Size       uint64 `json:"size"`                 // entries
	Witnessed  uint64 `json:"witnessed,omitempty"`  // entries that a quorum has cosigned
	Checkpoint string `json:"checkpoint,omitempty"` // signed note
}

// Decisions are counted since the node was started.
type Decisions struct {
	Started   time.Time `json:"started,omitzero"`
	Total     uint64    `json:"total"`
	Denied    uint64    `json:"denied"` // by any reason, forbidden ones included
	Forbidden uint64    `json:"forbidden,omitempty"`
	Errors    uint64    `json:"errors,omitempty"`      // questions that could not be decided
	P99       float64   `json:"p99_seconds,omitempty"` // of the last minutes
}

// OPA is what a stock OPA uploaded about a bundle of this server.
type OPA struct {
	ID       string            `json:"id"`
	Labels   map[string]string `json:"labels,omitempty"`
	Bundle   string            `json:"bundle"`
	Revision string            `json:"revision,omitempty"`
	// Activated is of its clock, Arrived of ours.
	Activated time.Time `json:"activated,omitzero"`
	Arrived   time.Time `json:"arrived"`
	Code      string    `json:"code,omitempty"` // of its last error
	Message   string    `json:"message,omitempty"`
}

// Check says what is wrong with a report, and cuts its messages to what is kept. The
// error is an [*Error] with the field.
func (r *Report) Check() error {
	s, d := &r.Status, &r.Decisions
	for _, text := range []struct {
		field, value string
		limit        int
	}{
		{"node", r.Node, decision.MaxNameBytes},
		{"version", r.Version, maxText},
		{"status.revision", s.Revision, maxText},
		{"status.channel", s.Channel, maxText},
	} {
		if err := plain(text.field, text.value, text.limit); err != nil {
			return err
		}
	}
	switch {
	case r.Node == "":
		return refuse(InvalidReport, "node", "the report names no node")
	case r.Time.IsZero():
		return refuse(InvalidReport, "time", "the report has no time")
	case r.Interval != 0 && (r.Interval < minInterval.Seconds() || r.Interval > maxInterval.Seconds()):
		return refuse(InvalidReport, "interval_seconds", "%g is not between %g and %g", r.Interval, minInterval.Seconds(), maxInterval.Seconds())
	case len(r.Labels) > maxLabels:
		return refuse(InvalidReport, "labels", "more than %d labels", maxLabels)
	case s.Digest != "" && !release.ValidDigest(s.Digest):
		return refuse(InvalidReport, "status.digest", "not sha256: and 64 hex digits")
	case s.Sequence < 0 || s.Sequence > release.MaxSequence || s.HighWater < 0 || s.HighWater > release.MaxSequence:
		return refuse(InvalidReport, "status.sequence", "not from 0 to %d", int64(release.MaxSequence))
	case d.Denied > d.Total || d.Forbidden > d.Denied:
		return refuse(InvalidReport, "decisions.denied", "more than there were decisions")
	case !(d.P99 >= 0 && d.P99 <= 3600): // neither is NaN
		return refuse(InvalidReport, "decisions.p99_seconds", "not from 0 to 3600")
	}
	for name, value := range r.Labels {
		if name == "" || len(name) > maxLabel {
			return refuse(InvalidReport, "labels", "a name of 0 or more than %d bytes", maxLabel)
		}
		for _, text := range []string{name, value} {
			if err := plain("labels", text, maxLabel); err != nil {
				return err
			}
		}
	}
	for field, f := range r.faults() {
		if f.Code == "" {
			return refuse(InvalidReport, field+".code", "a fault without a code")
		}
		if err := plain(field+".code", f.Code, maxText); err != nil {
			return err
		}
		f.Message = kept(f.Message)
	}
	return r.checkLedger()
}

func (r *Report) checkLedger() error {
	l := r.Ledger
	switch {
	case l == nil:
		return nil
	case len(l.Checkpoint) > maxCheckpoint || !utf8.ValidString(l.Checkpoint):
		return refuse(InvalidReport, "ledger.checkpoint", "not a text of at most %d bytes", maxCheckpoint)
	case l.Witnessed > l.Size:
		return refuse(InvalidReport, "ledger.witnessed", "more than there are entries")
	default:
		return plain("ledger.origin", l.Origin, maxText)
	}
}

// faults are those of the report, by field.
func (r *Report) faults() map[string]*Fault {
	list := map[string]*Fault{}
	if f := r.Status.LastError; f != nil {
		list["status.last_error"] = f
	}
	if s := r.Status.State; s != nil && s.LastError != nil {
		list["status.state.last_error"] = s.LastError
	}
	return list
}

// interval is the time after which the next report is due.
func (r *Report) interval() time.Duration {
	if r.Interval == 0 {
		return DefaultInterval
	}
	return time.Duration(r.Interval * float64(time.Second))
}

// plain refuses text that is too long or cannot stand in a log.
func plain(field, text string, limit int) error {
	if len(text) > limit || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		return refuse(InvalidReport, field, "not a printable text of at most %d bytes", limit)
	}
	return nil
}

// kept is what is kept of a message of a node.
func kept(message string) string {
	if len(message) > maxMessage {
		message = message[:maxMessage]
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(message, ""))
}

// Code says why something is refused; the list is closed.
type Code string

// The codes.
const (
	InvalidReport   Code = "invalid_report"    // a field of a report is not what it should be
	TooManyNodes    Code = "too_many_nodes"    // there is no room for another node
	InvalidPlan     Code = "invalid_plan"      // stages or gates that cannot be
	BadArchive      Code = "bad_archive"       // not one release, or a release and its rollback
	WrongChannel    Code = "wrong_channel"     // a release and its rollback for two channels
	OlderSequence   Code = "older_sequence"    // not newer than what was published
	SequenceReused  Code = "sequence_reused"   // another release was published under that sequence
	NoRollback      Code = "no_rollback"       // the archive lacks the rollback
	WrongRollback   Code = "wrong_rollback"    // not an earlier release under the next sequence
	UnknownChannel  Code = "unknown_channel"   // nothing was published in it
	UnknownRelease  Code = "unknown_release"   // it was not published
	RolloutActive   Code = "rollout_active"    // another one is not over yet
	NoRollout       Code = "no_rollout"        // there is none to which this could be done
	UntrustedRun    Code = "untrusted_release" // the trust policy of now does not trust it
	CannotBeWritten Code = "store_unavailable" // a file could not be written
)

// Codes returns the closed list of codes.
func Codes() []Code {
	return []Code{
		InvalidReport, TooManyNodes, InvalidPlan, BadArchive, WrongChannel, OlderSequence, SequenceReused, NoRollback, WrongRollback,
		UnknownChannel, UnknownRelease, RolloutActive, NoRollout, UntrustedRun, CannotBeWritten,
	}
}

// Error is a refusal. Field is what is wrong of a report or plan; "" where that says
// nothing.
type Error struct {
	Code    Code
	Field   string
	Message string
	Err     error // the cause; nil for none
}

func (e *Error) Error() string {
	text := e.Message + " [" + string(e.Code) + "]"
	if e.Field != "" {
		text = e.Field + ": " + text
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func refuse(code Code, field, format string, args ...any) *Error {
	return &Error{Code: code, Field: field, Message: fmt.Sprintf(format, args...)}
}

func unwritten(err error) *Error {
	return &Error{Code: CannotBeWritten, Message: "what was decided could not be kept on disk, so it is not done", Err: err}
}

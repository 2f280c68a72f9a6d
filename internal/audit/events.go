package audit

import (
	"time"

	"github.com/westworld-charter/charter/internal/ledger"
)

// Load is the Data of a charter-load entry: a charter, bundle or signed release was
// read, and is ready to decide or was refused; or what decides is no longer kept up to
// date, or is again.
type Load struct {
	Result  string `json:"result"` // one of the constants below
	Part    string `json:"part"`   // policy, candidate, or state: a signed state bundle
	Trigger string `json:"trigger"`
	At      string `json:"at"`             // RFC 3339
	By      string `json:"by,omitempty"`   // principal who put it there over HTTP
	Code    string `json:"code,omitempty"` // why it was refused, or is degraded
	Charter string `json:"charter,omitempty"`
	Version string `json:"version,omitempty"`
	Digest  string `json:"digest,omitempty"` // of the charter
	// Repeats, when not 0, is how often the same happened within an hour without an
	// entry of its own; the entry is about the last time.
	Repeats uint64 `json:"repeats,omitempty"`
	Signed
}

// Signed says which signed release an entry is about; the zero value is none.
type Signed struct {
	Release  string `json:"release,omitempty"`  // digest of its manifest
	Channel  string `json:"channel,omitempty"`  // that its statement names
	Sequence int64  `json:"sequence,omitempty"` // of its statement
	Expires  string `json:"expires,omitempty"`  // RFC 3339
}

// Results of a [Load].
const (
	Loaded    = "loaded"
	Refused   = "refused"
	Degraded  = "degraded"  // what decides stays, for the reason Code
	Recovered = "recovered" // and is up to date again
)

// Activation is the Data of an activation entry: from At on, questions are
// answered otherwise. Revision of the entry is what decides.
type Activation struct {
	Trigger  string `json:"trigger"`      // start, watch, SIGHUP, api, apply, rollback, promotion, canary, release, state, or why a canary ended
	At       string `json:"at"`           // RFC 3339
	By       string `json:"by,omitempty"` // principal who put it there over HTTP
	Charter  string `json:"charter,omitempty"`
	Version  string `json:"version,omitempty"`
	Digest   string `json:"digest,omitempty"`   // of the charter
	Previous string `json:"previous,omitempty"` // the revision before
	// Retention is how long the charter has entries kept, in its language, such as 7y.
	Retention string `json:"retention,omitempty"`
	State     string `json:"state,omitempty"` // digest of the state document that is in force with it
	// Skipped is how many other state documents were in force since the activation
	// before, too many in too short a time to have entries.
	Skipped uint64 `json:"skipped,omitempty"`
	// Percent is how many of the nodes a canary answers, the policy before the
	// others; nil is all of them.
	Percent *int `json:"percent,omitempty"`
	Signed
}

// Entry returns the entry about a load of a revision, "" when it was refused.
func (l Load) Entry(revision string) (ledger.Entry, error) {
	e, err := entryWith(ledger.Load, l)
	e.Revision = revision
	return e, err
}

// Entry returns the entry about the activation of a revision.
func (a Activation) Entry(revision string) (ledger.Entry, error) {
	e, err := entryWith(ledger.Activation, a)
	e.Revision = revision
	return e, err
}

// Stamp writes a time as entries do.
func Stamp(t time.Time) string { return stamp(t) }

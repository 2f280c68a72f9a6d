package audit

import (
	"time"

	"github.com/westworld-charter/charter/internal/ledger"
)

// Load is the Data of a charter-load entry: a charter or bundle was read, and is
// ready to decide or was refused.
type Load struct {
	Result  string `json:"result"` // loaded or refused
	Part    string `json:"part"`   // policy or candidate
	Trigger string `json:"trigger"`
	At      string `json:"at"`             // RFC 3339
	By      string `json:"by,omitempty"`   // principal who put it there over HTTP
	Code    string `json:"code,omitempty"` // why it was refused
	Charter string `json:"charter,omitempty"`
	Version string `json:"version,omitempty"`
	Digest  string `json:"digest,omitempty"` // of the charter
}

// Results of a [Load].
const (
	Loaded  = "loaded"
	Refused = "refused"
)

// Activation is the Data of an activation entry: from At on, questions are
// answered otherwise. Revision of the entry is what decides.
type Activation struct {
	Trigger  string `json:"trigger"`      // start, watch, SIGHUP, api, apply, rollback, promotion, canary, or why a canary ended
	At       string `json:"at"`           // RFC 3339
	By       string `json:"by,omitempty"` // principal who put it there over HTTP
	Charter  string `json:"charter,omitempty"`
	Version  string `json:"version,omitempty"`
	Digest   string `json:"digest,omitempty"`   // of the charter
	Previous string `json:"previous,omitempty"` // the revision before
	// Retention is how long the charter has entries kept, in its language, such as 7y.
	Retention string `json:"retention,omitempty"`
	State     string `json:"state,omitempty"` // digest of the state document that is in force with it
	// Percent is how many of the nodes a canary answers, the policy before the
	// others; nil is all of them.
	Percent *int `json:"percent,omitempty"`
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

package activation

import "time"

// Mark is the highest sequence of a channel that was in force, and what it named.
type Mark struct {
	Channel  string `json:"channel"`
	Sequence int64  `json:"sequence"`
	Digest   string `json:"digest"`
}

// Kinds of an [Event]; the list is closed.
const (
	EventActivated = "activated" // another release, or another state, is in force
	EventRenewed   = "renewed"   // the release in force has a newer statement
	EventRefused   = "refused"   // what was offered is not put in force
	EventDegraded  = "degraded"  // something is wrong with what is in force, or with reaching the source
	EventRecovered = "recovered" // what an event of one of the two kinds above said is over
)

// Parts that an [Event] is about.
const (
	PartPolicy = "policy"
	PartState  = "state"
)

// Event is one change of what is in force, or of a condition: there is one when a
// condition begins, one when its code or the release it is about changes, one when it
// ends, and none for each poll in between. What comes again within an hour has none of
// its own: one at the end of the hour says how often it did; see [Options.Repeated].
type Event struct {
	Part     string
	Kind     string
	Code     string // of what is wrong, or is over
	Message  string
	Digest   string // of the release that it is about; "" when it is about none
	Channel  string
	Sequence int64
	Revision string
	Expires  time.Time // of the release statement, when there is one
	Previous string    // revision that was in force before, of EventActivated
	Time     time.Time
	// Untrusted, of EventDegraded, says that what is in force does not satisfy the trust
	// policy of now.
	Untrusted bool
	// Repeats, when not 0, says that this is such an event: so often there was none,
	// since the first that Code had. The rest of it is as it was the last time.
	Repeats uint64
}

// Problem is a condition that holds.
type Problem struct {
	Part    string    `json:"part"`
	Code    string    `json:"code"`
	Message string    `json:"message"`
	Digest  string    `json:"digest,omitempty"`
	Since   time.Time `json:"since"`
	// Repeats is how often something of this kind came and went within an hour without
	// an [Event] of its own.
	Repeats uint64 `json:"repeats,omitempty"`
}

// Status is what a node says about itself; its JSON is part of the HTTP API.
type Status struct {
	Channel       string    `json:"channel"`
	Digest        string    `json:"digest,omitempty"` // of the release in force; "" without one
	LayerDigest   string    `json:"layer_digest,omitempty"`
	Revision      string    `json:"revision,omitempty"`
	CharterDigest string    `json:"charter_digest,omitempty"`
	Sequence      int64     `json:"sequence,omitempty"`
	Expires       time.Time `json:"expires,omitzero"`
	Activated     time.Time `json:"activated,omitzero"`
	LastChecked   time.Time `json:"last_checked,omitzero"` // when the source last answered and nothing was refused
	HighWater     Mark      `json:"high_water"`            // of Channel
	// Degraded says that no policy is in force, or that there are Problems. LastError is
	// the newest of them.
	Degraded  bool         `json:"degraded"`
	LastError *Problem     `json:"last_error,omitempty"`
	Problems  []Problem    `json:"problems,omitempty"` // oldest first
	State     *StateStatus `json:"state,omitempty"`    // nil without state bundles
}

// Status returns what is in force and what is wrong.
func (a *Activator) Status() Status {
	now := a.o.Now()
	s := Status{Channel: a.o.Trust().Channel(), Problems: a.held.list()}
	a.mu.RLock()
	if l := a.active; l != nil {
		s.Channel = l.Channel
		s.Digest, s.LayerDigest, s.Revision, s.CharterDigest = l.Digest, l.LayerDigest, l.Revision, l.CharterDigest
		s.Sequence, s.Expires, s.Activated = l.Sequence, l.Expires, l.since
	}
	s.HighWater, s.LastChecked = a.saved.mark(s.Channel), a.checked
	a.mu.RUnlock()
	if n := len(s.Problems); n > 0 {
		s.LastError = &s.Problems[n-1]
	}
	s.Degraded = s.Digest == "" || len(s.Problems) > 0
	if a.states != nil {
		s.State = a.states.status(now)
	}
	return s
}

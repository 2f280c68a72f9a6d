// Package statedoc reads restrictions of the state document, data.charter_state, as the
// rules in rego/charter read them: a [Standing] and a [Revocation] of a node. What cannot
// be read restricts, without an end.
//
// Join makes one restriction of two, in which both hold at any time, and Covers says
// whether one restricts at least as much as another at any time. Nothing that is joined
// can end or loosen the other; the tests hold both against the rules.
package statedoc

import (
	"strings"
	"time"
)

// Sections of the document.
const (
	StandingSection    = "standing"    // by node
	RevocationsSection = "revocations" // by node
	OverridesSection   = "overrides"   // by id
	GrantsSection      = "grants"      // of roles, by role and node
	NodesSection       = "nodes"       // labels, by node
	ExpiresField       = "expires"     // of the document
)

// States of a [Standing], from best to worst.
const (
	Good        = "good"
	Warned      = "warned"
	Suspended   = "suspended"
	Quarantined = "quarantined"
)

// Standing is a row of the section standing.
type Standing struct {
	State  string    `json:"state"` // what is unknown is worse than all that is known
	Reason string    `json:"reason,omitempty"`
	Until  time.Time `json:"until,omitzero"` // zero: it does not end by itself
}

// ReadStanding reads a row. One that cannot be read is a quarantine without end.
func ReadStanding(row any) Standing {
	fields, _ := row.(map[string]any)
	s := Standing{Reason: text(fields["reason"]), Until: end(fields["until"])}
	if s.State = text(fields["state"]); s.State == "" {
		s.State = Quarantined
	}
	return s
}

// Gates reports whether the node may neither collect nor export until its end.
func (s Standing) Gates() bool { return rank(s.State) >= rank(Suspended) }

// Covers reports whether s restricts at least as much as other at any time.
func (s Standing) Covers(other Standing) bool {
	return rank(s.State) >= rank(other.State) && lasts(s.Until, other.Until) || !other.Gates()
}

// Join returns a standing in which both hold. Of two reasons, that of the worse one
// stays, and of equals that of s.
func (s Standing) Join(other Standing) Standing {
	switch {
	case s.Gates() && !other.Gates():
		return s
	case !s.Gates() && other.Gates():
		return other
	case rank(other.State) > rank(s.State):
		s.State, s.Reason = other.State, other.Reason
	}
	s.Until = later(s.Until, other.Until)
	return s
}

// Row is what [ReadStanding] reads.
func (s Standing) Row() map[string]any {
	row := map[string]any{"state": s.State}
	set(row, "reason", s.Reason)
	set(row, "until", Text(s.Until))
	return row
}

// Revocation is a row of the section revocations.
type Revocation struct {
	Reason      string    `json:"reason,omitempty"`
	Until       time.Time `json:"until,omitzero"`        // zero: it does not end by itself
	ExportUntil time.Time `json:"export_until,omitzero"` // until then the node may export; zero: it may not
}

// ReadRevocation reads a row. One that cannot be read neither ends nor permits exports.
func ReadRevocation(row any) Revocation {
	fields, _ := row.(map[string]any)
	return Revocation{text(fields["reason"]), end(fields["until"]), end(fields["export_until"])}
}

// Covers reports whether r restricts at least as much as other at any time.
func (r Revocation) Covers(other Revocation) bool {
	return lasts(r.Until, other.Until) && !r.ExportUntil.After(other.ExportUntil)
}

// Join returns a revocation in which both hold, with the reason of r if it has one.
func (r Revocation) Join(other Revocation) Revocation {
	if r.Reason == "" {
		r.Reason = other.Reason
	}
	r.Until = later(r.Until, other.Until)
	if other.ExportUntil.Before(r.ExportUntil) {
		r.ExportUntil = other.ExportUntil
	}
	return r
}

// Row is what [ReadRevocation] reads.
func (r Revocation) Row() map[string]any {
	row := map[string]any{}
	set(row, "reason", r.Reason)
	set(row, "until", Text(r.Until))
	set(row, "export_until", Text(r.ExportUntil))
	return row
}

// Time reads a time as the rules do: RFC 3339, or a bare date, which is its first instant
// in UTC. It reports false for what they cannot read.
func Time(value any) (time.Time, bool) {
	s := text(value)
	if !strings.Contains(s, "T") {
		s += "T00:00:00Z"
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	// Beyond these years the rules have no number for it.
	if err != nil || t.Year() < 1678 || t.Year() > 2261 {
		return time.Time{}, false
	}
	return t.UTC(), true
}

// Text is how a time is written, "" for the zero time.
func Text(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

func text(value any) string {
	s, _ := value.(string)
	return s
}

// end is a time, zero when there is none that can be read.
func end(value any) time.Time {
	t, _ := Time(value)
	return t
}

func set(row map[string]any, key, value string) {
	if value != "" {
		row[key] = value
	}
}

// lasts reports whether what ends at a does not end before what ends at b.
func lasts(a, b time.Time) bool { return a.IsZero() || !b.IsZero() && !a.Before(b) }

func later(a, b time.Time) time.Time {
	if lasts(a, b) {
		return a
	}
	return b
}

func rank(state string) int {
	switch state {
	case Good:
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

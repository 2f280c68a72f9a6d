package release

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// PayloadType is the DSSE payload type of a statement.
const PayloadType = "application/vnd.in-toto+json"

// StatementType is the _type of a statement (in-toto attestation framework v1).
const StatementType = "https://in-toto.io/Statement/v1"

// Predicate types of statements.
const (
	// SignatureType is what `cosign sign` states; its predicate is {}.
	SignatureType = "https://sigstore.dev/cosign/sign/v1"
	// PolicyType is ours about a release of a policy; see [Policy].
	PolicyType = "https://westworld-charter.github.io/charter/release/v1"
	// StateType is ours about a state bundle; see [State].
	StateType = "https://westworld-charter.github.io/charter/state/v1"
	// ProvenanceType says what a bundle was built from (SLSA 1.0).
	ProvenanceType = "https://slsa.dev/provenance/v1"
	// SummaryType says that somebody verified something (SLSA VSA 1.0).
	SummaryType = "https://slsa.dev/verification_summary/v1"
)

// MaxStatement bounds a statement in bytes.
const MaxStatement = 256 << 10

// MaxSequence is the largest sequence: the largest integer that JSON carries exactly.
const MaxSequence = 1<<53 - 1

// maxType bounds the name of a predicate type in bytes: it is in messages.
const maxType = 512

// Statement is an in-toto Statement v1 about one manifest.
type Statement struct {
	Subject   string          // "sha256:…" of the manifest
	Name      string          // of the subject; says nothing
	Type      string          // of the predicate, a URI
	Predicate json.RawMessage // a JSON object
}

type subject struct {
	Name   string            `json:"name"`
	Digest map[string]string `json:"digest"`
}

type statement struct {
	Type          string          `json:"_type"`
	Subject       []subject       `json:"subject"`
	PredicateType string          `json:"predicateType"`
	Predicate     json.RawMessage `json:"predicate"`
}

// NewStatement returns a statement about the manifest with that digest.
func NewStatement(digest, predicateType string, predicate any) (Statement, error) {
	raw, err := json.Marshal(predicate)
	if err != nil {
		return Statement{}, fmt.Errorf("encode the predicate: %w", err)
	}
	return Statement{Subject: digest, Name: LayerTitle, Type: predicateType, Predicate: raw}, nil
}

// Encode returns the payload that is signed.
func (s Statement) Encode() ([]byte, error) {
	digits, ok := strings.CutPrefix(s.Subject, "sha256:")
	if !ok || !ValidDigest(s.Subject) {
		return nil, &Error{CodeBadStatement, fmt.Errorf("subject %q is not sha256: and 64 hex digits", s.Subject)}
	}
	return json.Marshal(statement{StatementType, []subject{{s.Name, map[string]string{"sha256": digits}}}, s.Type, s.Predicate})
}

// ParseStatement reads the payload of a signature from an untrusted source. It fails
// with an [*Error] unless it is about exactly one thing, named by its SHA-256. Names of
// fields are exact and none is given twice: no reader can be made to see another
// statement than this one.
func ParseStatement(payload []byte) (Statement, error) {
	bad := func(format string, args ...any) (Statement, error) {
		return Statement{}, &Error{CodeBadStatement, fmt.Errorf("statement: "+format, args...)}
	}
	if len(payload) > MaxStatement {
		return bad("more than %d bytes", MaxStatement)
	}
	var s statement
	if err := jsonv2.Unmarshal(payload, &s); err != nil {
		return bad("%w", err)
	}
	if s.Type != StatementType && s.Type != "https://in-toto.io/Statement/v0.1" { // which cosign 2 wrote
		return bad("_type %q, want %s", s.Type, StatementType)
	}
	switch {
	case len(s.Subject) != 1:
		return bad("%d subjects, want one", len(s.Subject))
	case s.PredicateType == "" || len(s.PredicateType) > maxType:
		return bad("predicateType must have 1 to %d bytes", maxType)
	case jsontext.Value(s.Predicate).Kind() != '{':
		return bad("predicate is not a JSON object")
	}
	digest := "sha256:" + s.Subject[0].Digest["sha256"]
	if !ValidDigest(digest) {
		return bad("the subject has no SHA-256")
	}
	return Statement{digest, s.Subject[0].Name, s.PredicateType, s.Predicate}, nil
}

// Policy is the predicate of type [PolicyType]: what keeps a node from going back, from
// standing still unnoticed, and from mixing what does not belong together.
//
// Sequences of a channel only grow. They are reserved in pairs: release n, its rollback
// n+1, the next release n+2.
type Policy struct {
	Channel       string    `json:"channel"`
	Sequence      int64     `json:"sequence"` // 1 to [MaxSequence]
	Expires       time.Time `json:"expires"`  // RFC 3339; from then on a node that has nothing newer is degraded
	Revision      string    `json:"revision"` // of the bundle
	CharterDigest string    `json:"charterDigest"`
}

// State is the predicate of type [StateType].
type State struct {
	Charter  string    `json:"charter"`  // metadata.name of the charter whose nodes it is about
	Sequence int64     `json:"sequence"` // 1 to [MaxSequence], growing
	Issued   time.Time `json:"issued"`
	Expires  time.Time `json:"expires"`
}

// MarshalJSON writes times in UTC and whole seconds: the same statement is the same
// bytes on every machine.
func (p Policy) MarshalJSON() ([]byte, error) {
	type plain Policy
	p.Expires = plainTime(p.Expires)
	return json.Marshal(plain(p))
}

// MarshalJSON is like [Policy.MarshalJSON].
func (p State) MarshalJSON() ([]byte, error) {
	type plain State
	p.Issued, p.Expires = plainTime(p.Issued), plainTime(p.Expires)
	return json.Marshal(plain(p))
}

func plainTime(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// Policy returns the predicate of a statement of type [PolicyType].
func (s Statement) Policy() (Policy, error) {
	var p Policy
	if err := s.predicate(PolicyType, &p); err != nil {
		return Policy{}, err
	}
	switch {
	case !ValidChannel(p.Channel):
		return Policy{}, badPredicate("channel %q is not a name of at most 63 letters, digits, ., _ and -", p.Channel)
	case p.Sequence < 1 || p.Sequence > MaxSequence:
		return Policy{}, badPredicate("sequence %d is not from 1 to %d", p.Sequence, int64(MaxSequence))
	case p.Expires.IsZero():
		return Policy{}, badPredicate("expires is missing")
	case p.Revision == "" || len(p.Revision) > 255:
		return Policy{}, badPredicate("revision %q is not 1 to 255 bytes", p.Revision)
	case !ValidDigest(p.CharterDigest):
		return Policy{}, badPredicate("charterDigest %q is not sha256: and 64 hex digits", p.CharterDigest)
	}
	return p, nil
}

// State returns the predicate of a statement of type [StateType].
func (s Statement) State() (State, error) {
	var p State
	if err := s.predicate(StateType, &p); err != nil {
		return State{}, err
	}
	switch {
	case p.Charter == "" || len(p.Charter) > 255:
		return State{}, badPredicate("charter %q is not 1 to 255 bytes", p.Charter)
	case p.Sequence < 1 || p.Sequence > MaxSequence:
		return State{}, badPredicate("sequence %d is not from 1 to %d", p.Sequence, int64(MaxSequence))
	case p.Issued.IsZero() || !p.Expires.After(p.Issued):
		return State{}, badPredicate("expires %s is not after issued %s", p.Expires.Format(time.RFC3339), p.Issued.Format(time.RFC3339))
	}
	return p, nil
}

func badPredicate(format string, args ...any) error {
	return &Error{CodeBadStatement, fmt.Errorf("predicate: "+format, args...)}
}

// predicate decodes a predicate of ours: an unknown field could be a condition that
// somebody relies on.
func (s Statement) predicate(want string, into any) error {
	if s.Type != want {
		return badPredicate("type %q, want %s", s.Type, want)
	}
	if err := jsonv2.Unmarshal(s.Predicate, into, jsonv2.RejectUnknownMembers(true)); err != nil {
		return badPredicate("%w", err)
	}
	return nil
}

// ValidChannel reports whether name is that of a channel: 1 to 63 letters, digits, ., _ and -.
func ValidChannel(name string) bool {
	return name != "" && len(name) <= 63 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == ""
}

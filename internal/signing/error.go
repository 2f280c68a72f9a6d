package signing

import (
	"errors"
	"fmt"
)

// Code says why a statement, or all of them together, were not accepted.
type Code string

// The codes; the list is closed, see [Codes]. They stand in the order in which a
// statement is looked at: a later one is closer to acceptance.
const (
	CodeTooManyStatements    Code = "too_many_statements"   // more than [MaxStatements] beside one release
	CodeNoStateKey           Code = "no_state_key"          // the policy names no key for state
	CodeUnsigned             Code = "unsigned"              // no statement at all
	CodeMalformed            Code = "malformed"             // not a Sigstore bundle with a statement in it
	CodeUntrustedKey         Code = "untrusted_key"         // of a key that the policy does not name
	CodeUntrustedIssuer      Code = "untrusted_issuer"      // of an identity from an issuer that the policy does not name
	CodeUntrustedIdentity    Code = "untrusted_identity"    // of an identity that the policy does not name
	CodeInvalidSignature     Code = "invalid_signature"     // the statement is not what was signed
	CodeNoTimestamp          Code = "no_timestamp"          // fewer timestamps than the policy wants
	CodeUntrustedTimestamp   Code = "untrusted_timestamp"   // of an authority that the trusted root does not name, or about another signature
	CodeUntrustedCertificate Code = "untrusted_certificate" // of an authority that the trusted root does not name
	CodeCertificateExpired   Code = "certificate_expired"   // certificate or authority were not valid when it was signed
	CodeNoSCT                Code = "no_sct"                // the certificate is in no certificate transparency log that the trusted root names
	CodeNoLogEntry           Code = "no_log_entry"          // fewer entries in transparency logs than the policy wants
	CodeInvalidLogEntry      Code = "invalid_log_entry"     // an entry, its proof or its checkpoint is forged, or about another signature
	CodeSubjectMismatch      Code = "subject_mismatch"      // about another manifest
	CodeMissingStatement     Code = "missing_statement"     // none of a predicate type that the policy requires
	CodeTooFewSigners        Code = "too_few_signers"       // fewer signers than the policy wants
)

// Codes returns every code, earlier ones further from acceptance.
func Codes() []Code {
	return []Code{
		CodeTooManyStatements, CodeNoStateKey, CodeUnsigned, CodeMalformed, CodeUntrustedKey, CodeUntrustedIssuer, CodeUntrustedIdentity,
		CodeInvalidSignature, CodeNoTimestamp, CodeUntrustedTimestamp, CodeUntrustedCertificate, CodeCertificateExpired,
		CodeNoSCT, CodeNoLogEntry, CodeInvalidLogEntry, CodeSubjectMismatch, CodeMissingStatement, CodeTooFewSigners,
	}
}

// Error says why something is not accepted.
type Error struct {
	Code Code
	Err  error
}

func (e *Error) Error() string { return fmt.Sprintf("%v [%s]", e.Err, e.Code) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func newError(code Code, format string, args ...any) *Error {
	return &Error{code, fmt.Errorf(format, args...)}
}

// CodeOf returns the code of an error of this package, "" when it has none.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}

package enforcement

import (
	"errors"
	"fmt"

	"github.com/westworld-charter/charter/internal/committee"
)

// Code is why something was refused; the list is closed.
type Code string

// Codes of an [Error].
const (
	UnknownViolation     Code = "unknown_violation"
	UnknownInvestigation Code = "unknown_investigation"
	UnknownOverride      Code = "unknown_override"
	UnknownNode          Code = "unknown_node" // it has nothing that could be lifted
	UnknownClause        Code = committee.CodeUnknownClause
	InvalidReport        Code = "invalid_report"
	InvalidStep          Code = "invalid_step" // of an investigation
	InvalidRevocation    Code = "invalid_revocation"
	InvalidRequest       Code = committee.CodeInvalidRequest // of the committee
	WrongCharter         Code = committee.CodeWrongCharter
	ExpiresTooLate       Code = committee.CodeExpiresTooLate
	InvalidSignature     Code = committee.CodeInvalidSignature
	DuplicateSignature   Code = committee.CodeDuplicateSignature
	NoQuorum             Code = committee.CodeNoQuorum
	ExpiredRequest       Code = committee.CodeExpiredRequest
	Replayed             Code = "replayed"                    // its nonce was used
	ProtectedClause      Code = committee.CodeProtectedClause // no override lifts it
	NotOverridable       Code = committee.CodeNotOverridable  // the charter lets nobody loosen that
	ReportsClosed        Code = "reports_closed"              // the charter takes no anonymous reports
	TooManyReports       Code = "too_many_reports"
	EvidenceTooLarge     Code = "evidence_too_large"
	EvidenceFull         Code = "evidence_full"
	UnknownEvidence      Code = "unknown_evidence"
	AlreadyOpen          Code = "already_open"
	AlreadyClosed        Code = "already_closed"
	AlreadyRevoked       Code = "already_revoked"
	AlreadyEnded         Code = "already_ended"
	Unavailable          Code = "unavailable" // the ledger cannot be written or read
)

// Codes returns the closed list of codes.
func Codes() []Code {
	return []Code{
		UnknownViolation, UnknownInvestigation, UnknownOverride, UnknownNode, UnknownClause, InvalidReport, InvalidStep, InvalidRevocation,
		InvalidRequest, WrongCharter, ExpiresTooLate, InvalidSignature, DuplicateSignature, NoQuorum, ExpiredRequest, Replayed, ProtectedClause, NotOverridable, ReportsClosed, TooManyReports,
		EvidenceTooLarge, EvidenceFull, UnknownEvidence, AlreadyOpen, AlreadyClosed, AlreadyRevoked, AlreadyEnded, Unavailable,
	}
}

// Error is a refusal. All errors of this package's commands are.
type Error struct {
	Code    Code
	Message string // where and how to fix it, for whoever asked
	Err     error  // for the log; may be nil
}

func (e *Error) Error() string {
	if e.Err != nil {
		return e.Message + ": " + e.Err.Error()
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// refused is what the committee's rules say against a request.
func refused(err error) error {
	if own, ok := errors.AsType[*committee.Error](err); ok {
		return &Error{Code: Code(own.Code), Message: own.Message}
	}
	return &Error{Code: InvalidRequest, Message: err.Error()}
}

func refuse(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

func unavailable(what string, err error) *Error {
	return &Error{Code: Unavailable, Message: what, Err: err}
}

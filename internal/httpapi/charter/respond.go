package charterapi

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/westworld-charter/charter/internal/enforcement"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/wire"
)

// Codes of errors, beside those of [enforcement.Codes] and of package wire;
// docs/api.md lists them all.
const (
	codeInvalidCharter       = "invalid_charter"
	codePreconditionRequired = "precondition_required"
)

func notYours(format string, args ...any) *wire.Error {
	return &wire.Error{Status: http.StatusForbidden, Code: wire.CodeInsufficientScope, Message: fmt.Sprintf(format, args...)}
}

func (a *api) refuse(w http.ResponseWriter, err error) {
	wire.Refuse(w, a.Logger, wire.From(err, refusal))
}

// refusal maps errors of the packages that this one serves to answers.
func refusal(err error) *wire.Error {
	if e, ok := errors.AsType[*enforcement.Error](err); ok {
		return enforced(e)
	}
	if errors.Is(err, ledger.ErrConflict) {
		return &wire.Error{
			Status: http.StatusConflict, Code: wire.CodeRequestConflict, Cause: err,
			Message: "the Idempotency-Key was used for another request; use another key",
		}
	}
	return nil
}

// enforced gives a refusal of package enforcement its status.
func enforced(err *enforcement.Error) *wire.Error {
	e := &wire.Error{Status: statusOf(err.Code), Code: string(err.Code), Message: err.Message, Cause: err.Err}
	switch e.Status {
	case http.StatusTooManyRequests:
		e.Retry = time.Minute
	case http.StatusServiceUnavailable:
		e.Retry = 2 * time.Second
	}
	return e
}

func statusOf(code enforcement.Code) int {
	switch code {
	case enforcement.UnknownViolation, enforcement.UnknownInvestigation, enforcement.UnknownOverride, enforcement.UnknownNode,
		enforcement.UnknownEvidence:
		return http.StatusNotFound
	case enforcement.UnknownClause, enforcement.InvalidReport, enforcement.InvalidStep, enforcement.InvalidRevocation, enforcement.InvalidRequest,
		enforcement.WrongCharter, enforcement.ExpiresTooLate:
		return http.StatusBadRequest
	case enforcement.InvalidSignature, enforcement.DuplicateSignature, enforcement.NoQuorum, enforcement.ExpiredRequest, enforcement.ProtectedClause,
		enforcement.NotOverridable, enforcement.ReportsClosed:
		return http.StatusForbidden
	case enforcement.Replayed, enforcement.AlreadyOpen, enforcement.AlreadyClosed, enforcement.AlreadyRevoked, enforcement.AlreadyEnded:
		return http.StatusConflict
	case enforcement.TooManyReports:
		return http.StatusTooManyRequests
	case enforcement.EvidenceTooLarge:
		return http.StatusRequestEntityTooLarge
	case enforcement.EvidenceFull, enforcement.Unavailable:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

// Package wire is how the HTTP APIs of this project are offered, read requests and answer
// them, so that a client meets one behaviour wherever it asks.
//
// An API is a list of [Route]s. Handlers read with [JSON], [DecodeJSON], [Parameters] and
// [Segment], answer with [SendJSON], and return every refusal to be answered with
// [Refuse]. Guaranteed are: a body is bounded, of a type that was asked for, in UTF-8 and
// not compressed; what is not understood in full (a field or a parameter that is unknown
// or repeated, a wrong type) is refused with its place; every error has the shape of
// [Error], is of bounded size and repeats little of the request; its cause goes to the
// log and never to the client; who is to come back later is told when; no browser takes
// an answer for another type than its own, and no cache keeps one that does not say so.
package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/westworld-charter/charter/internal/decision"
)

// StatusClientClosed is what nginx made customary for requests whose client left
// before the answer; only logs and metrics see it.
const StatusClientClosed = 499

// Codes of errors that several APIs have; docs/api.md lists them all.
const (
	CodeInvalidRequest   = decision.InvalidRequest
	CodeNodeMismatch     = "node_mismatch"
	CodeNotFound         = "not_found"
	CodeRequestTimeout   = "request_timeout"
	CodeRequestConflict  = "request_conflict"
	CodeBodyTooLarge     = "body_too_large"
	CodeUnsupportedMedia = "unsupported_media_type"
	CodeTooMany          = "too_many_requests"
	CodeTimeout          = "timeout"
	CodeCanceled         = "canceled"
	CodeAuditUnavailable = "audit_unavailable"
	CodeInternal         = "internal_error"
	CodeUnauthenticated  = "unauthenticated"

	CodeInsufficientScope = "insufficient_scope"
)

// Codes of a [Problem] that several APIs have.
const (
	CodeUnknownField = decision.CodeUnknownField
	CodeMissingField = decision.CodeMissingField
	CodeInvalidValue = decision.CodeInvalidValue
	CodeWrongType    = decision.CodeWrongType
)

// An answer lists at most MaxProblems with at most MaxMessage bytes each, and repeats
// at most maxEcho bytes of what a caller wrote, so that a small hostile request has no
// large answer.
const (
	MaxProblems = 20
	MaxMessage  = 512
	maxEcho     = 128
)

// Error is the body of every answer with a status of 400 or more.
type Error struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	// Errors are the single problems of an invalid request, the most important
	// first; empty otherwise.
	Errors []Problem `json:"errors"`

	Status int           `json:"-"`
	Retry  time.Duration `json:"-"` // after which it is worth asking again; 0 says nothing
	Cause  error         `json:"-"` // for the log alone
}

// Problem is one thing that is wrong with a request, or with a document in it.
// Location is the field, the parameter, or file:line:col.
type Problem struct {
	Code     string `json:"code"`
	Message  string `json:"message"`
	Location string `json:"location"`
}

// Error returns the message that is sent, followed by the cause that is not.
func (e *Error) Error() string {
	if e.Cause != nil {
		return e.Message + ": " + e.Cause.Error()
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Wrong is the 400 of one field or parameter.
func Wrong(code, location, format string, args ...any) *Error {
	message := fmt.Sprintf(format, args...)
	return &Error{
		Status: http.StatusBadRequest, Code: CodeInvalidRequest, Message: "invalid request: " + message,
		Errors: []Problem{{code, message, location}},
	}
}

// Missing is the 404 of what is not there.
func Missing(format string, args ...any) *Error {
	return &Error{Status: http.StatusNotFound, Code: CodeNotFound, Message: fmt.Sprintf(format, args...)}
}

// TooMany is the 429 of who is to ask again after a time.
func TooMany(message string, retry time.Duration) *Error {
	return &Error{Status: http.StatusTooManyRequests, Code: CodeTooMany, Message: message, Retry: retry}
}

// From maps what a handler returned to its answer: an [*Error] is its own, errors of the
// API are those that own maps, which returns nil for others, and all else is a 503, a
// 499 or a 500.
func From(err error, own ...func(error) *Error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	for _, of := range own {
		if e := of(err); e != nil {
			return e
		}
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{Status: http.StatusServiceUnavailable, Code: CodeTimeout, Message: "the answer took too long; ask again, or for less", Cause: err}
	case errors.Is(err, context.Canceled):
		return &Error{Status: StatusClientClosed, Code: CodeCanceled, Message: "the request was given up", Cause: err}
	default:
		return &Error{Status: http.StatusInternalServerError, Code: CodeInternal, Message: "internal error; the log says more", Cause: err}
	}
}

// Refuse answers with e, and logs it when the fault is not the client's.
func Refuse(w http.ResponseWriter, log *slog.Logger, e *Error) {
	if e.Status >= http.StatusInternalServerError {
		log.Error("request failed", "code", e.Code, "error", e.Error())
	}
	shown := Error{Code: e.Code, Message: Cut(e.Message, 2*MaxMessage), Errors: []Problem{}}
	for _, p := range e.Errors[:min(len(e.Errors), MaxProblems)] {
		p.Message, p.Location = Cut(p.Message, MaxMessage), Cut(p.Location, MaxMessage)
		shown.Errors = append(shown.Errors, p)
	}
	retry := e.Retry
	if retry == 0 && (e.Status == http.StatusTooManyRequests || e.Status == http.StatusServiceUnavailable) {
		retry = time.Second
	}
	if retry > 0 {
		w.Header().Set("Retry-After", RetryAfter(retry))
	}
	_ = SendJSON(w, e.Status, shown) // texts alone: it can be encoded
}

// RetryAfter is the value of the header in seconds, rounded up: who comes back early is
// refused again.
func RetryAfter(wait time.Duration) string { return strconv.Itoa(int(math.Ceil(wait.Seconds()))) }

// Echo is what an answer repeats of a request.
func Echo(s string) string { return Cut(s, maxEcho) }

// Cut ends s after at most limit bytes, between two characters, and leaves out what is
// not UTF-8.
func Cut(s string, limit int) string {
	if len(s) > limit {
		return strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return strings.ToValidUTF8(s, "")
}

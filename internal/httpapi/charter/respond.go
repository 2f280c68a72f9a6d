package charterapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/westworld-charter/charter/internal/enforcement"
	"github.com/westworld-charter/charter/internal/ledger"
)

// Codes of errors, beside those of [enforcement.Codes]; docs/api.md lists them all.
const (
	codeInvalidRequest    = "invalid_request"
	codeUnknownField      = "unknown_field"
	codeMissingField      = "missing_field"
	codeInvalidValue      = "invalid_value"
	codeUnauthenticated   = "unauthenticated"
	codeInsufficientScope = "insufficient_scope"
	codeNotFound          = "not_found"
	codeRequestTimeout    = "request_timeout"
	codeBodyTooLarge      = "body_too_large"
	codeUnsupportedMedia  = "unsupported_media_type"
	codeTooMany           = "too_many_requests"
	codeRequestConflict   = "request_conflict"
	codeTimeout           = "timeout"
	codeCanceled          = "canceled"
	codeInternal          = "internal_error"
	codeAuditUnavailable  = "audit_unavailable"

	codeInvalidCharter       = "invalid_charter"
	codePreconditionRequired = "precondition_required"
)

// statusClientClosed is what nginx made customary for requests whose client left
// before the answer; only logs and metrics see it.
const statusClientClosed = 499

// Problem is one thing that is wrong with a request, or with a charter in it.
// Location is the field, the parameter, or file:line:col.
type Problem struct {
	Code     string `json:"code"`
	Message  string `json:"message"`
	Location string `json:"location"`
}

// Error is a refusal with its answer.
type Error struct {
	Code    string    `json:"code"`
	Message string    `json:"message"`
	Errors  []Problem `json:"errors"`

	Status int           `json:"-"`
	Retry  time.Duration `json:"-"` // after which it is worth asking again; 0 says nothing
	Cause  error         `json:"-"` // for the log alone
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

// An answer lists at most maxProblems with at most maxMessage bytes each, and
// repeats at most maxEcho bytes of what a caller wrote.
const (
	maxProblems = 20
	maxMessage  = 512
	maxEcho     = 100
)

// wrong is the 400 of one field or parameter.
func wrong(code, location, format string, args ...any) *Error {
	message := fmt.Sprintf(format, args...)
	return &Error{
		Status: http.StatusBadRequest, Code: codeInvalidRequest, Message: "invalid request: " + message,
		Errors: []Problem{{code, message, location}},
	}
}

func missing(format string, args ...any) *Error {
	return &Error{Status: http.StatusNotFound, Code: codeNotFound, Message: fmt.Sprintf(format, args...)}
}

func notYours(format string, args ...any) *Error {
	return &Error{Status: http.StatusForbidden, Code: codeInsufficientScope, Message: fmt.Sprintf(format, args...)}
}

// fail answers with err in the error shape.
func (a *api) fail(w http.ResponseWriter, err error) {
	e := errorOf(err)
	if e.Status >= http.StatusInternalServerError {
		a.Logger.Error("request failed", "code", e.Code, "error", err.Error())
	}
	if e.Retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(e.Retry.Seconds()))))
	}
	shown := *e
	shown.Message = cut(shown.Message, 2*maxMessage)
	shown.Errors = slices.Clone(e.Errors[:min(len(e.Errors), maxProblems)])
	if shown.Errors == nil {
		shown.Errors = []Problem{}
	}
	for i := range shown.Errors {
		shown.Errors[i].Message = cut(shown.Errors[i].Message, maxMessage)
	}
	sendJSON(w, shown.Status, &shown)
}

// errorOf maps what handlers return to answers.
func errorOf(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if e, ok := errors.AsType[*enforcement.Error](err); ok {
		return enforced(e)
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{Status: http.StatusServiceUnavailable, Code: codeTimeout, Message: "the answer took too long, ask again", Retry: time.Second, Cause: err}
	case errors.Is(err, context.Canceled):
		return &Error{Status: statusClientClosed, Code: codeCanceled, Message: "the request was given up", Cause: err}
	case errors.Is(err, ledger.ErrConflict):
		return &Error{
			Status: http.StatusConflict, Code: codeRequestConflict, Cause: err,
			Message: "the Idempotency-Key was used for another request; use another key",
		}
	default:
		return &Error{Status: http.StatusInternalServerError, Code: codeInternal, Message: "internal error; the log says more", Cause: err}
	}
}

// enforced gives a refusal of package enforcement its status.
func enforced(err *enforcement.Error) *Error {
	e := &Error{Status: statusOf(err.Code), Code: string(err.Code), Message: err.Message, Cause: err.Err}
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

// sendJSON answers with v. Nothing here may be kept by caches.
func sendJSON(w http.ResponseWriter, status int, v any) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(body.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes()) // a client that left is no fault
}

// parameters returns those of the query; one that is not known is refused, since
// a filter that is passed over selects too much.
func parameters(r *http.Request, known ...string) (url.Values, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, wrong(codeInvalidValue, "", "the query is malformed")
	}
	for name, values := range q {
		switch {
		case !slices.Contains(known, name):
			hint := "there are none here"
			if len(known) > 0 {
				hint = strings.Join(known, ", ") + " are known"
			}
			return nil, wrong(codeUnknownField, echoed(name), "unknown parameter %q; %s", echoed(name), hint)
		case len(values) > 1:
			return nil, wrong(codeInvalidValue, name, "%s is given twice", name)
		}
	}
	return q, nil
}

// oneOf reads a parameter of a closed list; absent is "".
func oneOf(q url.Values, name string, known ...string) (string, error) {
	v := q.Get(name)
	if v != "" && !slices.Contains(known, v) {
		return "", wrong(codeInvalidValue, name, "%s %q is not one of %s", name, echoed(v), strings.Join(known, ", "))
	}
	return v, nil
}

// number reads a parameter; the value of an absent one is otherwise.
func number(q url.Values, name string, otherwise uint64) (uint64, error) {
	text := q.Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil || strconv.FormatUint(n, 10) != text {
		return 0, wrong(codeInvalidValue, name, "%s is not a whole number: %q", name, echoed(text))
	}
	return n, nil
}

// moment reads a parameter that is a time; absent is the zero time.
func moment(q url.Values, name string) (time.Time, error) {
	text := q.Get(name)
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return t, wrong(codeInvalidValue, name, "%s is not a time such as 2026-06-01T12:00:00Z: %q", name, echoed(text))
	}
	return t, nil
}

// echoed is what an answer repeats of a request.
func echoed(s string) string { return cut(s, maxEcho) }

// cut ends s after at most limit bytes, between two characters, and leaves out what
// is not UTF-8.
func cut(s string, limit int) string {
	if len(s) > limit {
		return strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return strings.ToValidUTF8(s, "")
}

package decisionapi

import (
	"errors"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"github.com/westworld-charter/charter/internal/decision"
)

// Codes of [Error] beside invalid_request; docs/api.md lists them all.
const (
	codeUnauthenticated  = "unauthenticated"
	codeForbiddenHost    = "forbidden_host"
	codeNotLocal         = "not_local"
	codeCrossOrigin      = "cross_origin"
	codeNotFound         = "not_found"
	codeMethodNotAllowed = "method_not_allowed"
	codeRequestTimeout   = "request_timeout"
	codeBodyTooLarge     = "body_too_large"
	codeUnsupportedMedia = "unsupported_media_type"
	codeTooManyRequests  = "too_many_requests"
	codeInternal         = "internal_error"
	codeTimeout          = "timeout"
	codeCanceled         = "canceled"
	codeUnavailable      = "unavailable"
	codeOverloaded       = "overloaded"

	codeUnsupportedParameter = "unsupported_parameter"
)

// statusClientClosed is what nginx made customary for requests whose client left
// before the answer; only logs and metrics see it.
const statusClientClosed = 499

// Error is the body of every answer with a status of 400 or more.
type Error struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	// Errors are the single problems of an invalid request, the most important
	// first; empty otherwise.
	Errors []Problem `json:"errors"`

	status int
	cause  error         // for the log only
	retry  time.Duration // after which it is worth asking again; 0 says nothing
}

// Problem is one thing that is wrong with a request. Location names the field,
// prefixed by "input." where the question is wrapped in OPA's form.
type Problem struct {
	Code     string `json:"code"`
	Message  string `json:"message"`
	Location string `json:"location"`
}

// Error returns the message that is sent, followed by the cause that is not.
func (e *Error) Error() string {
	if e.cause != nil {
		return e.Message + ": " + e.cause.Error()
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// An answer lists at most maxProblems with at most maxMessage bytes each, and
// repeats at most maxEcho bytes of what a caller wrote, so that a small hostile
// request has no large answer.
const (
	maxProblems = 20
	maxMessage  = 512
	maxEcho     = 128
)

// place is where a question stands in a request.
type place int

const (
	bare    place = iota // the body is the question
	wrapped              // the question is the value of "input"
	wrapper              // the envelope around questions
	queried              // the parameters of the query are the question
	asRole               // the four entities of AuthZEN, the subject being a role
	asNode               // the same, the subject being a node
)

// locate names a field from the top of the request.
func (p place) locate(field string) string {
	field = shorten(field)
	switch {
	case field == inputKey:
		return field
	case p == wrapped:
		return inputKey + "." + field
	case p == asRole || p == asNode:
		return p.entity(field)
	default:
		return field
	}
}

// entity names the member of an AuthZEN request that holds a field of the
// question; other names are members of the request already.
func (p place) entity(field string) string {
	switch field {
	case "role":
		if p == asRole {
			return "subject.id"
		}
		return "subject.properties.role"
	case "node":
		if p == asNode {
			return "subject.id"
		}
		return "subject.properties.node"
	case "claims":
		return "subject.properties.claims"
	case "operation":
		return "action.name"
	case "metric":
		return "resource.id"
	case "labels", "retention":
		return "resource.properties." + field
	case "purpose", "time":
		return "context." + field
	default:
		return field
	}
}

// hint tells those who mixed up the two forms of a question.
func (p place) hint(pr Problem) string {
	switch {
	case pr.Code != decision.CodeUnknownField:
		return ""
	case p == bare && pr.Location == inputKey:
		return ` (the body is the question itself here; {"input": …} goes to POST ` + dataPath + `)`
	default:
		return ""
	}
}

// invalid is the 400 of a question that was refused.
func invalid(problems []Problem, in place) error {
	problems = problems[:min(len(problems), maxProblems)]
	e := &Error{status: http.StatusBadRequest, Code: decision.InvalidRequest, Message: "invalid request", Errors: problems}
	for i := range problems {
		problems[i].Message = cut(problems[i].Message, maxMessage) + in.hint(problems[i])
		problems[i].Location = in.locate(problems[i].Location)
	}
	if len(problems) > 0 {
		e.Message += ": " + problems[0].Message
	}
	return e
}

func problemsOfFields(fields []*decision.FieldError) []Problem {
	problems := make([]Problem, len(fields))
	for i, f := range fields {
		problems[i] = Problem{Code: f.Code, Message: f.Message, Location: f.Field}
	}
	return problems
}

func problemsOf(reasons []decision.Reason) []Problem {
	problems := make([]Problem, len(reasons))
	for i, r := range reasons {
		problems[i] = Problem{Code: r.Code, Message: r.Message, Location: r.Field}
	}
	return problems
}

func internal(cause error) *Error {
	return &Error{status: http.StatusInternalServerError, Code: codeInternal, Message: "internal error; nothing is allowed", cause: cause}
}

// fail answers with err in the error shape. It is echo's error handler, too,
// for errors that echo makes itself.
func (a *api) fail(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	e := asError(err)
	if e.Errors == nil {
		e.Errors = []Problem{}
	}
	if rec := recordOf(c); rec != nil {
		rec.failure = e
	}
	if e.retry > 0 {
		retryAfter(c, e.retry)
	}
	if err := respond(c, e.status, e); err != nil {
		a.Log.Debug("answer not sent", "error", err)
	}
}

// asError maps what handlers and echo return to the one error shape. The result
// is the caller's to change.
func asError(err error) *Error {
	var own *Error
	if errors.As(err, &own) {
		e := *own
		return &e
	}
	var he *echo.HTTPError
	if !errors.As(err, &he) || he.Code < http.StatusBadRequest {
		return internal(err)
	}
	return &Error{status: he.Code, Code: codeOf(he.Code), Message: messageOf(he.Code), cause: he.Internal}
}

func messageOf(status int) string {
	switch status {
	case http.StatusNotFound:
		return "there is nothing at this path; GET / lists what there is"
	case http.StatusMethodNotAllowed:
		return "this path does not know the method; the Allow header lists those it knows"
	default:
		return strings.ToLower(http.StatusText(status))
	}
}

func codeOf(status int) string {
	switch status {
	case http.StatusNotFound:
		return codeNotFound
	case http.StatusMethodNotAllowed:
		return codeMethodNotAllowed
	case http.StatusRequestEntityTooLarge:
		return codeBodyTooLarge
	case http.StatusUnsupportedMediaType:
		return codeUnsupportedMedia
	case http.StatusTooManyRequests:
		return codeTooManyRequests
	case http.StatusServiceUnavailable:
		return codeUnavailable
	}
	if status < http.StatusInternalServerError {
		return decision.InvalidRequest
	}
	return codeInternal
}

// shorten cuts text that a caller wrote to what is worth repeating.
func shorten(s string) string { return cut(s, maxEcho) }

// cut ends s after at most limit bytes, between two characters.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit] + "…"
}

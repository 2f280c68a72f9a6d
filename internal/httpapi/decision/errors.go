package decisionapi

import (
	"errors"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/wire"
)

// Codes of errors, beside those of package wire; docs/api.md lists them all.
const (
	codeForbiddenHost    = "forbidden_host"
	codeNotLocal         = "not_local"
	codeCrossOrigin      = "cross_origin"
	codeMethodNotAllowed = "method_not_allowed"
	codeUnavailable      = "unavailable"
	codeOverloaded       = "overloaded"

	codeUnsupportedParameter = "unsupported_parameter"
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
	field = wire.Echo(field)
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
func (p place) hint(pr wire.Problem) string {
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
func invalid(problems []wire.Problem, in place) error {
	problems = problems[:min(len(problems), wire.MaxProblems)]
	e := &wire.Error{Status: http.StatusBadRequest, Code: decision.InvalidRequest, Message: "invalid request", Errors: problems}
	for i := range problems {
		problems[i].Message = wire.Cut(problems[i].Message, wire.MaxMessage) + in.hint(problems[i])
		problems[i].Location = in.locate(problems[i].Location)
	}
	if len(problems) > 0 {
		e.Message += ": " + problems[0].Message
	}
	return e
}

func problemsOfFields(fields []*decision.FieldError) []wire.Problem {
	problems := make([]wire.Problem, len(fields))
	for i, f := range fields {
		problems[i] = wire.Problem{Code: f.Code, Message: f.Message, Location: f.Field}
	}
	return problems
}

func problemsOf(reasons []decision.Reason) []wire.Problem {
	problems := make([]wire.Problem, len(reasons))
	for i, r := range reasons {
		problems[i] = wire.Problem{Code: r.Code, Message: r.Message, Location: r.Field}
	}
	return problems
}

func internal(cause error) *wire.Error {
	return &wire.Error{Status: http.StatusInternalServerError, Code: wire.CodeInternal, Message: "internal error; nothing is allowed", Cause: cause}
}

// fail answers with err in the error shape. It is echo's error handler, too,
// for errors that echo makes itself.
func (a *api) fail(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	e := asError(err)
	if e.Errors == nil {
		e.Errors = []wire.Problem{}
	}
	if rec := recordOf(c); rec != nil {
		rec.failure = e
	}
	if e.Retry > 0 {
		c.Response().Header().Set("Retry-After", wire.RetryAfter(e.Retry))
	}
	if err := respond(c, e.Status, e); err != nil {
		a.Log.Debug("answer not sent", "error", err)
	}
}

// asError maps what handlers and echo return to the one error shape. The result
// is the caller's to change.
func asError(err error) *wire.Error {
	var own *wire.Error
	if errors.As(err, &own) {
		e := *own
		return &e
	}
	var he *echo.HTTPError
	if !errors.As(err, &he) || he.Code < http.StatusBadRequest {
		return internal(err)
	}
	return &wire.Error{Status: he.Code, Code: codeOf(he.Code), Message: messageOf(he.Code), Cause: he.Internal}
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
		return wire.CodeNotFound
	case http.StatusMethodNotAllowed:
		return codeMethodNotAllowed
	case http.StatusRequestEntityTooLarge:
		return wire.CodeBodyTooLarge
	case http.StatusUnsupportedMediaType:
		return wire.CodeUnsupportedMedia
	case http.StatusTooManyRequests:
		return wire.CodeTooMany
	case http.StatusServiceUnavailable:
		return codeUnavailable
	}
	if status < http.StatusInternalServerError {
		return decision.InvalidRequest
	}
	return wire.CodeInternal
}

package opaapi

import (
	"errors"
	"net/http"

	"github.com/westworld-charter/charter/internal/engine"
	"github.com/westworld-charter/charter/internal/wire"
)

// Codes of OPA's API that are used here.
const (
	codeInvalidParameter = "invalid_parameter"
	codeNotFound         = "resource_not_found"
)

// fault is the body of every error, in OPA's shape. Errors are OPA's own, whose
// location is an object with file, row and col.
type fault struct {
	Code    string  `json:"code"`
	Message string  `json:"message"`
	Errors  []error `json:"errors"`

	status int
}

func (f *fault) Error() string { return f.Code + ": " + f.Message }

// fail answers with err.
func fail(w http.ResponseWriter, err error, pretty bool) {
	f := faultOf(err)
	if f.Errors == nil {
		f.Errors = []error{}
	}
	if f.status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	respond(w, f.status, f, pretty)
}

func faultOf(err error) *fault {
	if f, ok := errors.AsType[*fault](err); ok {
		return f
	}
	if q, ok := errors.AsType[*engine.QueryError](err); ok {
		return refusal(q)
	}
	e := wire.From(err)
	return &fault{status: e.Status, Code: e.Code, Message: e.Message}
}

// refusal words an error of the engine as OPA does, and what OPA does not know
// under the code of the engine.
func refusal(q *engine.QueryError) *fault {
	f := &fault{status: http.StatusBadRequest, Code: codeInvalidParameter, Errors: q.Errors}
	switch q.Code {
	case engine.CodeBadSyntax:
		f.Message = "error(s) occurred while parsing query"
	case engine.CodeBadQuery:
		f.Message = "error(s) occurred while compiling query"
	case engine.CodeEvaluation:
		f.status, f.Code, f.Message = http.StatusInternalServerError, wire.CodeInternal, "error(s) occurred while evaluating query"
	default:
		f.status, f.Code, f.Message = http.StatusUnprocessableEntity, q.Code, q.Err.Error()
		return f
	}
	if len(f.Errors) == 0 {
		f.Message += ": " + q.Err.Error()
	}
	return f
}

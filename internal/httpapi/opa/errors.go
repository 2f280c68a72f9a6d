package opaapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"

	"github.com/westworld-charter/charter/internal/engine"
)

// Codes of OPA's API that are used here.
const (
	codeInvalidParameter = "invalid_parameter"
	codeNotFound         = "resource_not_found"
	codeInternal         = "internal_error"
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
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return &fault{status: http.StatusRequestEntityTooLarge, Code: "body_too_large", Message: fmt.Sprintf("the body is larger than %d bytes", tooLarge.Limit)}
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, context.DeadlineExceeded):
		return &fault{status: http.StatusRequestTimeout, Code: "request_timeout", Message: "the body did not arrive in time"}
	case errors.Is(err, context.DeadlineExceeded):
		return &fault{status: http.StatusServiceUnavailable, Code: "timeout", Message: "the evaluation took too long"}
	case errors.Is(err, context.Canceled):
		return &fault{status: statusClientClosed, Code: "canceled", Message: "the request was given up"}
	default:
		return &fault{status: http.StatusInternalServerError, Code: codeInternal, Message: "internal error"}
	}
}

// statusClientClosed is what nginx made customary for requests whose client left
// before the answer; only logs and metrics see it.
const statusClientClosed = 499

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
		f.status, f.Code, f.Message = http.StatusInternalServerError, codeInternal, "error(s) occurred while evaluating query"
	default:
		f.status, f.Code, f.Message = http.StatusUnprocessableEntity, q.Code, q.Err.Error()
		return f
	}
	if len(f.Errors) == 0 {
		f.Message += ": " + q.Err.Error()
	}
	return f
}

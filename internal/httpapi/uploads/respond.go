package uploadsapi

import (
	"errors"
	"net/http"
	"time"

	"github.com/westworld-charter/charter/internal/audit"
	"github.com/westworld-charter/charter/internal/wire"
)

// codeMaskedResult is that of an event whose result a mask has changed; docs/api.md lists
// the codes of package wire, which are all others.
const codeMaskedResult = "masked_result"

// handler answers one upload with what becomes JSON, or returns why not.
type handler func(w http.ResponseWriter, r *http.Request) (any, error)

// handler gives an upload its slot, and its errors their shape.
func (a *API) handler(kind string, serve handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status := http.StatusOK
		answer, err := a.admit(serve, w, r)
		if err != nil {
			status = wire.From(err, refusal).Status
		}
		a.Observer.Uploaded(kind, status)
		if err == nil {
			err = wire.SendJSON(w, status, answer)
		}
		if err != nil {
			wire.Refuse(w, a.Logger, wire.From(err, refusal))
		}
	})
}

func (a *API) admit(serve handler, w http.ResponseWriter, r *http.Request) (any, error) {
	if _, err := wire.Parameters(r); err != nil {
		return nil, err
	}
	principal := a.Caller(r.Context()).Principal
	if !a.enter(principal) {
		return nil, wire.TooMany("other uploads are being worked on; upload again", time.Second)
	}
	defer a.leave(principal)
	return serve(w, r)
}

// enter takes a slot; false when there is none.
func (a *API) enter(principal string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.all >= slots || a.busy[principal] >= ownSlots {
		return false
	}
	a.all++
	a.busy[principal]++
	return true
}

func (a *API) leave(principal string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all--
	if a.busy[principal]--; a.busy[principal] == 0 {
		delete(a.busy, principal)
	}
}

// refusal maps errors of the ledger to answers.
func refusal(err error) *wire.Error {
	if !errors.Is(err, audit.ErrUnavailable) {
		return nil
	}
	return &wire.Error{
		Status: http.StatusServiceUnavailable, Code: wire.CodeAuditUnavailable, Retry: 2 * time.Second, Cause: err,
		Message: "the ledger cannot be written; upload again, nothing is recorded twice",
	}
}

// read returns a body of at most limit bytes.
func read(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	body, err := wire.JSON(w, r, limit)
	if e, ok := errors.AsType[*wire.Error](err); ok && e.Code == wire.CodeBodyTooLarge {
		e.Message += "; lower decision_logs.reporting.upload_size_limit_bytes of OPA"
	}
	return body, err
}

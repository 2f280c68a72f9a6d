package uploadsapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/westworld-charter/charter/internal/audit"
)

// Codes of errors and of events that are refused; docs/api.md lists them all.
const (
	codeInvalidRequest   = "invalid_request"
	codeInvalidValue     = "invalid_value"
	codeMissingField     = "missing_field"
	codeWrongType        = "wrong_type"
	codeMaskedResult     = "masked_result"
	codeNodeMismatch     = "node_mismatch"
	codeBodyTooLarge     = "body_too_large"
	codeUnsupportedMedia = "unsupported_media_type"
	codeRequestTimeout   = "request_timeout"
	codeTooMany          = "too_many_requests"
	codeAuditUnavailable = "audit_unavailable"
	codeInternal         = "internal_error"
)

// fault is the body of every error.
type fault struct {
	Code    string    `json:"code"`
	Message string    `json:"message"`
	Errors  []problem `json:"errors"`

	status int
	retry  time.Duration // 0 says nothing
	cause  error         // for the log alone
}

// problem is what is wrong with one field, or one event of an upload.
type problem struct {
	Code     string `json:"code"`
	Message  string `json:"message"`
	Location string `json:"location"` // field, or index of the event and field
}

// Error returns the message that is sent, followed by the cause that is not.
func (f *fault) Error() string {
	if f.cause != nil {
		return f.Message + ": " + f.cause.Error()
	}
	return f.Message
}

// wrong is the 400 of one field.
func wrong(code, location, format string, args ...any) *fault {
	message := fmt.Sprintf(format, args...)
	return &fault{
		status: http.StatusBadRequest, Code: codeInvalidRequest, Message: "invalid request: " + message,
		Errors: []problem{{code, message, location}},
	}
}

// handler answers one upload with what becomes JSON, or returns why not.
type handler func(w http.ResponseWriter, r *http.Request) (any, error)

// handler gives an upload its slot, and its errors their shape.
func (a *API) handler(kind string, serve handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, err := a.admit(serve, w, r)
		status := http.StatusOK
		if err != nil {
			f := a.faultOf(err)
			if f.retry > 0 {
				w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(f.retry.Seconds()))))
			}
			answer, status = f, f.status
		}
		a.Observer.Uploaded(kind, status)
		send(w, status, answer)
	})
}

func (a *API) admit(serve handler, w http.ResponseWriter, r *http.Request) (any, error) {
	if r.URL.RawQuery != "" {
		return nil, wrong(codeInvalidValue, "", "there are no parameters here")
	}
	principal := a.Caller(r.Context()).Principal
	if !a.enter(principal) {
		return nil, &fault{
			status: http.StatusTooManyRequests, Code: codeTooMany, retry: time.Second, Message: "other uploads are being worked on; upload again",
		}
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

func (a *API) faultOf(err error) *fault {
	f, ok := errors.AsType[*fault](err)
	switch {
	case ok:
	case errors.Is(err, audit.ErrUnavailable):
		f = &fault{
			status: http.StatusServiceUnavailable, Code: codeAuditUnavailable, retry: 2 * time.Second, cause: err,
			Message: "the ledger cannot be written; upload again, nothing is recorded twice",
		}
	default:
		f = &fault{status: http.StatusInternalServerError, Code: codeInternal, Message: "internal error; the log says more", cause: err}
	}
	if f.status >= http.StatusInternalServerError {
		a.Logger.Error("an upload was not taken", "code", f.Code, "error", f.Error())
	}
	if f.Errors == nil {
		f.Errors = []problem{}
	}
	return f
}

// read returns a body of at most limit bytes.
func (a *API) read(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return nil, unsupported("the Content-Encoding is not supported; send gzip, or nothing")
	}
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return nil, unsupported("the Content-Type is not supported; send application/json")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	tooLarge, large := errors.AsType[*http.MaxBytesError](err)
	switch {
	case err == nil:
		return body, nil
	case large:
		return nil, &fault{
			status: http.StatusRequestEntityTooLarge, Code: codeBodyTooLarge,
			Message: fmt.Sprintf("the body is larger than %d bytes; lower decision_logs.reporting.upload_size_limit_bytes of OPA", tooLarge.Limit),
		}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &fault{status: http.StatusRequestTimeout, Code: codeRequestTimeout, Message: "the body did not arrive in time", cause: err}
	default:
		return nil, &fault{status: http.StatusBadRequest, Code: codeInvalidRequest, Message: "the body could not be read, or is not gzip as it says", cause: err}
	}
}

func unsupported(message string) *fault {
	return &fault{status: http.StatusUnsupportedMediaType, Code: codeUnsupportedMedia, Message: message}
}

func send(w http.ResponseWriter, status int, v any) {
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

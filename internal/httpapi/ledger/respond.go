package ledgerapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/westworld-charter/charter/internal/ledger"
)

// Codes of errors; docs/api.md lists them all.
const (
	codeInvalidRequest = "invalid_request"
	codeUnknownField   = "unknown_field"
	codeInvalidValue   = "invalid_value"
	codeNotFound       = "not_found"
	codePruned         = "entry_pruned"
	codeTooMany        = "too_many_requests"
	codeTimeout        = "timeout"
	codeCanceled       = "canceled"
	codeDamaged        = "ledger_damaged"
	codeInternal       = "internal_error"

	codeKeyNotSaved      = "key_not_saved"
	codeKeyRefused       = "key_refused"
	codeAuditUnavailable = "audit_unavailable"
)

// statusClientClosed is what nginx made customary for requests whose client left
// before the answer; only logs and metrics see it.
const statusClientClosed = 499

// fault is the body of every error.
type fault struct {
	Code    string    `json:"code"`
	Message string    `json:"message"`
	Errors  []problem `json:"errors"`

	status int
}

// problem is a parameter that is wrong. Location is its name.
type problem struct {
	Code     string `json:"code"`
	Message  string `json:"message"`
	Location string `json:"location"`
}

// Error returns the message.
func (f *fault) Error() string { return f.Message }

// maxEcho bounds what an answer repeats of a request.
const maxEcho = 100

// wrong is the 400 of a parameter.
func wrong(code, name, format string, args ...any) *fault {
	message := fmt.Sprintf(format, args...)
	return &fault{
		status: http.StatusBadRequest, Code: codeInvalidRequest, Message: "invalid request: " + message,
		Errors: []problem{{code, message, name}},
	}
}

func missing(format string, args ...any) *fault {
	return &fault{status: http.StatusNotFound, Code: codeNotFound, Message: fmt.Sprintf(format, args...)}
}

func (a *api) fail(w http.ResponseWriter, err error) {
	f := faultOf(err)
	if f.status == http.StatusInternalServerError {
		a.Log.Error("the ledger cannot be read", "error", err)
	}
	if f.status == http.StatusTooManyRequests || f.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	if f.Errors == nil {
		f.Errors = []problem{}
	}
	body, err := json.Marshal(f)
	if err != nil { // texts alone: this does not happen
		body = []byte("{}")
	}
	write(w, f.status, "application/json", cacheNot, append(body, '\n'))
}

func faultOf(err error) *fault {
	if f, ok := errors.AsType[*fault](err); ok {
		return f
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return &fault{status: http.StatusServiceUnavailable, Code: codeTimeout, Message: "the answer took too long; ask for less, or narrow the times"}
	case errors.Is(err, context.Canceled):
		return &fault{status: statusClientClosed, Code: codeCanceled, Message: "the request was given up"}
	case errors.Is(err, ledger.ErrNotFound):
		return missing("%s", err)
	case errors.Is(err, ledger.ErrDamaged):
		return &fault{status: http.StatusInternalServerError, Code: codeDamaged, Message: "the ledger is damaged; charter-admin audit verify says where"}
	default:
		return &fault{status: http.StatusInternalServerError, Code: codeInternal, Message: "internal error"}
	}
}

// How long answers may be kept. What tiles hold never changes, and bundles are
// for those alone who may ask for them.
const (
	cacheNot     = "no-cache"
	cacheForever = "public, max-age=31536000, immutable"
	cachePrivate = "private, max-age=31536000, immutable"
	cacheNever   = "no-store"
)

const (
	typeText   = "text/plain; charset=utf-8"
	typeBytes  = "application/octet-stream"
	typeJSON   = "application/json"
	typeNDJSON = "application/x-ndjson"
)

func send(w http.ResponseWriter, media, cache string, body []byte) {
	write(w, http.StatusOK, media, cache, body)
}

func write(w http.ResponseWriter, status int, media, cache string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", media)
	h.Set("Cache-Control", cache)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that left is no fault
}

func sendJSON(w http.ResponseWriter, v any) error {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	send(w, typeJSON, cacheNever, body.Bytes())
	return nil
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
			return nil, wrong(codeUnknownField, shorten(name), "unknown parameter %.100q; %s", name, hint)
		case len(values) > 1 && name != kindKey && name != severityKey:
			return nil, wrong(codeInvalidValue, name, "%s is given twice", name)
		}
	}
	return q, nil
}

func shorten(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxEcho)], "") }

// number reads a parameter, or part of a path; the value of an absent one is
// otherwise.
func number(name, text string, otherwise uint64) (uint64, error) {
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil || strconv.FormatUint(n, 10) != text {
		return 0, wrong(codeInvalidValue, name, "%s is not a whole number: %.100q", name, text)
	}
	return n, nil
}

// indexAfter is what follows a prefix of the path, which must be a number.
func indexAfter(r *http.Request, prefix string) (uint64, error) {
	text, ok := strings.CutPrefix(r.URL.Path, prefix+"/")
	if !ok || text == "" || strings.Contains(text, "/") {
		return 0, missing("there is nothing at this path")
	}
	return number("index", text, 0)
}

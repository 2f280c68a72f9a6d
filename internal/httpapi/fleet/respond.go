package fleetapi

import (
	"bytes"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Codes of errors, beside those of [fleet.Codes] and those of whoever verifies releases;
// docs/fleet.md lists them all.
const (
	codeInvalidRequest   = "invalid_request"
	codeUnknownField     = "unknown_field"
	codeInvalidValue     = "invalid_value"
	codeNodeMismatch     = "node_mismatch"
	codeNotFound         = "not_found"
	codeNoTrust          = "no_trust_policy"
	codeRequestTimeout   = "request_timeout"
	codeBodyTooLarge     = "body_too_large"
	codeUnsupportedMedia = "unsupported_media_type"
	codeTooMany          = "too_many_requests"
	codeTimeout          = "timeout"
	codeCanceled         = "canceled"
	codeInternal         = "internal_error"
)

// Media types of bodies.
const (
	typeJSON = "application/json"
	typeTar  = "application/x-tar"
)

// statusClientClosed is what nginx made customary for requests whose client left
// before the answer; only logs and metrics see it.
const statusClientClosed = 499

// An answer repeats at most maxEcho bytes of what a caller wrote.
const (
	maxEcho    = 100
	maxMessage = 512
)

// fault is the body of every error.
type fault struct {
	Code    string    `json:"code"`
	Message string    `json:"message"`
	Errors  []problem `json:"errors"`

	status int
	retry  time.Duration // after which it is worth asking again; 0 says nothing
	cause  error         // for the log alone
}

// problem is one thing that is wrong with a request. Location is the field or parameter.
type problem struct {
	Code     string `json:"code"`
	Message  string `json:"message"`
	Location string `json:"location"`
}

// Error returns the message that is sent, followed by the cause that is not.
func (f *fault) Error() string {
	if f.cause != nil {
		return f.Message + ": " + f.cause.Error()
	}
	return f.Message
}

// wrong is the 400 of one field or parameter.
func wrong(code, location, format string, args ...any) *fault {
	message := fmt.Sprintf(format, args...)
	return &fault{
		status: http.StatusBadRequest, Code: codeInvalidRequest, Message: "invalid request: " + message,
		Errors: []problem{{code, message, location}},
	}
}

// fail answers with err in the error shape.
func (a *api) fail(w http.ResponseWriter, err error) {
	f := faultOf(err)
	if f.status >= http.StatusInternalServerError {
		a.Logger.Error("request failed", "code", f.Code, "error", f.Error())
	}
	if f.retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(f.retry.Seconds()))))
	}
	if f.Errors == nil {
		f.Errors = []problem{}
	}
	sendJSON(w, f.status, f)
}

// sendJSON answers with v. Nothing here may be kept by caches.
func sendJSON(w http.ResponseWriter, status int, v any) {
	var body bytes.Buffer
	enc := stdjson.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", typeJSON)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(body.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes()) // a client that left is no fault
}

// mediaOf refuses a body of another type than those. One without a type is believed.
func mediaOf(r *http.Request, known ...string) error {
	unsupported := func(what string) error {
		return &fault{status: http.StatusUnsupportedMediaType, Code: codeUnsupportedMedia, Message: what + "; send " + strings.Join(known, " or ")}
	}
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return unsupported(fmt.Sprintf("Content-Encoding %q is not supported", echoed(coding)))
	}
	value := r.Header.Get("Content-Type")
	if value == "" {
		return nil
	}
	media, _, err := mime.ParseMediaType(value)
	if err != nil || !slices.Contains(known, media) {
		return unsupported(fmt.Sprintf("Content-Type %q is not supported here", echoed(value)))
	}
	return nil
}

// readBody returns a body of at most limit bytes.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err == nil {
		return body, nil
	}
	tooLarge, ok := errors.AsType[*http.MaxBytesError](err)
	switch {
	case ok:
		return nil, &fault{status: http.StatusRequestEntityTooLarge, Code: codeBodyTooLarge, Message: fmt.Sprintf("the body is larger than %d bytes", tooLarge.Limit)}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &fault{status: http.StatusRequestTimeout, Code: codeRequestTimeout, Message: "the body did not arrive in time", cause: err}
	default:
		return nil, &fault{status: http.StatusBadRequest, Code: codeInvalidRequest, Message: "the body could not be read", cause: err}
	}
}

// readJSON reads a body strictly: a member that is unknown or repeated, and text that is
// not UTF-8, are refused.
func readJSON(w http.ResponseWriter, r *http.Request, limit int64, into any) error {
	if err := mediaOf(r, typeJSON); err != nil {
		return err
	}
	body, err := readBody(w, r, limit)
	if err != nil {
		return err
	}
	return parse(body, into)
}

func parse(body []byte, into any) error {
	err := json.Unmarshal(body, into, json.RejectUnknownMembers(true))
	if err == nil {
		return nil
	}
	if syntax, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		why := "not valid"
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			why = "it ends too early"
		case errors.Is(err, jsontext.ErrDuplicateName):
			why = "a member is given twice"
		}
		return wrong(codeInvalidValue, location(syntax.JSONPointer), "the body is not JSON at byte %d: %s", syntax.ByteOffset, why)
	}
	if semantic, ok := errors.AsType[*json.SemanticError](err); ok {
		at := location(semantic.JSONPointer)
		if errors.Is(err, json.ErrUnknownName) {
			return wrong(codeUnknownField, at, "unknown field %q", at)
		}
		return wrong(codeInvalidValue, at, "field %q has the wrong type or form", at)
	}
	return wrong(codeInvalidValue, "", "the body is not what is expected here")
}

// location writes a JSON pointer as the answers of this API name fields.
func location(p jsontext.Pointer) string {
	var parts []string
	for token := range p.Tokens() {
		parts = append(parts, token)
	}
	return echoed(strings.Join(parts, "."))
}

// segments are the parts of the path of a request after a prefix, unescaped.
func segments(r *http.Request, prefix string) ([]string, error) {
	missing := &fault{status: http.StatusNotFound, Code: codeNotFound, Message: "there is nothing at this path"}
	rest, ok := strings.CutPrefix(r.URL.EscapedPath(), prefix+"/")
	if !ok {
		return nil, missing
	}
	parts := strings.Split(rest, "/")
	for i, p := range parts {
		text, err := url.PathUnescape(p)
		if err != nil || text == "" {
			return nil, missing
		}
		parts[i] = text
	}
	return parts, nil
}

// parameters returns those of the query; one that is not known is refused, since a
// filter that is passed over selects too much.
func parameters(r *http.Request, known ...string) (url.Values, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, wrong(codeInvalidValue, "", "the query is malformed")
	}
	for name, values := range q {
		switch {
		case !slices.Contains(known, name):
			return nil, wrong(codeUnknownField, echoed(name), "unknown parameter %q", echoed(name))
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

// number reads a parameter from 1 to most; the value of an absent one is otherwise.
func number(q url.Values, name string, otherwise, most int) (int, error) {
	text := q.Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, wrong(codeInvalidValue, name, "%s is not between 1 and %d: %q", name, most, echoed(text))
	}
	return n, nil
}

// echoed is what an answer repeats of a request.
func echoed(s string) string { return cut(s, maxEcho) }

// cut ends s after at most limit bytes, and leaves out what is not UTF-8.
func cut(s string, limit int) string {
	if len(s) > limit {
		return strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return strings.ToValidUTF8(s, "")
}

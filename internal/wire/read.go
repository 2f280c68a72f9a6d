package wire

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Media returns the media type of a body, which must be one of the known, with its
// parameters. A body without a type is of the first of them.
func Media(r *http.Request, known ...string) (media string, params map[string]string, err error) {
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return "", nil, Unsupported("Content-Encoding %s is not supported, send the body with gzip or uncompressed", Echo(coding))
	}
	value := r.Header.Get("Content-Type")
	if value == "" {
		return known[0], nil, nil
	}
	media, params, err = mime.ParseMediaType(value)
	if err != nil || !slices.Contains(known, media) {
		return "", nil, Unsupported("Content-Type %s is not supported here, send %s", Echo(value), strings.Join(known, " or "))
	}
	if charset := params["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return "", nil, Unsupported("charset %s is not supported, send UTF-8", Echo(charset))
	}
	return media, params, nil
}

// Unsupported is the 415 of a body that says to be of another form than is read.
func Unsupported(format string, args ...any) *Error {
	return &Error{Status: http.StatusUnsupportedMediaType, Code: CodeUnsupportedMedia, Message: fmt.Sprintf(format, args...)}
}

// Body returns a body of at most limit bytes.
func Body(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		return nil, Unreadable(err)
	}
	return body, nil
}

// Unreadable is the refusal of a body by the error of reading it.
func Unreadable(err error) *Error {
	if own, ok := errors.AsType[*Error](err); ok { // of who decompresses it
		return own
	}
	if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return TooLarge(large.Limit)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &Error{Status: http.StatusRequestTimeout, Code: CodeRequestTimeout, Message: "the body did not arrive in time", Cause: err}
	}
	return &Error{Status: http.StatusBadRequest, Code: CodeInvalidRequest, Message: "the body could not be read", Cause: err}
}

// TooLarge is the 413 of a body of more than limit bytes.
func TooLarge(limit int64) *Error {
	return &Error{Status: http.StatusRequestEntityTooLarge, Code: CodeBodyTooLarge, Message: fmt.Sprintf("the body is larger than %d bytes", limit)}
}

// NoBody refuses a body where there is nothing to say; an empty object says nothing.
func NoBody(r *http.Request) error {
	const enough = 16 // bytes, to tell
	body, err := io.ReadAll(io.LimitReader(r.Body, enough))
	if err != nil {
		return Unreadable(err)
	}
	if text := strings.TrimSpace(string(body)); text != "" && text != "{}" {
		return Wrong(CodeUnknownField, "", "this takes no body")
	}
	return nil
}

// JSON returns a body of at most limit bytes that does not say to be anything else than
// JSON.
func JSON(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if _, _, err := Media(r, TypeJSON); err != nil {
		return nil, err
	}
	return Body(w, r, limit)
}

// DecodeJSON reads a body of at most limit bytes with [Decode].
func DecodeJSON(w http.ResponseWriter, r *http.Request, limit int64, into any) error {
	body, err := JSON(w, r, limit)
	if err != nil {
		return err
	}
	return Decode(body, into)
}

// Decode reads JSON strictly: a member that is unknown or repeated, and text that is not
// UTF-8, are refused.
func Decode(body []byte, into any) error { return decode(body, into, true) }

// DecodeKnown is [Decode] for documents of others, whose later versions have more
// members: those that are not known are passed over.
func DecodeKnown(body []byte, into any) error { return decode(body, into, false) }

func decode(body []byte, into any, strict bool) error {
	err := json.Unmarshal(body, into, json.RejectUnknownMembers(strict))
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
		return Wrong(CodeInvalidValue, location(syntax.JSONPointer), "the body is not JSON at byte %d: %s", syntax.ByteOffset, why)
	}
	semantic, ok := errors.AsType[*json.SemanticError](err)
	if !ok {
		return Wrong(CodeInvalidValue, "", "the body is not what is expected here")
	}
	at, what := location(semantic.JSONPointer), "the body"
	if semantic.JSONPointer != "" {
		what = fmt.Sprintf("field %q", at)
	}
	switch {
	case errors.Is(err, json.ErrUnknownName):
		return Wrong(CodeUnknownField, at, "unknown %s", what)
	case semantic.Err == nil:
		return Wrong(CodeWrongType, at, "%s has the wrong type", what)
	default:
		return Wrong(CodeInvalidValue, at, "%s has the wrong form", what)
	}
}

// location writes a JSON pointer as answers name fields: input.labels.place.
func location(p jsontext.Pointer) string { return Echo(strings.Join(slices.Collect(p.Tokens()), ".")) }

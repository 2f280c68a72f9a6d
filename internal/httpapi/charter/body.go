package charterapi

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Media types of bodies.
const (
	typeJSON = "application/json"
	typeYAML = "application/yaml"
	typeGzip = "application/gzip"
	typeForm = "multipart/form-data"
)

// mediaOf returns the media type of a body, which must be one of the known, with
// its parameters. A body without a type is of the first of them.
func mediaOf(r *http.Request, known ...string) (string, map[string]string, error) {
	unsupported := func(what string) error {
		return &Error{
			Status: http.StatusUnsupportedMediaType, Code: codeUnsupportedMedia,
			Message: what + "; send " + strings.Join(known, " or "),
		}
	}
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return "", nil, unsupported(fmt.Sprintf("Content-Encoding %q is not supported", echoed(coding)))
	}
	value := r.Header.Get("Content-Type")
	if value == "" {
		return known[0], nil, nil
	}
	media, params, err := mime.ParseMediaType(value)
	if err == nil {
		for _, k := range known {
			if media == k && (params["charset"] == "" || strings.EqualFold(params["charset"], "utf-8")) {
				return k, params, nil
			}
		}
	}
	return "", nil, unsupported(fmt.Sprintf("Content-Type %q is not supported here", echoed(value)))
}

// readBody returns a body of at most limit bytes.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		return nil, unreadable(err)
	}
	return body, nil
}

func unreadable(err error) error {
	tooLarge, ok := errors.AsType[*http.MaxBytesError](err)
	switch {
	case ok:
		return &Error{
			Status: http.StatusRequestEntityTooLarge, Code: codeBodyTooLarge,
			Message: fmt.Sprintf("the body is larger than %d bytes", tooLarge.Limit),
		}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &Error{Status: http.StatusRequestTimeout, Code: codeRequestTimeout, Message: "the body did not arrive in time", Cause: err}
	default:
		return &Error{Status: http.StatusBadRequest, Code: codeInvalidRequest, Message: "the body could not be read", Cause: err}
	}
}

// readJSON reads a body strictly: a member that is unknown or repeated, and text
// that is not UTF-8, are refused.
func readJSON(w http.ResponseWriter, r *http.Request, limit int64, into any) error {
	if _, _, err := mediaOf(r, typeJSON); err != nil {
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
		return wrong(codeInvalidValue, at, "field %q has the wrong type", at)
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

// noBody refuses a body where there is nothing to say.
func noBody(r *http.Request) error {
	var one [1]byte
	if n, _ := io.ReadFull(r.Body, one[:]); n > 0 {
		return wrong(codeUnknownField, "", "this takes no body")
	}
	return nil
}

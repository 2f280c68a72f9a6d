package decisionapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/wire"
)

// readBody returns the body of a request. Its error is ready to be sent.
func (a *api) readBody(c echo.Context, limit int64) ([]byte, error) {
	r := c.Request()
	if err := checkMedia(r.Header); err != nil {
		return nil, err
	}
	// MaxBytesReader gets the writer of net/http itself, so that it can close
	// the connection instead of reading the rest of a huge body.
	in := http.MaxBytesReader(c.Response().Writer, r.Body, limit)
	l := leaseOf(c)
	if l == nil {
		body, err := io.ReadAll(in)
		if err != nil {
			return nil, wire.Unreadable(err)
		}
		return body, nil
	}
	body, err := l.read(in, r.ContentLength)
	if err != nil {
		return nil, wire.Unreadable(err)
	}
	return body, l.decide(r.Context())
}

// checkMedia refuses bodies that say they are not JSON. No type at all and
// application/x-www-form-urlencoded pass: the latter is what `curl -d` sends
// unless told otherwise, and what is not JSON is refused by the parser anyway.
func checkMedia(h http.Header) error {
	if err := checkEncoding(h); err != nil {
		return err
	}
	value := h.Get("Content-Type")
	if value == "" {
		return nil
	}
	media, params, err := mime.ParseMediaType(value)
	if err != nil || !acceptable(media) {
		return wire.Unsupported("Content-Type %s is not supported, send application/json", wire.Echo(value))
	}
	if charset := params["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return wire.Unsupported("charset %s is not supported, send UTF-8", wire.Echo(charset))
	}
	return nil
}

func checkEncoding(h http.Header) error {
	if coding := h.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return wire.Unsupported("Content-Encoding %s is not supported, send the body with gzip or uncompressed", wire.Echo(coding))
	}
	return nil
}

func acceptable(media string) bool {
	switch media {
	case "application/json", "text/json", "application/x-www-form-urlencoded":
		return true
	default:
		return strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json")
	}
}

// unwrap takes the question out of OPA's envelope {"input": …}. Nothing else
// may be in it: a second or misspelt key is refused, as inside the question.
func unwrap(body []byte) ([]byte, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	if start, err := dec.Token(); err != nil || start != json.Delim('{') {
		return nil, envelope(inputKey, decision.CodeWrongType, `the body must be a JSON object {"input": {…}}`)
	}
	var question json.RawMessage
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, envelope(inputKey, decision.CodeWrongType, "the input is not JSON: "+err.Error())
		}
		if key != inputKey {
			return nil, envelope(fmt.Sprint(key), decision.CodeUnknownField, fmt.Sprintf(`unknown field %q, the body is {"input": {…}}`, wire.Echo(fmt.Sprint(key))))
		}
		if question != nil {
			return nil, envelope(inputKey, decision.CodeInvalidValue, `field "input" is given more than once`)
		}
		if err := dec.Decode(&question); err != nil {
			return nil, envelope(inputKey, decision.CodeWrongType, "the input is not JSON: "+err.Error())
		}
	}
	if err := atEnd(dec); err != nil {
		return nil, err
	}
	if question == nil {
		return nil, envelope(inputKey, decision.CodeMissingField, `field "input" is required`)
	}
	return question, nil
}

// atEnd checks that the object is closed and nothing follows it.
func atEnd(dec *json.Decoder) error {
	if _, err := dec.Token(); err != nil {
		return envelope(inputKey, decision.CodeWrongType, "the input is not JSON: unexpected end")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return envelope(inputKey, decision.CodeWrongType, "the input is more than one JSON value")
	}
	return nil
}

func envelope(field, code, message string) error {
	return &decision.FieldError{Field: field, Code: code, Message: message}
}

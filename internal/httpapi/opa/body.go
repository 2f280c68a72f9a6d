package opaapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/westworld-charter/charter/internal/wire"
)

// readBody reads JSON, whatever its type claims to be. YAML, which stock OPA
// reads as well, is refused.
func readBody(r *http.Request) ([]byte, error) {
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return nil, wire.Unsupported("this Content-Encoding is not supported, send the body with gzip or as it is")
	}
	if strings.Contains(r.Header.Get("Content-Type"), "yaml") {
		return nil, wire.Unsupported("YAML is not supported, send application/json")
	}
	body, err := io.ReadAll(r.Body)
	if err == nil {
		return body, nil
	}
	e := wire.Unreadable(err)
	if e.Status == http.StatusBadRequest {
		return nil, invalidParameter("the body could not be read: %v", err) // such as damaged gzip
	}
	return nil, e
}

// decode reads one JSON value; an empty body leaves v alone when it may.
func decode(body []byte, v any, mayBeEmpty bool) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	err := dec.Decode(v)
	switch {
	case mayBeEmpty && errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return malformed("body", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return malformed("body", errors.New("more than one JSON value"))
	}
	return nil
}

func malformed(what string, err error) error {
	return invalidParameter("%s contains malformed input document: %v", what, err)
}

// inputParam reads the last parameter "input"; nil is undefined.
func inputParam(q url.Values) (ast.Value, error) {
	given := q["input"]
	if len(given) == 0 {
		return nil, nil
	}
	var input any
	if err := decode([]byte(given[len(given)-1]), &input, false); err != nil {
		return nil, invalidParameter("parameter contains malformed input document")
	}
	return valueOf(&input)
}

// valueOf makes a Rego value; nil is undefined.
func valueOf(input *any) (ast.Value, error) {
	if input == nil {
		return nil, nil
	}
	v, err := ast.InterfaceToValue(*input)
	if err != nil {
		return nil, malformed("body", err)
	}
	return v, nil
}

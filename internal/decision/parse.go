package decision

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// ParseInput decodes one JSON object strictly. Unknown, repeated, missing and
// wrongly typed fields, null included, and values outside the limits give a
// [*FieldError] that names the first field by precedence and carries the rest.
//
// Apart from repeated keys and text that is not valid UTF-8, which a decoder
// hides from Rego, it refuses exactly what the Rego library refuses.
func ParseInput(data []byte) (Input, error) {
	var found problems
	in := parse(data, &found)
	if found.has(inputField) {
		return Input{}, found.err()
	}
	in.check(&found)
	if err := found.err(); err != nil {
		return Input{}, err
	}
	return in, nil
}

// parse reads the fields and records what cannot be read as an Input. A problem
// of the field "input" means that reading stopped.
func parse(data []byte, found *problems) Input {
	var in Input
	if !utf8.Valid(data) {
		found.add(inputField, CodeInvalidValue, "the input is not valid UTF-8")
		return in
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	members(dec, inputField, found, func(name string, value json.RawMessage) {
		in.set(name, value, found)
	})
	if found.has(inputField) {
		return in
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		found.add(inputField, CodeWrongType, "the input is more than one JSON value")
	}
	return in
}

// members reads a JSON object from dec and calls visit for every member with a
// key that was not there before. Problems are recorded under field.
func members(dec *json.Decoder, field string, found *problems, visit func(string, json.RawMessage)) {
	start, err := dec.Token()
	if err != nil {
		found.add(field, CodeWrongType, "the input is not JSON: %s", syntax(err))
		return
	}
	if start != json.Delim('{') {
		found.add(field, CodeWrongType, "the %s must be an object", field)
		return
	}
	seen := map[string]bool{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			found.add(field, CodeWrongType, "the input is not JSON: %s", syntax(err))
			return
		}
		name, _ := key.(string) // the decoder admits nothing else as a key
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			found.add(field, CodeWrongType, "the input is not JSON: %s", syntax(err))
			return
		}
		switch {
		case !seen[name]:
			visit(name, value)
		case field == inputField:
			found.add(name, CodeInvalidValue, "field %q is given more than once", clip(name))
		default:
			found.add(field, CodeInvalidValue, "a label is given more than once")
		}
		seen[name] = true
	}
	if _, err := dec.Token(); err != nil {
		found.add(field, CodeWrongType, "the input is not JSON: %s", syntax(err))
	}
}

// syntax words an error of the decoder without its internals.
func syntax(err error) string {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "unexpected end"
	}
	return err.Error()
}

func (in *Input) set(name string, value json.RawMessage, found *problems) {
	switch name {
	case "labels":
		in.Labels = parseLabels(value, found)
	case "claims":
		in.Claims = parseClaims(value, found)
	default:
		target := in.text(name)
		if target == nil {
			found.add(name, CodeUnknownField, "unknown field %q%s", clip(name), didYouMean(name))
			return
		}
		text, ok := asString(value)
		if !ok {
			found.add(name, CodeWrongType, "field %q must be a string", name)
			return
		}
		*target = text
	}
}

// text returns where the string field of that name is kept, nil when there is
// none.
func (in *Input) text(name string) *string {
	switch name {
	case "metric":
		return &in.Metric
	case "node":
		return &in.Node
	case "role":
		return &in.Role
	case "operation":
		return &in.Operation
	case "purpose":
		return &in.Purpose
	case "retention":
		return &in.Retention
	case "time":
		return &in.Time
	default:
		return nil
	}
}

func didYouMean(name string) string {
	if near := nearest(name); near != "" {
		return fmt.Sprintf(", did you mean %q?", near)
	}
	return ""
}

func asString(value json.RawMessage) (string, bool) {
	var s string
	if len(value) == 0 || value[0] != '"' || json.Unmarshal(value, &s) != nil {
		return "", false
	}
	return s, true
}

func parseLabels(value json.RawMessage, found *problems) map[string]string {
	const want = `field "labels" must be an object of strings`
	if value[0] != '{' {
		found.add("labels", CodeWrongType, want)
		return nil
	}
	labels, formed := map[string]string{}, true
	members(json.NewDecoder(bytes.NewReader(value)), "labels", found, func(name string, value json.RawMessage) {
		text, ok := asString(value)
		labels[name], formed = text, formed && ok
	})
	if !formed {
		found.add("labels", CodeWrongType, want)
	}
	return labels
}

func parseClaims(value json.RawMessage, found *problems) []string {
	const want = `field "claims" must be an array of strings`
	var items []json.RawMessage
	if value[0] != '[' || json.Unmarshal(value, &items) != nil {
		found.add("claims", CodeWrongType, want)
		return nil
	}
	claims, formed := make([]string, len(items)), true
	for i, item := range items {
		text, ok := asString(item)
		claims[i], formed = text, formed && ok
	}
	if !formed {
		found.add("claims", CodeWrongType, want)
	}
	return claims
}

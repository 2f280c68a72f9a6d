// Package yamldoc reads the one document of a YAML file as nodes that know their places.
//
// Start with [Root]; what the values mean, and how large a file may be, is the caller's.
// Guaranteed are: no input makes it panic, which the YAML library alone does not promise;
// a second document is refused, since one of the two would be passed over; errors say
// where.
package yamldoc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// Error is why a file is not one YAML document.
type Error struct {
	Line, Col int // from 1; Col is 0 when it is not known
	Message   string
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// Root returns the root value of the only document; nil when there is none.
func Root(data []byte) (*yaml.Node, *Error) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	doc, err := Next(dec)
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	if err != nil {
		return nil, syntax(err)
	}
	switch next, err := Next(dec); {
	case err == nil:
		return nil, &Error{next.Line, next.Column, "a second YAML document begins here"}
	case !errors.Is(err, io.EOF):
		return nil, syntax(err)
	case len(doc.Content) == 0:
		return nil, nil
	}
	return doc.Content[0], nil
}

// Next returns the next document, or [io.EOF]. The YAML library reports some hostile
// input by panicking.
func Next(dec *yaml.Decoder) (doc *yaml.Node, err error) {
	defer func() {
		if r := recover(); r != nil {
			doc, err = nil, fmt.Errorf("yaml: %v", r)
		}
	}()
	doc = new(yaml.Node)
	if err := dec.Decode(doc); err != nil {
		return nil, err
	}
	return doc, nil
}

// inLine finds the line in an error of yaml.v3, which has no other way to tell it, and
// leaves the first line out.
var inLine = regexp.MustCompile(`^yaml: line (\d+): `)

func syntax(err error) *Error {
	e := &Error{Line: 1, Message: "not YAML: " + strings.TrimPrefix(err.Error(), "yaml: ")}
	if m := inLine.FindStringSubmatch(err.Error()); m != nil {
		e.Line, _ = strconv.Atoi(m[1]) // digits by the expression
		e.Message = "not YAML: " + strings.TrimPrefix(err.Error(), m[0])
	}
	return e
}

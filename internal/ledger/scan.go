package ledger

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// member is one of an object: its name, and its value as written.
type member struct{ name, value []byte }

// errNoObject is what members gives, unless it gives members.
var errNoObject = fmt.Errorf("%w: not an object in canonical form", ErrMalformed)

// members splits an object in canonical form. It is for bodies, of which there
// are millions: it finds where values end and checks no more than it needs for
// that. Whether they are well-formed is for [ParseEntry] to say.
func members(body []byte, into []member) ([]member, error) {
	if len(body) < 2 || body[0] != '{' || body[len(body)-1] != '}' {
		return nil, errNoObject
	}
	rest := body[1 : len(body)-1]
	for len(rest) > 0 {
		end := valueEnd(rest)
		if end < 3 || rest[0] != '"' || end >= len(rest) || rest[end] != ':' {
			return nil, errNoObject
		}
		m := member{name: rest[1 : end-1]}
		rest = rest[end+1:]
		if end = valueEnd(rest); end <= 0 {
			return nil, errNoObject
		}
		m.value, rest = rest[:end], rest[end:]
		into = append(into, m)
		if len(rest) > 0 {
			if rest[0] != ',' || len(rest) == 1 {
				return nil, errNoObject
			}
			rest = rest[1:]
		}
	}
	return into, nil
}

// valueEnd returns the length of the value that b begins with; -1 if it does not
// end. A text before a colon counts as one.
func valueEnd(b []byte) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			n := textEnd(b[i:])
			if n < 0 {
				return -1
			}
			i += n - 1
			if depth == 0 {
				return i + 1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth < 0 {
				return -1
			}
			if depth == 0 {
				return i + 1
			}
		case ',':
			if depth == 0 { // after a number or a word
				return i
			}
		}
	}
	if depth == 0 {
		return len(b)
	}
	return -1
}

// textEnd returns the length of the quoted text that b begins with.
func textEnd(b []byte) int {
	for i := 1; ; {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			return -1
		}
		slashes := 0
		for i+n-1-slashes > 0 && b[i+n-1-slashes] == '\\' {
			slashes++
		}
		if i += n + 1; slashes%2 == 0 {
			return i
		}
	}
}

// text reads a value that is a text.
func (m *member) text() (string, error) {
	v := m.value
	if len(v) < 2 || v[0] != '"' || v[len(v)-1] != '"' {
		return "", fmt.Errorf("%w: %s is not a text", ErrMalformed, m.name)
	}
	if bytes.IndexByte(v, '\\') < 0 {
		return string(v[1 : len(v)-1]), nil
	}
	s, err := jsontext.AppendUnquote(nil, v)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return string(s), nil
}

// ScanBody returns what follows from a body for queries: its columns, and the
// hash of its request, zero when there is none. It is fast and lenient: whether a
// body is an entry, [ParseEntry] tells. The error wraps [ErrMalformed].
func ScanBody(body []byte) (c Columns, request [32]byte, err error) {
	var room [32]member
	all, err := members(body, room[:0])
	if err != nil {
		return c, request, err
	}
	for i := range all {
		m := &all[i]
		var to *string
		switch string(m.name) {
		case "kind":
			to = (*string)(&c.Kind)
		case "node":
			to = &c.Node
		case "metric":
			to = &c.Metric
		case "clause":
			to = &c.Clause
		case "outcome":
			to = &c.Outcome
		case "severity":
			to = &c.Severity
		case "principal":
			to = &c.Principal
		case "request_id":
			to = &c.RequestID
		case "time":
			s, err := m.text()
			if err != nil {
				return c, request, err
			}
			at, err := time.Parse(timeFormat, s)
			if err != nil {
				return c, request, fmt.Errorf("%w: %w", ErrMalformed, err)
			}
			c.Time = at.UnixNano()
			continue
		default:
			continue
		}
		if *to, err = m.text(); err != nil {
			return c, request, err
		}
	}
	if repeatable(c.Kind, c.Principal, c.RequestID) {
		request = requestHash(all)
	}
	return c, request, nil
}

// repeatable tells whether an entry is of a request that is recognised when it comes
// again.
func repeatable(kind Kind, principal, id string) bool {
	return principal != "" && id != "" && kind != Conflict
}

// request returns the hash of the request of an entry with this body, zero when
// there is none, as [ScanBody] does.
func (e *Entry) request(body []byte) (hash [32]byte, err error) {
	if !repeatable(e.Kind, e.Principal, e.RequestID) {
		return hash, nil
	}
	var room [32]member
	all, err := members(body, room[:0])
	if err != nil {
		return hash, err
	}
	return requestHash(all), nil
}

// requestHash is over a body without the members that differ from one try of a
// request to the next. What is left of canonical JSON is canonical.
func requestHash(all []member) [32]byte {
	h := sha256.New()
	sep := []byte("{")
	for _, m := range all {
		switch string(m.name) {
		case "time", "clock_back", "decision_id", "asked":
			continue
		}
		h.Write(sep)
		h.Write([]byte{'"'})
		h.Write(m.name)
		h.Write([]byte(`":`))
		h.Write(m.value)
		sep = []byte(",")
	}
	h.Write([]byte("}"))
	return [32]byte(h.Sum(nil))
}

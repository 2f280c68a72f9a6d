package decisionapi

import (
	"encoding/json"
	"fmt"

	"github.com/westworld-charter/charter/internal/decision"
)

// maxDepth bounds how deeply a body may be nested. What this API reads is nested
// six levels deep at most.
const maxDepth = 64

// cursor reads JSON text (RFC 8259) once from front to back, without building
// values that nobody asked for: in a batch of many small questions the general
// decoder would cost more than deciding them. Whoever makes one has checked that
// the text is UTF-8. It accepts what encoding/json accepts, down to maxDepth.
type cursor struct {
	text  []byte
	at    int
	depth int
}

// fault says that the text is not JSON, and where.
func (c *cursor) fault(what string) error {
	return &decision.FieldError{
		Field: inputKey, Code: decision.CodeWrongType,
		Message: fmt.Sprintf("the body is not JSON: %s at byte %d", what, c.at),
	}
}

// peek skips white space and returns the next byte, 0 at the end.
func (c *cursor) peek() byte {
	for c.at < len(c.text) {
		switch b := c.text[c.at]; b {
		case ' ', '\t', '\n', '\r':
			c.at++
		default:
			return b
		}
	}
	return 0
}

// end checks that nothing but white space follows.
func (c *cursor) end() error {
	if c.peek() != 0 || c.at < len(c.text) {
		return c.fault("more than one value")
	}
	return nil
}

// unexpected is the fault of a byte that does not belong where it stands.
func (c *cursor) unexpected(want string) error {
	if c.at >= len(c.text) {
		return c.fault("unexpected end")
	}
	return c.fault("want " + want)
}

// object visits the members of the object at the cursor. visit must read the
// value; its error ends the walk.
func (c *cursor) object(visit func(key string) error) error {
	if c.peek() != '{' {
		return c.unexpected("an object")
	}
	return c.list('}', func() error {
		if c.peek() != '"' {
			return c.unexpected("a name in quotes")
		}
		key, err := c.string()
		if err != nil {
			return err
		}
		if c.peek() != ':' {
			return c.unexpected("a colon")
		}
		c.at++
		return visit(key)
	})
}

// array visits the elements of the array at the cursor, as object does members.
func (c *cursor) array(visit func() error) error {
	if c.peek() != '[' {
		return c.unexpected("an array")
	}
	return c.list(']', visit)
}

// list reads elements between commas up to closing.
func (c *cursor) list(closing byte, element func() error) error {
	if c.depth++; c.depth > maxDepth {
		return c.fault(fmt.Sprintf("nested deeper than %d levels", maxDepth))
	}
	c.at++
	if c.peek() != closing {
		for {
			if err := element(); err != nil {
				return err
			}
			next := c.peek()
			if next == closing {
				break
			}
			if next != ',' {
				return c.unexpected("a comma or the end of the list")
			}
			c.at++
		}
	}
	c.at++
	c.depth--
	return nil
}

// string reads the string at the cursor.
func (c *cursor) string() (string, error) {
	text, plain, err := c.quoted()
	if err != nil {
		return "", err
	}
	if plain {
		return string(text[1 : len(text)-1]), nil
	}
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return "", c.fault("bad string")
	}
	return s, nil
}

// quoted reads the string at the cursor as it is written, quotes included, and
// reports whether it is free of escapes.
func (c *cursor) quoted() (text []byte, plain bool, err error) {
	start := c.at
	plain = true
	for c.at++; c.at < len(c.text); c.at++ {
		switch b := c.text[c.at]; {
		case b == '"':
			c.at++
			return c.text[start:c.at], plain, nil
		case b < ' ':
			return nil, false, c.fault("control character in a string")
		case b == '\\':
			plain = false
			if err := c.escape(); err != nil {
				return nil, false, err
			}
		}
	}
	return nil, false, c.fault("unexpected end")
}

// escape checks the escape at the cursor and stops at its last byte.
func (c *cursor) escape() error {
	if c.at++; c.at >= len(c.text) {
		return c.fault("unexpected end")
	}
	switch c.text[c.at] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return nil
	case 'u':
		for range 4 {
			if c.at++; c.at >= len(c.text) {
				return c.fault("unexpected end")
			}
			if !hexadecimal(c.text[c.at]) {
				return c.fault("bad escape")
			}
		}
		return nil
	default:
		return c.fault("bad escape")
	}
}

func hexadecimal(b byte) bool {
	return b >= '0' && b <= '9' || b >= 'a' && b <= 'f' || b >= 'A' && b <= 'F'
}

// value skips the value at the cursor and returns it as it is written.
func (c *cursor) value() ([]byte, error) {
	var err error
	first := c.peek()
	start := c.at
	switch {
	case first == '{':
		err = c.object(func(string) error { _, err := c.value(); return err })
	case first == '[':
		err = c.array(func() error { _, err := c.value(); return err })
	case first == '"':
		_, _, err = c.quoted()
	case first == '-' || first >= '0' && first <= '9':
		err = c.number()
	default:
		err = c.word()
	}
	return c.text[start:c.at], err
}

// word skips true, false or null.
func (c *cursor) word() error {
	for _, w := range [...]string{"true", "false", "null"} {
		if rest := c.text[c.at:]; len(rest) >= len(w) && string(rest[:len(w)]) == w {
			c.at += len(w)
			return nil
		}
	}
	return c.unexpected("a value")
}

// number skips the number at the cursor.
func (c *cursor) number() error {
	if c.text[c.at] == '-' {
		c.at++
	}
	switch {
	case c.at < len(c.text) && c.text[c.at] == '0':
		c.at++
	case !c.digits():
		return c.unexpected("a digit")
	}
	if c.at < len(c.text) && c.text[c.at] == '.' {
		if c.at++; !c.digits() {
			return c.unexpected("a digit")
		}
	}
	if c.at < len(c.text) && c.text[c.at]|0x20 == 'e' {
		c.at++
		if c.at < len(c.text) && (c.text[c.at] == '+' || c.text[c.at] == '-') {
			c.at++
		}
		if !c.digits() {
			return c.unexpected("a digit")
		}
	}
	return nil
}

// digits skips digits and reports whether there was one.
func (c *cursor) digits() bool {
	start := c.at
	for c.at < len(c.text) && c.text[c.at] >= '0' && c.text[c.at] <= '9' {
		c.at++
	}
	return c.at > start
}

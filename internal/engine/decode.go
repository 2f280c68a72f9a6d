package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	// rowDepth is how deep the rows of tables lie: below the root charter, its
	// tables, and the table.
	rowDepth = 4
	// usualRowText bounds the text of rows that are compared, in bytes: longer ones are
	// seldom alike.
	usualRowText = 4096
	// manyRows is how many different rows of a table are compared before it is
	// judged whether one in rareRow is known, and comparing them worth its cost.
	manyRows, rareRow = 8192, 16
	// usualNames bounds how many names of members are kept for those that come
	// again, usualName how long they are, in bytes.
	usualNames, usualName = 1024, 64
)

// decodeObject reads one JSON object with numbers as they are written. Values in
// it may be shared and must not be changed. What readers of JSON could disagree
// about is refused: a name that an object has twice, and text that is not UTF-8.
func decodeObject(text []byte) (map[string]any, error) {
	// It is left to the decoder to find names that are there twice, for a third of
	// the cost.
	dec := jsontext.NewDecoder(bytes.NewBuffer(text), jsontext.AllowDuplicateNames(true))
	valid, err := dec.ReadValue()
	if err != nil {
		return nil, err
	}
	if valid.Kind() != jsontext.KindBeginObject {
		return nil, errors.New("not an object")
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one JSON value")
	}
	d := decoder{text: valid, names: map[string]string{}}
	return d.object(0)
}

// decoder makes maps, lists and scalars of one JSON value that is known to be
// valid; only names may be there twice.
//
// All metrics of a clause have the same row, so that a large document is mostly
// repetition. A row whose text was met before is the same value again: memory
// follows the rows that differ, and the names.
type decoder struct {
	text []byte
	at   int

	names   map[string]string // of members of rows
	rows    map[string]any    // those of a table, by their text; nil when they are not compared
	known   int               // how many rows of the table were the same as one before
	members []member          // of the objects that are being read
	items   []any             // of the lists that are being read
}

type member struct {
	name  string
	value any
}

// twiceError says that an object has two members of one name.
type twiceError struct{ place, name string }

func (e *twiceError) Error() string {
	return fmt.Sprintf("the object at %q has two members %q", e.place, e.name)
}

// within adds where the object lies that an error is about.
func within(name string, err error) error {
	if twice, ok := errors.AsType[*twiceError](err); ok {
		twice.place = "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name) + twice.place
	}
	return err
}

// next passes blanks and returns what stands behind them.
func (d *decoder) next() byte {
	for {
		switch c := d.text[d.at]; c {
		case ' ', '\n', '\r', '\t':
			d.at++
		default:
			return c
		}
	}
}

// more passes the beginning or a comma and reports whether another value follows.
func (d *decoder) more(end byte) bool {
	switch d.next() {
	case end:
		d.at++
		return false
	case ',':
		d.at++
	}
	return true
}

func (d *decoder) value(depth int) (any, error) {
	switch d.next() {
	case '{':
		if depth == rowDepth {
			return d.row()
		}
		return d.object(depth)
	case '[':
		return d.list(depth)
	case '"':
		return unquoted(d.quoted()), nil
	case 'n':
		d.at += len("null")
		return nil, nil //nolint:nilnil // the value
	case 't':
		d.at += len("true")
		return true, nil
	case 'f':
		d.at += len("false")
		return false, nil
	default:
		return d.number(), nil
	}
}

// row reads a row, or passes one that is known.
func (d *decoder) row() (any, error) {
	if d.rows == nil {
		return d.object(rowDepth)
	}
	from := d.at
	d.skip()
	text := d.text[from:d.at]
	if row, known := d.rows[string(text)]; known {
		d.known++
		return row, nil
	}
	d.at = from
	row, err := d.object(rowDepth)
	if err == nil && len(text) <= usualRowText {
		d.rows[string(text)] = row
	}
	if len(d.rows) >= manyRows && d.known < len(d.rows)/rareRow {
		d.rows = nil
	}
	return row, err
}

// skip passes an object.
func (d *decoder) skip() {
	for open := 0; ; {
		switch d.text[d.at] {
		case '"':
			d.quoted()
			continue
		case '{':
			open++
		case '}':
			open--
		}
		if d.at++; open == 0 {
			return
		}
	}
}

func (d *decoder) object(depth int) (map[string]any, error) {
	if depth == rowDepth-1 {
		d.rows, d.known = map[string]any{}, 0
	}
	d.next()
	d.at++
	mark := len(d.members)
	for d.more('}') {
		d.next()
		name := d.name(depth)
		d.next()
		d.at++ // the colon
		value, err := d.value(depth + 1)
		if err != nil {
			return nil, within(name, err)
		}
		d.members = append(d.members, member{name, value})
	}
	object := make(map[string]any, len(d.members)-mark)
	for i, m := range d.members[mark:] {
		if object[m.name] = m.value; len(object) != i+1 {
			return nil, &twiceError{name: m.name}
		}
	}
	d.members = d.members[:mark]
	return object, nil
}

func (d *decoder) list(depth int) ([]any, error) {
	d.at++
	mark := len(d.items)
	for d.more(']') {
		value, err := d.value(depth + 1)
		if err != nil {
			return nil, within(strconv.Itoa(len(d.items)-mark), err)
		}
		d.items = append(d.items, value)
	}
	list := make([]any, len(d.items)-mark)
	copy(list, d.items[mark:])
	d.items = d.items[:mark]
	return list, nil
}

// name reads the name of a member. Those of rows are few and come again and again.
func (d *decoder) name(depth int) string {
	text := d.quoted()
	if depth < rowDepth || len(text) > usualName {
		return unquoted(text)
	}
	if known, ok := d.names[string(text)]; ok {
		return known
	}
	name := unquoted(text)
	if len(d.names) < usualNames {
		d.names[string(text)] = name
	}
	return name
}

// quoted passes a string and returns it, in its quotes.
func (d *decoder) quoted() []byte {
	from := d.at
	for d.at++; d.text[d.at] != '"'; d.at++ {
		if d.text[d.at] == '\\' {
			d.at++
		}
	}
	d.at++
	return d.text[from:d.at]
}

func unquoted(text []byte) string {
	if bytes.IndexByte(text, '\\') < 0 {
		return string(text[1 : len(text)-1])
	}
	plain, _ := jsontext.AppendUnquote(nil, text) // the text is known to be valid
	return string(plain)
}

func (d *decoder) number() json.Number {
	from := d.at
	for d.at < len(d.text) && strings.IndexByte(",}] \n\r\t", d.text[d.at]) < 0 {
		d.at++
	}
	return json.Number(d.text[from:d.at])
}

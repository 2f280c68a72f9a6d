package decisionapi

import (
	"errors"
	"slices"
	"unicode/utf8"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/wire"
)

// base is what the questions of a batch have in common: a part of a question.
type base struct {
	input decision.Input
	given fields    // those that are there
	who   *Identity // asks; a base without one refuses every question
}

// readBase reads the part that questions have in common. The names of fields in
// the error are prefixed with where it stands.
func (b base) readBase(text []byte, prefix string) (base, error) {
	b, ok := b.lay(text)
	err := b.input.Validate()
	if !ok {
		_, err = decision.ParseInput(text)
	}
	if err = without(err, func(f *decision.FieldError) bool { return f.Code == decision.CodeMissingField }); err == nil && b.input.Time != "" && !b.who.Has(wire.ScopeReplay) {
		err = chosenTime()
	}
	if err == nil && !ok {
		err = envelope(inputKey, decision.CodeWrongType, "it cannot be read")
	}
	return b, relocate(err, func(field string) string {
		if field == inputKey {
			return prefix
		}
		return prefix + "." + field
	})
}

// question reads one question, laid over what all of them have in common: a
// field of the question replaces the common one, labels are united. The result
// is valid and bound to who asks: an *wire.Error says what the sender may not ask. Claims and labels may be shared between questions
// and must not be changed.
func (b base) question(text []byte) (decision.Input, error) {
	laid, ok := b.lay(text)
	if !ok {
		return decision.Input{}, b.explain(text)
	}
	if err := laid.input.Validate(); err != nil {
		return decision.Input{}, err
	}
	return b.who.bind(laid.input)
}

// own is question for a question that was read in another form: it gets what
// goes without saying, is validated and bound to who asks.
func (b base) own(in decision.Input) (decision.Input, error) {
	if in.Node == "" {
		in.Node = b.input.Node
	}
	if err := in.Validate(); err != nil {
		return decision.Input{}, err
	}
	return b.who.bind(in)
}

// explain says what is wrong with a question that lay refused. The strict parser
// does not know the common part, so what is missing only there is left out.
func (b base) explain(text []byte) error {
	_, err := decision.ParseInput(text)
	err = without(err, func(f *decision.FieldError) bool {
		return f.Code == decision.CodeMissingField && b.given.has(f.Field)
	})
	if err == nil {
		err = envelope(inputKey, decision.CodeWrongType, "the question cannot be read")
	}
	return err
}

func chosenTime() error {
	return envelope("time", decision.CodeInvalidValue, "time is stamped by the server, leave the field out")
}

// without returns err without the problems that drop names, nil when none is left.
func without(err error, drop func(*decision.FieldError) bool) error {
	var field *decision.FieldError
	if !errors.As(err, &field) {
		return err
	}
	left := slices.DeleteFunc(field.All(), drop)
	if len(left) == 0 {
		return nil
	}
	first := *left[0]
	first.More = left[1:]
	return &first
}

// relocate renames the fields of a [decision.FieldError].
func relocate(err error, rename func(string) string) error {
	var field *decision.FieldError
	if !errors.As(err, &field) {
		return err
	}
	first := *field
	first.Field, first.More = rename(field.Field), make([]*decision.FieldError, len(field.More))
	for i, m := range field.More {
		next := *m
		next.Field = rename(m.Field)
		first.More[i] = &next
	}
	return &first
}

// lay reads the fields of a question over b. It is the fast path: ok is false
// whenever there is anything to complain about, and the caller then asks
// [decision.ParseInput] what it is. Values are not validated here.
func (b base) lay(text []byte) (laid base, ok bool) {
	if !utf8.Valid(text) {
		return base{}, false
	}
	laid = b
	c := cursor{text: text}
	var seen fields
	err := c.object(func(name string) error {
		if !seen.add(name) || !laid.set(&c, name, b.input) {
			return errLaid
		}
		return nil
	})
	if err != nil || c.end() != nil {
		return base{}, false
	}
	laid.given = seen | b.given
	return laid, true
}

// errLaid ends the fast path.
var errLaid = errors.New("not a plain question")

// set reads the value of one field; false when it has another type.
func (b *base) set(c *cursor, name string, under decision.Input) bool {
	switch name {
	case "metric":
		return text(c, &b.input.Metric)
	case "node":
		return text(c, &b.input.Node)
	case "role":
		return text(c, &b.input.Role)
	case "operation":
		return text(c, &b.input.Operation)
	case "purpose":
		return text(c, &b.input.Purpose)
	case "retention":
		return text(c, &b.input.Retention)
	case "time":
		return text(c, &b.input.Time)
	case "claims":
		return texts(c, &b.input.Claims)
	case "labels":
		labels := map[string]string{}
		if !pairs(c, labels) {
			return false
		}
		for name, value := range under.Labels {
			if _, own := labels[name]; !own {
				labels[name] = value
			}
		}
		b.input.Labels = labels
		return true
	default:
		return false
	}
}

// text reads a string. A value that is there already is kept when it is the
// same: most questions of a batch repeat the role, the node and the operation.
func text(c *cursor, into *string) bool {
	if c.peek() != '"' {
		return false
	}
	written, plain, err := c.quoted()
	if err != nil {
		return false
	}
	if plain {
		if inner := written[1 : len(written)-1]; string(inner) != *into {
			*into = string(inner)
		}
		return true
	}
	c.at -= len(written)
	*into, err = c.string()
	return err == nil
}

func texts(c *cursor, into *[]string) bool {
	list := make([]string, 0, 4)
	err := c.array(func() error {
		var s string
		if !text(c, &s) {
			return errLaid
		}
		list = append(list, s)
		return nil
	})
	*into = list
	return err == nil
}

// pairs reads an object of strings into an empty map.
func pairs(c *cursor, into map[string]string) bool {
	return c.object(func(name string) error {
		var value string
		if _, twice := into[name]; twice || !text(c, &value) {
			return errLaid
		}
		into[name] = value
		return nil
	}) == nil
}

// fields is a set of the names of input fields.
type fields uint16

// add reports whether name is a field and was not there before.
func (f *fields) add(name string) bool {
	bit := fields(1) << fieldIndex(name)
	if bit == 1 || *f&bit != 0 {
		return false
	}
	*f |= bit
	return true
}

// fieldIndex numbers the input fields from 1; 0 is no field.
func fieldIndex(name string) int {
	for i, f := range fieldNames {
		if f == name {
			return i + 1
		}
	}
	return 0
}

// fieldNames are those of [decision.Fields], without a slice for every question.
var fieldNames = [...]string{"metric", "node", "role", "operation", "purpose", "labels", "claims", "retention", "time"}

// has reports whether name is in the set.
func (f fields) has(name string) bool { return f&(fields(1)<<fieldIndex(name)) != 0 }

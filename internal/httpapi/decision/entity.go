package decisionapi

import (
	"fmt"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/wire"
)

// read reads one of the four entities, whose name is at. Members that nobody
// here knows are ignored, as the standard demands; members that are probably
// misspelt, or stand beside properties instead of inside, are a problem, since a
// label that is not seen is a label that is not forbidden.
func (e *entity) read(c *cursor, at string) error {
	if c.peek() != '{' {
		return collect(&e.problems, mistyped(c, at, "an object"))
	}
	seen := map[string]bool{}
	err := c.object(func(name string) error {
		c.peek()
		where := at + "." + name
		if seen[name] {
			e.problems = append(e.problems, twice(where))
			_, err := c.value()
			return err
		}
		seen[name] = true
		switch {
		case at == contextKey:
			return e.context(c, name)
		case name == propertiesKey:
			return e.properties(c, at)
		case name == "type" && at != actionKey:
			return e.text(c, where, &e.kind)
		case name == "id" && at != actionKey, name == "name" && at == actionKey:
			return e.text(c, where, &e.id)
		default:
			return e.ignore(c, at, name, append(propertyNames(at), propertiesKey))
		}
	})
	if err == nil {
		e.check(at, seen)
	}
	return err
}

// check looks for what is missing or not known.
func (e *entity) check(at string, seen map[string]bool) {
	required, kinds := []string{"type", "id"}, []string{"metric"}
	switch at {
	case contextKey:
		return
	case actionKey:
		required, kinds = []string{"name"}, nil
	case subjectKey:
		kinds = []string{"role", "node"}
	}
	for _, name := range required {
		if !seen[name] || name != "type" && e.id == "" && len(e.problems) == 0 {
			e.problems = append(e.problems, missing(at+"."+name))
		}
	}
	if kinds == nil || e.kind == kinds[0] || len(kinds) > 1 && e.kind == kinds[1] || !seen["type"] || len(e.problems) > 0 {
		return
	}
	e.problems = append(e.problems, &decision.FieldError{
		Field: at + ".type", Code: decision.CodeInvalidValue,
		Message: fmt.Sprintf("%s.type %q is not known, use one of %v", at, wire.Echo(e.kind), kinds),
	})
}

// propertyNames are the properties of an entity that are read here.
func propertyNames(at string) []string {
	switch at {
	case subjectKey:
		return []string{"node", "role", "claims"}
	case resourceKey:
		return []string{"labels", "retention"}
	default:
		return nil
	}
}

func (e *entity) properties(c *cursor, at string) error {
	const within = "." + propertiesKey
	if c.peek() != '{' {
		return collect(&e.problems, mistyped(c, at+within, "an object"))
	}
	var seen fields
	return c.object(func(name string) error {
		c.peek()
		known := propertyNames(at)
		for _, k := range known {
			if k != name {
				continue
			}
			if !seen.add(name) {
				e.problems = append(e.problems, twice(at+within+"."+name))
				_, err := c.value()
				return err
			}
			return e.property(c, at+within+"."+name, name)
		}
		return e.ignore(c, at+within, name, known)
	})
}

// property reads a property into the part of the question.
func (e *entity) property(c *cursor, where, name string) error {
	want := "a string"
	switch name {
	case "labels":
		want = "an object of strings, each label once"
	case "claims":
		want = "an array of strings"
	}
	start := *c
	part := base{input: e.part}
	if part.set(c, name, decision.Input{}) {
		e.part = part.input
		return nil
	}
	*c = start
	return collect(&e.problems, mistyped(c, where, want))
}

// context reads a member of the context.
func (e *entity) context(c *cursor, name string) error {
	const where = contextKey + "."
	switch name {
	case "purpose":
		return e.text(c, where+name, &e.part.Purpose)
	case "time":
		return e.text(c, where+name, &e.part.Time)
	case obligationsKey:
		written, err := c.value()
		if err != nil {
			return err
		}
		switch string(written) {
		case "true":
			e.carriesOut = true
		case "false":
		default:
			e.problems = append(e.problems, &decision.FieldError{
				Field: where + name, Code: decision.CodeWrongType, Message: "context.obligations must be true or false",
			})
		}
		return nil
	default:
		_, err := c.value()
		return err
	}
}

// text reads a string member.
func (e *entity) text(c *cursor, where string, into *string) error {
	start := *c
	if text(c, into) {
		return nil
	}
	*c = start
	return collect(&e.problems, mistyped(c, where, "a string"))
}

// ignore skips a member, unless it was probably meant to be a known one.
func (e *entity) ignore(c *cursor, at, name string, known []string) error {
	if _, err := c.value(); err != nil {
		return err
	}
	return collect(&e.problems, misspelt(at, name, known))
}

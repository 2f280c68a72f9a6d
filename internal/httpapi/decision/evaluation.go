package decisionapi

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/diag"
	"github.com/westworld-charter/charter/internal/wire"
)

// Members of AuthZEN requests.
const (
	evaluationsKey = "evaluations"
	optionsKey     = "options"
	subjectKey     = "subject"
	actionKey      = "action"
	resourceKey    = "resource"
	contextKey     = "context"
	propertiesKey  = "properties"
	semanticKey    = "evaluations_semantic"
)

// Semantics of a request with several evaluations.
const (
	executeAll          = "execute_all"
	denyOnFirstDeny     = "deny_on_first_deny"
	permitOnFirstPermit = "permit_on_first_permit"
)

// evaluation is one request of the AuthZEN API. An entity that was not given is
// nil; one that was not understood leaves a problem.
type evaluation struct {
	subject, action, resource, context *entity
	problems                           []*decision.FieldError
}

// entity is a subject, action, resource or context as far as it is read here.
type entity struct {
	kind string // type
	id   string // id, or the name of an action
	// part is the part of the question that the properties give.
	part       decision.Input
	carriesOut bool // context.obligations
	problems   []*decision.FieldError
}

// evaluations are the evaluations of one request and how to answer them.
type evaluations struct {
	items    []evaluation
	semantic string
}

// readEvaluations reads the body of a request; several also reads evaluations
// and options. The error is one of the request as a whole: of the entities at
// the top, too, when there are several evaluations that share them.
func readEvaluations(body []byte, several bool) (top evaluation, batch evaluations, err error) {
	if !utf8.Valid(body) {
		return top, batch, envelope(inputKey, decision.CodeInvalidValue, "the body is not valid UTF-8")
	}
	c := cursor{text: body}
	if c.peek() != '{' && c.at < len(body) {
		return top, batch, envelope(inputKey, decision.CodeWrongType, "the body must be a JSON object")
	}
	batch.semantic = executeAll
	seen := map[string]bool{}
	err = top.read(&c, "", func(name string) (bool, error) {
		if !several || name != evaluationsKey && name != optionsKey {
			return false, nil
		}
		if seen[name] {
			return true, twice(name)
		}
		seen[name] = true
		if name == optionsKey {
			return true, batch.readOptions(&c)
		}
		return true, batch.readItems(&c)
	})
	if err == nil {
		err = c.end()
	}
	if err == nil && len(batch.items) > 0 {
		err = fold(top.all())
	}
	return top, batch, err
}

// read reads the entities of an object. special takes members of its own.
func (e *evaluation) read(c *cursor, at string, special func(string) (bool, error)) error {
	return c.object(func(name string) error {
		c.peek()
		if taken, err := special(name); taken || err != nil {
			return err
		}
		into := e.entity(name)
		if into == nil {
			_, err := c.value() // members of later versions are to be ignored
			return err
		}
		if *into != nil {
			e.problems = append(e.problems, twice(at+name))
			_, err := c.value()
			return err
		}
		*into = &entity{}
		return (*into).read(c, name)
	})
}

func (e *evaluation) entity(name string) **entity {
	switch name {
	case subjectKey:
		return &e.subject
	case actionKey:
		return &e.action
	case resourceKey:
		return &e.resource
	case contextKey:
		return &e.context
	default:
		return nil
	}
}

// readItems reads the array of evaluations. What is wrong with one of them is
// its own problem.
func (b *evaluations) readItems(c *cursor) error {
	if c.peek() != '[' {
		return mistyped(c, evaluationsKey, "an array")
	}
	return c.array(func() error {
		if len(b.items) == maxItems {
			return tooMany(evaluationsKey)
		}
		var e evaluation
		var err error
		if c.peek() == '{' {
			err = e.read(c, "", func(string) (bool, error) { return false, nil })
		} else {
			err = collect(&e.problems, mistyped(c, evaluationsKey, "an array of objects"))
		}
		b.items = append(b.items, e)
		return err
	})
}

// readOptions reads the semantic; other options are to be ignored.
func (b *evaluations) readOptions(c *cursor) error {
	if c.peek() != '{' {
		return mistyped(c, optionsKey, "an object")
	}
	const where = optionsKey + "." + semanticKey
	given := false
	return c.object(func(name string) error {
		c.peek()
		if name != semanticKey {
			if _, err := c.value(); err != nil {
				return err
			}
			return misspelt(optionsKey, name, []string{semanticKey})
		}
		if given {
			return twice(where)
		}
		given = true
		if !text(c, &b.semantic) {
			return mistyped(c, where, "a string")
		}
		if !slices.Contains([]string{executeAll, denyOnFirstDeny, permitOnFirstPermit}, b.semantic) {
			return envelope(where, decision.CodeInvalidValue, fmt.Sprintf("%q is none of %s, %s, %s", wire.Echo(b.semantic), executeAll, denyOnFirstDeny, permitOnFirstPermit))
		}
		return nil
	})
}

// over is e with the entities that it lacks taken from the defaults, whole.
func (e evaluation) over(defaults evaluation) evaluation {
	for _, pair := range []struct{ own, other **entity }{
		{&e.subject, &defaults.subject},
		{&e.action, &defaults.action},
		{&e.resource, &defaults.resource},
		{&e.context, &defaults.context},
	} {
		if *pair.own == nil {
			*pair.own = *pair.other
		}
	}
	return e
}

// all returns the problems of the evaluation and its entities.
func (e evaluation) all() []*decision.FieldError {
	list := slices.Clone(e.problems)
	for _, part := range []*entity{e.subject, e.action, e.resource, e.context} {
		if part != nil {
			list = append(list, part.problems...)
		}
	}
	return list
}

// carriesOut reports whether the caller declares support for obligations.
func (e evaluation) carriesOut() bool { return e.context != nil && e.context.carriesOut }

// question is the evaluation as a question, and where its fields stand.
func (e evaluation) question(common base) (decision.Input, place, error) {
	in := place(asRole)
	problems := e.all()
	for _, part := range []struct {
		name string
		is   *entity
	}{{subjectKey, e.subject}, {actionKey, e.action}, {resourceKey, e.resource}} {
		if part.is == nil {
			problems = append(problems, missing(part.name))
		}
	}
	if len(problems) > 0 {
		return decision.Input{}, in, fold(problems)
	}
	input, who := e.subject.part, &e.subject.part.Role
	if e.subject.kind == "node" {
		in, who = asNode, &e.subject.part.Node
	}
	if *who != "" && *who != e.subject.id {
		return decision.Input{}, in, envelope("subject.properties."+e.subject.kind, decision.CodeInvalidValue, fmt.Sprintf(
			"subject.properties.%s contradicts subject.id", e.subject.kind))
	}
	if e.subject.kind == "node" {
		input.Node = e.subject.id
	} else {
		input.Role = e.subject.id
	}
	input.Operation, input.Metric = e.action.id, e.resource.id
	input.Labels, input.Retention = e.resource.part.Labels, e.resource.part.Retention
	if e.context != nil {
		input.Purpose, input.Time = e.context.part.Purpose, e.context.part.Time
	}
	input, err := common.own(input)
	return input, in, err
}

// fold makes one error of many, nil of none.
func fold(problems []*decision.FieldError) error {
	if len(problems) == 0 {
		return nil
	}
	first := *problems[0]
	first.More = problems[1:]
	return &first
}

// collect keeps a problem for later; other errors are returned.
func collect(into *[]*decision.FieldError, err error) error {
	var field *decision.FieldError
	if !errors.As(err, &field) || field.Field == inputKey {
		return err // not JSON: there is no reading on
	}
	*into = append(*into, field)
	return nil
}

func missing(field string) *decision.FieldError {
	return &decision.FieldError{Field: field, Code: decision.CodeMissingField, Message: fmt.Sprintf("field %q is required", field)}
}

func twice(field string) *decision.FieldError {
	return &decision.FieldError{Field: field, Code: decision.CodeInvalidValue, Message: fmt.Sprintf("field %q is given more than once", wire.Echo(field))}
}

// misspelt is the problem of a member that is ignored by the standard but was
// probably meant to be one that is read: ignoring it could turn a no into a yes.
func misspelt(at, name string, known []string) error {
	for _, k := range known {
		if strings.EqualFold(name, k) {
			return misplaced(at, name, k)
		}
	}
	if near := diag.DidYouMean(wire.Echo(name), known); near != "" {
		return misplaced(at, name, near)
	}
	return nil
}

func misplaced(at, name, near string) error {
	where := at + "." + wire.Echo(name)
	return envelope(where, decision.CodeUnknownField, fmt.Sprintf("unknown field %q, did you mean %q?", where, near))
}

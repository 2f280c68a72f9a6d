package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/westworld-charter/charter/internal/decision"
)

// errMalformed marks a document that is not a decision.
var errMalformed = errors.New("malformed decision document")

// answer reads the document that the rules made. It is strict where an error
// could loosen: wrong types, an allow that its outcome contradicts, another
// revision and obligations that this version does not know are errors.
func answer(v ast.Value, revision string) (decision.Decision, error) {
	d, err := readDecision(v)
	switch {
	case err != nil:
		return decision.Decision{}, err
	case d.Revision != revision:
		return decision.Decision{}, fmt.Errorf("%w: revision %q", errMalformed, d.Revision)
	case d.Outcome == "" || d.Clause == "":
		return decision.Decision{}, fmt.Errorf("%w: no outcome or no clause", errMalformed)
	case d.Allow != (d.Outcome == decision.Allowed) && !d.lifted():
		return decision.Decision{}, fmt.Errorf("%w: allow %t with outcome %q", errMalformed, d.Allow, d.Outcome)
	default:
		return d.Decision, nil
	}
}

// read is a decision under construction.
type read struct{ decision.Decision }

// lifted reports whether warn or shadow mode turned a denial into an allow.
func (d read) lifted() bool {
	return d.Allow && d.Enforced != nil && !*d.Enforced && d.WouldDeny != nil && !d.WouldDeny.Allow
}

func readDecision(v ast.Value) (read, error) {
	var d read
	err := eachMember(v, func(key string, v ast.Value) error {
		switch key {
		case "allow":
			return scalar(v, &d.Allow, asBool)
		case "outcome":
			return scalar(v, &d.Outcome, asString)
		case "revision":
			return scalar(v, &d.Revision, asString)
		case "clause":
			return scalar(v, &d.Clause, asString)
		case "severity":
			return scalar(v, &d.Severity, asString)
		case "mode":
			return scalar(v, &d.Mode, asString)
		case "reasons":
			return list(v, &d.Reasons, readReason)
		case "obligations":
			var err error
			d.Obligations, err = readObligations(v)
			return err
		case "enforced":
			d.Enforced = new(bool)
			return scalar(v, d.Enforced, asBool)
		case "would_deny":
			original, err := readDecision(v)
			d.WouldDeny = &original.Decision
			return err
		default:
			return nil // what a later version adds to explain itself
		}
	})
	return d, err
}

func readReason(v ast.Value) (decision.Reason, error) {
	var r decision.Reason
	err := eachMember(v, func(key string, v ast.Value) error {
		switch key {
		case "code":
			return scalar(v, &r.Code, asString)
		case "clause":
			return scalar(v, &r.Clause, asString)
		case "severity":
			return scalar(v, &r.Severity, asString)
		case "message":
			return scalar(v, &r.Message, asString)
		case "field":
			return scalar(v, &r.Field, asString)
		default:
			return nil
		}
	})
	return r, err
}

func readObligations(v ast.Value) (decision.Obligations, error) {
	var o decision.Obligations
	err := eachMember(v, func(key string, v ast.Value) error {
		switch key {
		case "retention":
			return scalar(v, &o.Retention, asString)
		case "drop_labels":
			return list(v, &o.DropLabels, asString)
		case "hash_labels":
			return list(v, &o.HashLabels, asString)
		case "forbid_labels":
			return list(v, &o.ForbidLabels, asString)
		case "rates":
			return list(v, &o.Rates, asString)
		default:
			// Nobody would carry it out.
			return fmt.Errorf("%w: unknown obligation %q", errMalformed, key)
		}
	})
	return o, err
}

// eachMember visits the members of an object with text keys.
func eachMember(v ast.Value, visit func(key string, v ast.Value) error) error {
	object, ok := v.(ast.Object)
	if !ok {
		return fmt.Errorf("%w: want an object, got %s", errMalformed, ast.ValueName(v))
	}
	return object.Iter(func(k, v *ast.Term) error {
		key, ok := k.Value.(ast.String)
		if !ok {
			return fmt.Errorf("%w: key %v", errMalformed, k)
		}
		if err := visit(string(key), v.Value); err != nil {
			return fmt.Errorf("%s: %w", string(key), err)
		}
		return nil
	})
}

// list reads an array, or a set, which has an order of its own.
func list[T any](v ast.Value, into *[]T, item func(ast.Value) (T, error)) error {
	visit := func(t *ast.Term) error {
		x, err := item(t.Value)
		*into = append(*into, x)
		return err
	}
	switch v := v.(type) {
	case *ast.Array:
		*into = make([]T, 0, v.Len())
		return v.Iter(visit)
	case ast.Set:
		*into = make([]T, 0, v.Len())
		return v.Iter(visit)
	default:
		return fmt.Errorf("%w: want an array, got %s", errMalformed, ast.ValueName(v))
	}
}

func scalar[T any](v ast.Value, into *T, as func(ast.Value) (T, error)) error {
	x, err := as(v)
	*into = x
	return err
}

func asString(v ast.Value) (string, error) {
	s, ok := v.(ast.String)
	if !ok {
		return "", fmt.Errorf("%w: want a string, got %s", errMalformed, ast.ValueName(v))
	}
	return string(s), nil
}

func asBool(v ast.Value) (bool, error) {
	b, ok := v.(ast.Boolean)
	if !ok {
		return false, fmt.Errorf("%w: want a boolean, got %s", errMalformed, ast.ValueName(v))
	}
	return bool(b), nil
}

// wording is what a caller is told; the log has the whole error.
func wording(err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "the evaluation took too long"
	case errors.Is(err, context.Canceled):
		return "the evaluation was cancelled"
	case errors.Is(err, ErrUndefined):
		return "the policy gave no answer"
	default:
		return "the policy gave no valid answer"
	}
}

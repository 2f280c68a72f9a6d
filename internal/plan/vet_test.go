package plan_test

import (
	"fmt"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// vet looks in compiled modules for what OPA's planner is known to plan otherwise than
// topdown evaluates it, and what plans no longer show: docs/design/plan.md lists it. The
// library has none of it.
func vet(modules map[string]*ast.Module) error {
	functions := map[string]bool{}
	for _, module := range modules {
		for _, rule := range module.Rules {
			functions[rule.Ref().String()] = len(rule.Head.Args) > 0
		}
	}
	for _, module := range modules {
		for _, rule := range module.Rules {
			if err := vetHead(rule); err != nil {
				return err
			}
		}
		if err := vetBodies(module, functions); err != nil {
			return err
		}
	}
	return nil
}

// vetHead refuses `p[1] contains x if …`: topdown has the key, under which there is an
// empty set, even when no body holds; a plan does not.
func vetHead(rule *ast.Rule) error {
	ref := rule.Head.Ref()
	odd := func(t *ast.Term) bool {
		_, text := t.Value.(ast.String)
		return !text && t.IsGround()
	}
	if rule.Head.RuleKind() == ast.MultiValue && slices.ContainsFunc(ref[1:], odd) {
		return fmt.Errorf("%v: a set under a key that is no text", rule.Location)
	}
	return nil
}

// vetBodies refuses what is no more in a plan. When two collections written down can
// never be equal, as in `not [x, y] == [1, z]`, the planner leaves out the rest of the
// body, and with it what is negated. A comprehension that stands for itself it leaves out,
// too: what in it is in conflict, topdown finds.
func vetBodies(module *ast.Module, functions map[string]bool) error {
	var found error
	ast.WalkExprs(module, func(e *ast.Expr) bool {
		term, alone := e.Terms.(*ast.Term)
		switch {
		case alone && comprehends(term):
			found = fmt.Errorf("%v: a comprehension that stands for itself", e.Location)
		case e.Negated && e.IsEquality() && !plain(e.Operand(0)) && !plain(e.Operand(1)):
			found = fmt.Errorf("%v: a negation of an equality of two collections", e.Location)
		case !vetWith(e, functions):
			found = fmt.Errorf("%v: input or data replaced after a function", e.Location)
		}
		return found != nil
	})
	return found
}

// vetWith refuses `with f as g with input as x`: the planner replaces the data instead.
func vetWith(e *ast.Expr, functions map[string]bool) bool {
	n := 0 // how many replace input or data
	for _, with := range e.With {
		target := with.Target.Value.(ast.Ref)
		root := target.HasPrefix(ast.InputRootRef) || target.HasPrefix(ast.DefaultRootRef) && !functions[target.String()]
		if !root {
			continue
		}
		if !e.With[n].Target.Value.(ast.Ref)[0].Equal(target[0]) {
			return false
		}
		n++
	}
	return true
}

func comprehends(t *ast.Term) bool {
	found := false
	ast.WalkClosures(t, func(any) bool {
		found = true
		return true
	})
	return found
}

// plain reports whether a term is no collection and no comprehension.
func plain(t *ast.Term) bool {
	switch t.Value.(type) {
	case ast.Null, ast.Boolean, ast.Number, ast.String, ast.Var, ast.Ref:
		return true
	default:
		return false
	}
}

package compile

import (
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/westworld-charter/charter/internal/diag"
)

const codeNotOverUndefined = "not_over_undefined"

// Lint reports every negation in the compiled modules that is not over a rule,
// or a call of a function, that has a default.
//
// What a negation of something undefined means depends on how it is written: a
// reference as argument is evaluated before the negation and makes the whole
// body undefined in Rego v1, while rego.v2 evaluates it inside the negation and
// makes the negation true. Either way a rule can fall open. Over a rule with a
// default there is nothing undefined, so the question does not arise.
//
// Modules must be compiled without errors: positions and references are those
// after the compiler's rewriting. The list is sorted.
func Lint(c *ast.Compiler) diag.List {
	var list diag.List
	for _, name := range slices.Sorted(maps.Keys(c.Modules)) {
		for _, rule := range c.Modules[name].Rules {
			l := newLinter(c, rule, &list)
			ast.WalkExprs(rule, func(e *ast.Expr) bool {
				l.negation(e)
				return false
			})
		}
	}
	list.Sort()
	return list
}

// linter checks one rule, with its else branches and everything inside it.
type linter struct {
	compiler *ast.Compiler
	list     *diag.List
	// values are the terms that a variable is unified with, calls the calls
	// whose result it takes. Variables of the compiler are unique in a module.
	values map[ast.Var][]*ast.Term
	calls  map[ast.Var][]*ast.Expr
}

func newLinter(c *ast.Compiler, rule *ast.Rule, list *diag.List) *linter {
	l := &linter{compiler: c, list: list, values: map[ast.Var][]*ast.Term{}, calls: map[ast.Var][]*ast.Expr{}}
	ast.WalkExprs(rule, func(e *ast.Expr) bool {
		l.record(e)
		return false
	})
	return l
}

func (l *linter) record(e *ast.Expr) {
	if e.Negated || !e.IsCall() {
		return
	}
	operands := e.Operands()
	if e.IsEquality() && len(operands) == 2 {
		for i, term := range operands {
			if v, ok := term.Value.(ast.Var); ok {
				l.values[v] = append(l.values[v], operands[1-i])
			}
		}
		return
	}
	if n := len(operands); n > 0 {
		if v, ok := operands[n-1].Value.(ast.Var); ok {
			l.calls[v] = append(l.calls[v], e)
		}
	}
}

// negation reports an expression that is a negation of something that may be
// undefined.
func (l *linter) negation(e *ast.Expr) {
	problem := ""
	switch {
	case e.Negated:
		problem = l.undefined(e)
	case e.IsNot():
		not, _ := e.Terms.(*ast.Not)
		for _, inner := range not.Body {
			if problem = l.undefined(inner); problem != "" {
				break
			}
		}
	default:
		return
	}
	for _, w := range e.With {
		if problem == "" && !l.total(w.Value) {
			problem = "a value given by with, " + l.said(w.Value)
		}
	}
	if problem == "" {
		return
	}
	pos := diag.Pos{}
	if at := e.Location; at != nil {
		pos = diag.Pos{File: at.File, Line: at.Row, Col: at.Col}
	}
	l.list.Errorf(pos, codeNotOverUndefined, "not stands over something that may be undefined: %s", problem).
		Fix = "write the positive condition, or give the rule a default"
}

// undefined says what in a negated expression may be undefined; "" for nothing.
func (l *linter) undefined(e *ast.Expr) string {
	switch terms := e.Terms.(type) {
	case *ast.Term:
		if l.negatable(terms, map[ast.Var]bool{}) {
			return ""
		}
		return l.describe(terms)
	case []*ast.Term:
		return l.undefinedCall(e)
	default:
		return "an expression that is no rule"
	}
}

// negatable reports whether a term is a rule with a default, or a variable that
// holds the value of one.
func (l *linter) negatable(term *ast.Term, seen map[ast.Var]bool) bool {
	switch v := term.Value.(type) {
	case ast.Ref:
		return l.defaulted(v)
	case ast.Var:
		if seen[v] {
			return false
		}
		seen[v] = true
		switch {
		case len(l.values[v]) == 1 && len(l.calls[v]) == 0:
			return l.negatable(l.values[v][0], seen)
		case len(l.values[v]) == 0 && len(l.calls[v]) == 1:
			return l.definedCall(l.calls[v][0], seen)
		}
	}
	return false
}

func (l *linter) undefinedCall(e *ast.Expr) string {
	if e.IsEquality() {
		// Inside a not of rego.v2 the compiler binds arguments first.
		left, right := e.Operand(0), e.Operand(1)
		if v, ok := left.Value.(ast.Var); ok && l.generated(v) && l.total(right) {
			return ""
		}
		return "a comparison"
	}
	operator := e.Operator()
	if !l.defaulted(operator) {
		if l.compiler.GetRulesExact(operator) == nil {
			return "the built-in function " + operator.String()
		}
		return "function " + operator.String() + ", which has no default"
	}
	for _, arg := range e.Operands() {
		if !l.total(arg) {
			return "argument " + l.describe(arg)
		}
	}
	return ""
}

// defaulted reports whether a reference is exactly a rule that has a default.
func (l *linter) defaulted(ref ast.Ref) bool {
	return slices.ContainsFunc(l.compiler.GetRulesExact(ref), func(r *ast.Rule) bool { return r.Default })
}

// total reports whether a term has a value wherever it can be evaluated.
func (l *linter) total(term *ast.Term) bool { return l.defined(term, map[ast.Var]bool{}) }

func (l *linter) defined(term *ast.Term, seen map[ast.Var]bool) bool {
	every := func(terms ...*ast.Term) bool {
		return !slices.ContainsFunc(terms, func(t *ast.Term) bool { return !l.defined(t, seen) })
	}
	switch v := term.Value.(type) {
	case ast.Null, ast.Boolean, ast.Number, ast.String,
		*ast.ArrayComprehension, *ast.SetComprehension, *ast.ObjectComprehension:
		return true
	case ast.Ref:
		return l.defaulted(v)
	case *ast.Array:
		return !v.Until(func(t *ast.Term) bool { return !every(t) })
	case ast.Object:
		return !v.Until(func(k, t *ast.Term) bool { return !every(k, t) })
	case ast.Set:
		return !v.Until(func(t *ast.Term) bool { return !every(t) })
	case ast.Var:
		return l.definedVar(v, seen)
	default:
		return false
	}
}

// definedVar reports whether a variable has a value for certain. One that the
// author declared has: its binding is a condition of its own. One that the
// compiler made stands for a term that the author wrote inside the negation.
func (l *linter) definedVar(v ast.Var, seen map[ast.Var]bool) bool {
	if !l.generated(v) {
		return true
	}
	if seen[v] {
		return false
	}
	seen[v] = true
	for _, term := range l.values[v] {
		if !l.defined(term, seen) {
			return false
		}
	}
	for _, call := range l.calls[v] {
		if !l.definedCall(call, seen) {
			return false
		}
	}
	return len(l.values[v])+len(l.calls[v]) > 0
}

// definedCall reports whether a call whose last operand takes the result always
// has one.
func (l *linter) definedCall(call *ast.Expr, seen map[ast.Var]bool) bool {
	operands := call.Operands()
	args := operands[:len(operands)-1]
	return l.defaulted(call.Operator()) &&
		!slices.ContainsFunc(args, func(arg *ast.Term) bool { return !l.defined(arg, seen) })
}

// generated reports whether the compiler made the variable for a term.
func (l *linter) generated(v ast.Var) bool {
	_, declared := l.compiler.RewrittenVars[v]
	return !declared && strings.HasPrefix(string(v), "__local")
}

// describe says what a term stands for, in the author's words.
func (l *linter) describe(term *ast.Term) string {
	v, ok := term.Value.(ast.Var)
	if !ok {
		return l.said(term)
	}
	if name, declared := l.compiler.RewrittenVars[v]; declared {
		return "variable " + string(name)
	}
	for _, value := range l.values[v] {
		if !l.total(value) {
			return l.said(value)
		}
	}
	for _, call := range l.calls[v] {
		return "the result of " + call.Operator().String()
	}
	return "variable " + string(v)
}

// said writes a term that may be undefined.
func (l *linter) said(term *ast.Term) string {
	ref, ok := term.Value.(ast.Ref)
	switch {
	case !ok:
		return term.String()
	case ref.HasPrefix(ast.DefaultRootRef):
		return l.path(ref) + ", which is no rule with a default"
	default:
		return l.path(ref)
	}
}

// path writes a reference up to the first part that the compiler rewrote.
func (l *linter) path(ref ast.Ref) string {
	if v, ok := ref[0].Value.(ast.Var); ok {
		if name, declared := l.compiler.RewrittenVars[v]; declared {
			ref = slices.Concat(ast.Ref{ast.VarTerm(string(name))}, ref[1:])
		}
	}
	for i, part := range ref[1:] {
		if _, isVar := part.Value.(ast.Var); isVar {
			return ref[:i+1].String() + "[…]"
		}
	}
	return ref.String()
}

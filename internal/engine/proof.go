package engine

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/rego"
)

// patternsFile is the one generated module of a bundle.
const patternsFile = bundle.Root + "/patterns/patterns.rego"

// prove checks that keys cover everything that the rules of a bundle read. The
// tests of the library prove that about the library, so a bundle must carry the
// same bytes; its generated module is taken apart; and the compiled rules of all
// modules are searched for what no key could ever cover. It returns the globs of
// the generated module. An error means that decisions must not be cached.
func prove(texts map[string][]byte, compiled map[string]*ast.Module) (patterns, error) {
	library, err := rego.Modules()
	if err != nil {
		return patterns{}, err
	}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		switch text, ours := library[name]; {
		case name == patternsFile:
		case !ours:
			return patterns{}, fmt.Errorf("module %s is not part of the library", name)
		case !bytes.Equal(text, texts[name]):
			return patterns{}, fmt.Errorf("module %s is not the library's of this version", name)
		}
	}
	for name := range library {
		if texts[name] == nil {
			return patterns{}, fmt.Errorf("module %s of the library is missing", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(compiled)) {
		if why := uncovered(compiled[name]); why != "" {
			return patterns{}, fmt.Errorf("module %s: %s", name, why)
		}
	}
	return readPatterns(texts[patternsFile])
}

// uncovered says what a compiled module reads that no key covers, "" when there
// is nothing: a field of the input that questions do not have, the input at
// large, data or input replaced, or a builtin whose result depends on more than
// its arguments. Of the builtins about time only the one that reads a text is
// known to be compared with change points alone.
func uncovered(module *ast.Module) string {
	u := &reads{aliases: map[ast.Var]bool{}}
	ast.WalkExprs(module, u.alias)
	u.visitor = ast.NewGenericVisitor(u.visit)
	u.visitor.Walk(module)
	return u.why
}

// reads looks for what is read besides single fields of the input.
type reads struct {
	why     string
	aliases map[ast.Var]bool // variables that the compiler put in place of the input
	visitor *ast.GenericVisitor
}

func (u *reads) note(format string, args ...any) {
	if u.why == "" {
		u.why = fmt.Sprintf(format, args...)
	}
}

// alias notes VAR = input.
func (u *reads) alias(e *ast.Expr) bool {
	if e.IsEquality() && e.Operand(1).Equal(wholeInput()) {
		if v, ok := e.Operand(0).Value.(ast.Var); ok {
			u.aliases[v] = true
		}
	}
	return false
}

func wholeInput() *ast.Term { return ast.NewTerm(ast.InputRootRef) }

func (u *reads) whole(t *ast.Term) bool {
	v, isVar := t.Value.(ast.Var)
	return t.Equal(wholeInput()) || isVar && u.aliases[v]
}

// visit returns true where the visitor need not look further.
func (u *reads) visit(x any) bool {
	switch x := x.(type) {
	case *ast.Expr:
		if len(x.With) > 0 {
			u.note("a rule uses with")
		}
		if !x.IsCall() {
			return false
		}
		u.call(x.Operator().String(), x.Operands())
		return true
	case *ast.Term:
		if call, ok := x.Value.(ast.Call); ok {
			u.call(call[0].String(), call[1:])
			return true
		}
		if u.whole(x) {
			u.note("a rule reads the whole input")
			return true
		}
		ref, ok := x.Value.(ast.Ref)
		if !ok || !ref.HasPrefix(ast.InputRootRef) {
			return false
		}
		if field, ok := ref[1].Value.(ast.String); !ok || !slices.Contains(decision.Fields(), string(field)) {
			u.note("a rule reads %s", ref)
		}
		return true
	default:
		return false
	}
}

// call judges a builtin and visits its operands. Those that take the input apart
// by fields may have it whole: questions have no other fields.
func (u *reads) call(operator string, operands []*ast.Term) {
	if b := ast.BuiltinMap[operator]; b != nil && (impure(b) || strings.HasPrefix(operator, "time.") && operator != ast.ParseRFC3339Nanos.Name) {
		u.note("a rule calls %s", operator)
	}
	for i, operand := range operands {
		switch operator {
		case ast.ObjectUnion.Name, ast.ObjectGet.Name, ast.ObjectKeys.Name, ast.IsObject.Name:
			if u.whole(operand) {
				continue
			}
		case ast.Equality.Name:
			if v, ok := operands[0].Value.(ast.Var); ok && u.aliases[v] && (i == 0 || u.whole(operand)) {
				continue
			}
		}
		u.visitor.Walk(operand)
	}
}

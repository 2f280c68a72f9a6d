package plan

import (
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/ir"
)

// literal makes a constant of the statements that build an array, object or set of
// constants, so that evaluations share it, and returns how many statements these are, 0
// when the first begins no such value. What is assigned on the way is appended to out.
func (l *linker) literal(out code, stmts []ir.Stmt) (code, int) {
	var local ir.Local
	var array []*ast.Term
	var value ast.Value
	switch s := stmts[0].(type) {
	case *ir.MakeArrayStmt:
		local = s.Target
	case *ir.MakeObjectStmt:
		local, value = s.Target, ast.NewObject()
	case *ir.MakeSetStmt:
		local, value = s.Target, ast.NewSet()
	default:
		return out, 0
	}
	if l.scope.writes[local] != 1 {
		return out, 0
	}
	before, n := len(out), 1
	for left := l.scope.changes[local]; left > 0; n++ {
		if n == len(stmts) {
			return out[:before], 0
		}
		switch s := stmts[n].(type) {
		case *ir.ArrayAppendStmt:
			element := l.constant(s.Value)
			if s.Array != local || element == nil {
				return out[:before], 0
			}
			array = append(array, element)
			left--
		case *ir.ObjectInsertStmt:
			key, member := l.constant(s.Key), l.constant(s.Value)
			if s.Object != local || key == nil || member == nil {
				return out[:before], 0
			}
			value.(ast.Object).Insert(key, member)
			left--
		case *ir.SetAddStmt:
			element := l.constant(s.Value)
			if s.Set != local || element == nil {
				return out[:before], 0
			}
			value.(ast.Set).Add(element)
			left--
		default: // a part of it
			more, used := l.literal(out, stmts[n:])
			if used == 0 {
				in, err := l.simple(stmts[n])
				if err != nil || in == nil || in.op != opAssign {
					return out[:before], 0
				}
				l.note(in)
				more, used = append(out, *in), 1
			}
			out = more
			n += used - 1
		}
	}
	if value == nil {
		value = ast.NewArray(array...)
	}
	term := ast.NewTerm(value)
	l.scope.constants[local] = term
	return append(out, instr{op: opAssign, target: l.scope.use(local), a: operand{constant: term}}), n
}

// constant is the value of an operand that is known already, else nil.
func (l *linker) constant(o ir.Operand) *ast.Term {
	known, err := l.operand(o)
	if err != nil {
		return nil
	}
	return known.constant
}

// note notes that a local holds nothing but a constant.
func (l *linker) note(in *instr) {
	if local := ir.Local(in.target); in.op == opAssign && in.a.constant != nil && l.scope.writes[local] == 1 {
		l.scope.constants[local] = in.a.constant
	}
}

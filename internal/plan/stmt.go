package plan

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/ir"
)

// stmt appends what a statement becomes.
func (l *linker) stmt(out code, stmt ir.Stmt) (code, error) {
	in, err := l.simple(stmt)
	if err != nil {
		return nil, err
	}
	if in != nil {
		l.note(in)
		return append(out, *in), nil
	}
	switch s := stmt.(type) {
	case *ir.NopStmt:
		return out, nil
	case *ir.DotStmt:
		in, err = l.dot(s)
	case *ir.AssignVarStmt:
		in, err = l.assign(s)
	case *ir.CallStmt:
		in, err = l.call(s)
	case *ir.CallDynamicStmt:
		in, err = l.callDynamic(s)
	case *ir.BlockStmt:
		if inner := transparent(s); inner != nil {
			for _, stmt := range inner {
				if out, err = l.stmt(out, stmt); err != nil {
					return nil, err
				}
			}
			return out, nil
		}
		in = &instr{op: opBlocks}
		in.blocks, err = l.blocks(s.Blocks)
	case *ir.NotStmt:
		in, err = l.not(s)
	case *ir.ScanStmt:
		in = &instr{op: opScan, target: l.scope.use(s.Key), second: l.scope.use(s.Value), a: operand{local: l.scope.use(s.Source), growing: l.scope.growing[s.Source]}}
		in.blocks, err = l.blocks([]*ir.Block{s.Block})
	case *ir.WithStmt:
		in, err = l.with(s)
	default:
		var text bytes.Buffer
		_ = ir.Pretty(&text, stmt)
		return nil, fmt.Errorf("unknown statement %s", text.String())
	}
	if err != nil {
		return nil, err
	}
	l.note(in)
	return append(out, *in), nil
}

// simple makes an instruction of a statement that consists of operands alone, nil for
// any other.
func (l *linker) simple(stmt ir.Stmt) (*instr, error) {
	in := &instr{}
	var a, b *ir.Operand
	switch s := stmt.(type) {
	case *ir.AssignVarOnceStmt:
		in.op, in.target, a = opAssignOnce, l.scope.use(s.Target), &s.Source
	case *ir.ResetLocalStmt:
		in.op, in.target = opReset, l.scope.use(s.Target)
	case *ir.AssignIntStmt:
		in.op, in.target, in.a.constant = opAssign, l.scope.use(s.Target), ast.InternedTerm(int(s.Value))
	case *ir.MakeNullStmt:
		in.op, in.target, in.a.constant = opAssign, l.scope.use(s.Target), ast.InternedNullTerm
	case *ir.MakeNumberIntStmt:
		in.op, in.target, in.a.constant = opAssign, l.scope.use(s.Target), ast.InternedTerm(int(s.Value))
	case *ir.MakeNumberRefStmt:
		number, err := l.number(s.Index)
		if err != nil {
			return nil, err
		}
		in.op, in.target, in.a.constant = opAssign, l.scope.use(s.Target), number
	case *ir.EqualStmt:
		in.op, a, b = opEqual, &s.A, &s.B
	case *ir.NotEqualStmt:
		in.op, a, b = opNotEqual, &s.A, &s.B
	case *ir.IsArrayStmt:
		in.op, a = opIsArray, &s.Source
	case *ir.IsObjectStmt:
		in.op, a = opIsObject, &s.Source
	case *ir.IsSetStmt:
		in.op, a = opIsSet, &s.Source
	case *ir.IsDefinedStmt:
		in.op, in.a.local = opIsDefined, l.scope.use(s.Source)
	case *ir.IsUndefinedStmt:
		in.op, in.a.local = opIsUndefined, l.scope.use(s.Source)
	case *ir.LenStmt:
		in.op, in.target, a = opLen, l.scope.use(s.Target), &s.Source
	case *ir.BreakStmt:
		in.op, in.n = opBreak, int32(s.Index)
	case *ir.ReturnLocalStmt:
		in.op, a = opReturn, &ir.Operand{Value: s.Source}
	case *ir.MakeArrayStmt:
		in.op, in.target, in.n = opNewArray, l.scope.use(s.Target), s.Capacity
	case *ir.ArrayAppendStmt:
		in.op, in.target, a = opAppend, l.scope.use(s.Array), &s.Value
	case *ir.MakeObjectStmt:
		in.op, in.target = opNewObject, l.scope.use(s.Target)
	case *ir.ObjectInsertStmt:
		in.op, in.target, a, b = opInsert, l.scope.use(s.Object), &s.Key, &s.Value
	case *ir.ObjectInsertOnceStmt:
		in.op, in.target, a, b = opInsertOnce, l.scope.use(s.Object), &s.Key, &s.Value
	case *ir.ObjectMergeStmt:
		in.op, in.target, a, b = opMerge, l.scope.use(s.Target), &ir.Operand{Value: s.A}, &ir.Operand{Value: s.B}
	case *ir.MakeSetStmt:
		in.op, in.target = opNewSet, l.scope.use(s.Target)
	case *ir.SetAddStmt:
		in.op, in.target, a = opAdd, l.scope.use(s.Set), &s.Value
	case *ir.ResultSetAddStmt:
		in.op, in.target = opResult, l.scope.use(s.Value)
	default:
		return nil, nil
	}
	var err error
	if a != nil {
		if in.a, err = l.operand(*a); err != nil {
			return nil, err
		}
	}
	if b != nil {
		in.b, err = l.operand(*b)
	}
	return in, err
}

// dot looks up a constant path into the base documents once, when the program gets
// them, and a field of the input once in an evaluation.
func (l *linker) dot(s *ir.DotStmt) (*instr, error) {
	a, err := l.operand(s.Source)
	if err != nil {
		return nil, err
	}
	b, err := l.operand(s.Key)
	if err != nil {
		return nil, err
	}
	in := &instr{op: opDot, target: l.scope.use(s.Target), a: a, b: b}
	source, isLocal := s.Source.Value.(ir.Local)
	key, isText := s.Key.Value.(ir.StringIndex)
	if !isLocal || !isText {
		return in, nil
	}
	path, known := l.scope.base[source]
	switch {
	case source == ir.Input && !l.mutableInput:
		in.op, in.n = opField, l.field(b.constant)
	case (source == ir.Data || known) && !l.mutableData:
		text := l.policy.Static.Strings[key].Value
		path = append(path[:len(path):len(path)], text)
		in.op, in.n = opBase, l.below(path)
		if l.scope.writes[s.Target] == 1 {
			l.scope.base[s.Target] = path
		}
	}
	return in, nil
}

func (l *linker) assign(s *ir.AssignVarStmt) (*instr, error) {
	a, err := l.operand(s.Source)
	if source, ok := s.Source.Value.(ir.Local); ok && l.scope.writes[s.Target] == 1 {
		if path, known := l.scope.base[source]; known {
			l.scope.base[s.Target] = path
		}
	}
	return &instr{op: opAssign, target: l.scope.use(s.Target), a: a}, err
}

func (l *linker) call(s *ir.CallStmt) (*instr, error) {
	args, err := l.operands(s.Args)
	if err != nil {
		return nil, err
	}
	in := &instr{target: l.scope.use(s.Result), args: args}
	if fn := l.functions[s.Func]; fn != nil {
		if len(args) != len(fn.params) {
			return nil, fmt.Errorf("call of %s with %d arguments", s.Func, len(args))
		}
		in.op, in.fn = opCall, fn
		return in, nil
	}
	if in.builtin = l.builtins[s.Func]; in.builtin == nil {
		return nil, fmt.Errorf("unknown function %s", s.Func)
	}
	in.op = opBuiltin
	return in, nil
}

func (l *linker) callDynamic(s *ir.CallDynamicStmt) (*instr, error) {
	if len(s.Args) != 2 || s.Args[0] != ir.Input || s.Args[1] != ir.Data {
		return nil, errors.New("a dynamic call has arguments")
	}
	path, err := l.operands(s.Path)
	return &instr{op: opDynamic, target: l.scope.use(s.Result), args: path}, err
}

func (l *linker) with(s *ir.WithStmt) (*instr, error) {
	value, err := l.operand(s.Value)
	if err != nil {
		return nil, err
	}
	in := &instr{op: opWith, target: l.scope.use(s.Local), a: value}
	for _, i := range s.Path {
		key, err := l.text(i)
		if err != nil {
			return nil, err
		}
		in.keys = append(in.keys, key)
	}
	in.blocks, err = l.blocks([]*ir.Block{s.Block})
	return in, err
}

// not links a negation. The planner makes two kinds of them, and both are read with
// more care than OPA's own compiler for WebAssembly takes:
//
// The block of `not { … }` gives a condition wherever its body holds, and ends by asking
// for it. The condition is that of this turn alone, and what leaves the block after it
// was given takes nothing back: a look-up in both rules and base documents does so.
//
// The block of `not term` holds when its end is reached. That is right only while the end
// is reached by nothing else, so statements that go on inside of a block or a scan are
// refused: whatever they come to, what follows them is the end.
func (l *linker) not(s *ir.NotStmt) (*instr, error) {
	in := &instr{op: opNot, target: -1}
	block := s.Block
	if cond, ok := condition(block); ok {
		in.target = l.scope.use(cond)
		block = &ir.Block{Stmts: block.Stmts[:len(block.Stmts)-1]}
	} else if !straight(block.Stmts) {
		return nil, errors.New("a negation of a term that looks through rules and base documents")
	}
	var err error
	in.blocks, err = l.blocks([]*ir.Block{block})
	return in, err
}

// condition returns the local that the last statement of a block asks for.
func condition(block *ir.Block) (ir.Local, bool) {
	if len(block.Stmts) == 0 {
		return 0, false
	}
	last, ok := block.Stmts[len(block.Stmts)-1].(*ir.IsDefinedStmt)
	if !ok || last.Source == ir.Input || last.Source == ir.Data {
		return 0, false
	}
	given := false
	each([]*ir.Block{block}, func(stmt ir.Stmt) {
		assign, ok := stmt.(*ir.AssignVarStmt)
		given = given || ok && assign.Target == last.Source && assign.Source.Value == ir.Bool(true)
	})
	return last.Source, given
}

// straight reports whether the end of the statements is reached exactly when all of them
// are defined, and whether there are any: the planner leaves out what can never hold.
func straight(stmts []ir.Stmt) bool {
	for _, stmt := range stmts {
		switch stmt.(type) {
		case *ir.BlockStmt, *ir.ScanStmt:
			return false
		}
	}
	return len(stmts) > 0
}

// transparent returns the statements of a block that could as well stand where it is:
// the planner wraps look-ups in two blocks,
//
//	block
//	  block
//	    STATEMENTS
//	    break 1
//	  break 1
//
// so that something else can follow when they are undefined. Here nothing does: when
// they are, the second break leaves the block around all of it.
func transparent(s *ir.BlockStmt) []ir.Stmt {
	if len(s.Blocks) != 1 || len(s.Blocks[0].Stmts) != 2 || !breaks(s.Blocks[0].Stmts[1], 1) {
		return nil
	}
	inner, ok := s.Blocks[0].Stmts[0].(*ir.BlockStmt)
	if !ok || len(inner.Blocks) != 1 || len(inner.Blocks[0].Stmts) == 0 {
		return nil
	}
	stmts := inner.Blocks[0].Stmts
	last := len(stmts) - 1
	if !breaks(stmts[last], 1) {
		return nil
	}
	for _, stmt := range stmts[:last] {
		switch stmt.(type) {
		case *ir.DotStmt, *ir.AssignVarStmt, *ir.CallStmt: // those that leave one block only
		default:
			return nil
		}
	}
	return stmts[:last:last]
}

func breaks(stmt ir.Stmt, index uint32) bool {
	b, ok := stmt.(*ir.BreakStmt)
	return ok && b.Index == index
}

package plan

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/ir"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// linker turns the statements of a plan into instructions.
type linker struct {
	policy    *ir.Policy
	program   *Program
	strings   []*ast.Term
	functions map[string]*function
	builtins  map[string]*builtin
	paths     map[string]int32 // index of program.paths by its keys, joined
	fields    map[string]int32
	// Whether some statement replaces the input or the data for others: then what lies
	// below them is not known before an evaluation.
	mutableInput, mutableData bool
	scope                     *scope
}

// scope is what is known of the locals of the function being linked. The planner gives
// a local before it uses it, so what a local is given once is what it holds.
type scope struct {
	locals    int
	growing   map[ir.Local]bool      // targets of MakeArrayStmt and MakeObjectStmt
	writes    map[ir.Local]int       // how many statements give a local
	changes   map[ir.Local]int       // how many add to what it holds
	base      map[ir.Local][]string  // locals that hold nothing but the base document at a path
	constants map[ir.Local]*ast.Term // locals that hold nothing but a constant
}

func newLinker(policy *ir.Policy) *linker {
	l := &linker{
		policy: policy, program: &Program{dynamic: map[string]*function{}}, functions: map[string]*function{},
		builtins: map[string]*builtin{}, paths: map[string]int32{}, fields: map[string]int32{},
	}
	if policy.Static != nil {
		for _, s := range policy.Static.Strings {
			l.strings = append(l.strings, ast.InternedTerm(s.Value))
		}
	}
	return l
}

func (l *linker) link(main *ir.Plan) (*Program, error) {
	if err := l.declare(); err != nil {
		return nil, err
	}
	var err error
	if l.policy.Funcs != nil {
		for _, fn := range l.policy.Funcs.Funcs {
			if err = l.function(fn); err != nil {
				return nil, fmt.Errorf("%s: %w", fn.Name, err)
			}
		}
	}
	p := l.program
	l.scope = newScope(main.Blocks)
	if p.main, err = l.blocks(main.Blocks); err != nil {
		return nil, err
	}
	p.locals = l.scope.locals
	return p, nil
}

// readsContext reports whether a builtin looks at the time or draws at random without
// being marked as one that does.
func readsContext(name string) bool {
	return name == ast.JWTDecodeVerify.Name || name == ast.JWTEncodeSign.Name || name == ast.JWTEncodeSignRaw.Name
}

// declare makes known what statements refer to by name.
func (l *linker) declare() error {
	if l.policy.Static != nil {
		for _, b := range l.policy.Static.BuiltinFuncs {
			call, known := topdown.GetBuiltin(b.Name), ast.BuiltinMap[b.Name]
			if call == nil || known == nil || known.Nondeterministic || readsContext(b.Name) {
				return fmt.Errorf("builtin %s is unknown, or depends on more than its arguments", b.Name)
			}
			l.builtins[b.Name] = &builtin{
				call: call, name: b.Name, void: b.Decl.Result() == nil, get: b.Name == ast.ObjectGet.Name,
				relation: known.Relation,
			}
		}
	}
	if l.policy.Funcs == nil {
		return nil
	}
	for _, fn := range l.policy.Funcs.Funcs {
		if len(fn.Params) < 2 || fn.Params[0] != ir.Input || fn.Params[1] != ir.Data {
			return fmt.Errorf("%s: parameters do not begin with input and data", fn.Name)
		}
		linked := &function{id: -1}
		for _, param := range fn.Params {
			linked.params = append(linked.params, int32(param))
		}
		if len(fn.Params) == 2 {
			linked.id = l.program.functions
			l.program.functions++
		}
		l.functions[fn.Name] = linked
		if fn.Path != nil {
			l.program.dynamic[pathKey(fn.Path)] = linked
		}
	}
	replaced := func(s ir.Stmt) {
		if with, ok := s.(*ir.WithStmt); ok {
			l.mutableInput = l.mutableInput || with.Local == ir.Input
			l.mutableData = l.mutableData || with.Local == ir.Data
		}
	}
	for _, fn := range l.policy.Funcs.Funcs {
		each(fn.Blocks, replaced)
	}
	each(l.policy.Plans.Plans[0].Blocks, replaced)
	return nil
}

func (l *linker) function(fn *ir.Func) error {
	linked := l.functions[fn.Name]
	l.scope = newScope(fn.Blocks)
	for _, param := range fn.Params {
		l.scope.use(param)
		l.scope.writes[param]++
	}
	l.scope.use(fn.Return)
	var err error
	linked.blocks, err = l.blocks(fn.Blocks)
	linked.locals = l.scope.locals
	return err
}

func newScope(blocks []*ir.Block) *scope {
	s := &scope{
		growing: map[ir.Local]bool{}, writes: map[ir.Local]int{}, changes: map[ir.Local]int{},
		base: map[ir.Local][]string{}, constants: map[ir.Local]*ast.Term{},
	}
	each(blocks, s.note)
	s.use(ir.Data)
	return s
}

// note notes what a statement does to locals.
func (s *scope) note(stmt ir.Stmt) {
	switch stmt := stmt.(type) {
	case *ir.MakeArrayStmt:
		s.growing[stmt.Target] = true
		s.writes[stmt.Target]++
	case *ir.MakeObjectStmt:
		s.growing[stmt.Target] = true
		s.writes[stmt.Target]++
	case *ir.MakeSetStmt:
		s.writes[stmt.Target]++
	case *ir.MakeNullStmt:
		s.writes[stmt.Target]++
	case *ir.MakeNumberIntStmt:
		s.writes[stmt.Target]++
	case *ir.MakeNumberRefStmt:
		s.writes[stmt.Target]++
	case *ir.AssignIntStmt:
		s.writes[stmt.Target]++
	case *ir.AssignVarStmt:
		s.writes[stmt.Target]++
	case *ir.AssignVarOnceStmt:
		s.writes[stmt.Target]++
	case *ir.ResetLocalStmt:
		s.writes[stmt.Target]++
	case *ir.DotStmt:
		s.writes[stmt.Target]++
	case *ir.LenStmt:
		s.writes[stmt.Target]++
	case *ir.ObjectMergeStmt:
		s.writes[stmt.Target]++
	case *ir.CallStmt:
		s.writes[stmt.Result]++
	case *ir.CallDynamicStmt:
		s.writes[stmt.Result]++
	case *ir.ScanStmt:
		s.writes[stmt.Key]++
		s.writes[stmt.Value]++
	case *ir.WithStmt:
		s.writes[stmt.Local]++
	case *ir.ArrayAppendStmt:
		s.changes[stmt.Array]++
	case *ir.ObjectInsertStmt:
		s.changes[stmt.Object]++
	case *ir.ObjectInsertOnceStmt:
		s.changes[stmt.Object]++
	case *ir.SetAddStmt:
		s.changes[stmt.Set]++
	}
}

// use makes room for a local.
func (s *scope) use(local ir.Local) int32 {
	s.locals = max(s.locals, int(local)+1)
	return int32(local)
}

func (l *linker) blocks(blocks []*ir.Block) ([]code, error) {
	all := make([]code, 0, len(blocks))
	for i := 0; i < len(blocks); {
		if index, n := l.prefixed(blocks[i:]); n > 0 {
			if err := l.index(index, blocks[i:i+n]); err != nil {
				return nil, err
			}
			all = append(all, code{{op: opPrefixes, a: operand{local: int32(ir.Input)}, prefixes: index}})
			i += n
			continue
		}
		block, err := l.block(blocks[i])
		if err != nil {
			return nil, err
		}
		all = append(all, block)
		i++
	}
	return all, nil
}

func (l *linker) block(block *ir.Block) (code, error) {
	out := make(code, 0, len(block.Stmts))
	for i := 0; i < len(block.Stmts); {
		var n int
		if out, n = l.literal(out, block.Stmts[i:]); n > 0 {
			i += n
			continue
		}
		var err error
		if out, err = l.stmt(out, block.Stmts[i]); err != nil {
			return nil, err
		}
		i++
	}
	return slices.Clip(out), nil
}

func (l *linker) operand(o ir.Operand) (operand, error) {
	switch v := o.Value.(type) {
	case ir.Local:
		if known := l.scope.constants[v]; known != nil {
			return operand{constant: known}, nil
		}
		return operand{local: l.scope.use(v), growing: l.scope.growing[v]}, nil
	case ir.StringIndex:
		t, err := l.text(int(v))
		return operand{constant: t}, err
	case ir.Bool:
		return operand{constant: ast.InternedTerm(bool(v))}, nil
	default:
		return operand{}, fmt.Errorf("unknown operand %T", v)
	}
}

func (l *linker) operands(list []ir.Operand) ([]operand, error) {
	out := make([]operand, len(list))
	var err error
	for i, o := range list {
		if out[i], err = l.operand(o); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (l *linker) text(i int) (*ast.Term, error) {
	if i < 0 || i >= len(l.strings) {
		return nil, fmt.Errorf("no text %d", i)
	}
	return l.strings[i], nil
}

// number is the constant that is written at index i.
func (l *linker) number(i int) (*ast.Term, error) {
	t, err := l.text(i)
	if err != nil {
		return nil, err
	}
	return ast.NumberTerm(json.Number(t.Value.(ast.String))), nil
}

// below returns the index of the base document at a path.
func (l *linker) below(path []string) int32 {
	name := pathKey(path)
	i, ok := l.paths[name]
	if !ok {
		i = int32(len(l.program.paths))
		l.paths[name] = i
		l.program.paths = append(l.program.paths, path)
	}
	return i
}

// field returns the index of a field of the input.
func (l *linker) field(key *ast.Term) int32 {
	name := string(key.Value.(ast.String))
	i, ok := l.fields[name]
	if !ok {
		i = int32(len(l.program.fields))
		l.fields[name] = i
		l.program.fields = append(l.program.fields, key)
	}
	return i
}

// each visits the statements of blocks and of all blocks inside of them.
func each(blocks []*ir.Block, visit func(ir.Stmt)) {
	for _, block := range blocks {
		if block == nil {
			continue
		}
		for _, stmt := range block.Stmts {
			visit(stmt)
			switch s := stmt.(type) {
			case *ir.BlockStmt:
				each(s.Blocks, visit)
			case *ir.NotStmt:
				each([]*ir.Block{s.Block}, visit)
			case *ir.ScanStmt:
				each([]*ir.Block{s.Block}, visit)
			case *ir.WithStmt:
				each([]*ir.Block{s.Block}, visit)
			}
		}
	}
}

// pathKey is a text that no other path has.
func pathKey(path []string) string {
	var b []byte
	for _, key := range path {
		b = appendKey(b, key)
	}
	return string(b)
}

// appendKey appends a key and where it ends: keys hold any text.
func appendKey(b []byte, key string) []byte {
	for n := len(key); ; n >>= 7 {
		if n < 0x80 {
			b = append(b, byte(n))
			break
		}
		b = append(b, byte(n)|0x80)
	}
	return append(b, key...)
}

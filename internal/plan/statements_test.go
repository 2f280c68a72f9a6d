package plan

import (
	"errors"
	"runtime"
	"testing"
	"weak"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/ir"
)

// These are plans as the planner never makes them, for what statements mean in between.

func local(i int) ir.Operand { return ir.Operand{Value: ir.Local(i)} }

func str(i int) ir.Operand { return ir.Operand{Value: ir.StringIndex(i)} }

func block(stmts ...ir.Stmt) *ir.Block { return &ir.Block{Stmts: stmts} }

// result ends a plan whose value is a local.
func result(i int) []ir.Stmt {
	return []ir.Stmt{&ir.MakeObjectStmt{Target: 90}, &ir.ObjectInsertStmt{Object: 90, Key: str(0), Value: local(i)}, &ir.ResultSetAddStmt{Value: 90}}
}

func policyOf(blocks ...*ir.Block) *ir.Policy {
	return &ir.Policy{
		Static: &ir.Static{
			Strings:      []*ir.StringConst{{Value: "x"}, {Value: "a"}, {Value: "1.5"}},
			BuiltinFuncs: []*ir.BuiltinFunc{{Name: "walk", Decl: ast.WalkBuiltin.Decl}, {Name: "count", Decl: ast.Count.Decl}, {Name: ast.InternalPrint.Name, Decl: ast.InternalPrint.Decl}},
		},
		Plans: &ir.Plans{Plans: []*ir.Plan{{Name: "eval", Blocks: blocks}}},
		Funcs: &ir.Funcs{},
	}
}

func queryOf(t *testing.T, policy *ir.Policy) *Query {
	t.Helper()
	program, err := Link(policy)
	if err != nil {
		t.Fatal(err)
	}
	return program.Over(NewBase(map[string]any{"a": "b"}), nil)
}

func TestHandMadePlans(t *testing.T) {
	scan := func(stmts ...ir.Stmt) ir.Stmt {
		return &ir.ScanStmt{Source: 2, Key: 3, Value: 4, Block: block(stmts...)}
	}
	list := []ir.Stmt{&ir.DotStmt{Source: local(0), Key: str(1), Target: 2}, &ir.MakeArrayStmt{Target: 5}}
	add := &ir.ArrayAppendStmt{Array: 5, Value: local(4)}
	two := &ir.MakeNumberIntStmt{Value: 2, Target: 6}
	stop := func(n uint32) ir.Stmt {
		return &ir.BlockStmt{Blocks: []*ir.Block{block(two, &ir.EqualStmt{A: local(4), B: local(6)}, &ir.BreakStmt{Index: n})}}
	}
	for name, c := range map[string]struct {
		stmts []ir.Stmt
		want  string
	}{
		"a break ends a turn":             {append(list, scan(stop(1), add), &ir.NopStmt{}), `[1, 3]`},
		"a break ends a scan's block":     {[]ir.Stmt{list[0], list[1], &ir.BlockStmt{Blocks: []*ir.Block{block(scan(add, stop(2)), add)}}}, `[1, 2]`},
		"a break leaves not":              {append(list, &ir.BlockStmt{Blocks: []*ir.Block{block(&ir.NotStmt{Block: block(&ir.BreakStmt{Index: 1})}, add)}}), `[]`},
		"a break leaves with":             {append(list, &ir.BlockStmt{Blocks: []*ir.Block{block(&ir.WithStmt{Local: 7, Value: str(1), Block: block(&ir.BreakStmt{Index: 1})}, add)}}), `[]`},
		"an array is used and goes on":    {append(list, scan(add, &ir.AssignVarStmt{Source: local(5), Target: 8})), `[1, 2, 3]`},
		"the length of a set":             {[]ir.Stmt{&ir.MakeSetStmt{Target: 2}, &ir.SetAddStmt{Set: 2, Value: str(0)}, &ir.LenStmt{Source: local(2), Target: 5}}, `1`},
		"the length of an object":         {[]ir.Stmt{&ir.LenStmt{Source: local(0), Target: 5}}, `1`},
		"the length of a text":            {[]ir.Stmt{&ir.LenStmt{Source: str(0), Target: 5}}, `-`},
		"the length of nothing":           {[]ir.Stmt{&ir.LenStmt{Source: local(40), Target: 5}}, `-`},
		"a number":                        {[]ir.Stmt{&ir.MakeNumberRefStmt{Index: 2, Target: 5}}, `1.5`},
		"null":                            {[]ir.Stmt{&ir.MakeNullStmt{Target: 5}, &ir.IsDefinedStmt{Source: 5}, &ir.IsUndefinedStmt{Source: 41}}, `null`},
		"a dot of a text":                 {[]ir.Stmt{&ir.DotStmt{Source: str(0), Key: str(1), Target: 5}}, `-`},
		"is a set":                        {[]ir.Stmt{&ir.MakeSetStmt{Target: 5}, &ir.IsSetStmt{Source: local(5)}}, `set()`},
		"is no set":                       {[]ir.Stmt{&ir.MakeObjectStmt{Target: 5}, &ir.IsSetStmt{Source: local(5)}}, `-`},
		"is no array":                     {[]ir.Stmt{&ir.MakeObjectStmt{Target: 5}, &ir.IsArrayStmt{Source: local(42)}}, `-`},
		"a scan of a scalar":              {[]ir.Stmt{&ir.MakeNullStmt{Target: 2}, &ir.MakeArrayStmt{Target: 5}, scan(add)}, `[]`},
		"a scan of nothing":               {[]ir.Stmt{&ir.MakeArrayStmt{Target: 5}, scan(add)}, `[]`},
		"a scan of a set":                 {[]ir.Stmt{&ir.MakeSetStmt{Target: 2}, &ir.SetAddStmt{Set: 2, Value: str(0)}, &ir.MakeArrayStmt{Target: 5}, scan(add)}, `["x"]`},
		"merged with nothing":             {[]ir.Stmt{&ir.MakeObjectStmt{Target: 2}, &ir.ObjectMergeStmt{A: 2, B: 43, Target: 5}}, `{}`},
		"nothing merged":                  {[]ir.Stmt{&ir.MakeObjectStmt{Target: 2}, &ir.ObjectMergeStmt{A: 43, B: 2, Target: 5}}, `{}`},
		"a text merged":                   {[]ir.Stmt{&ir.MakeNullStmt{Target: 2}, &ir.ObjectMergeStmt{A: 2, B: 2, Target: 5}}, `error`},
		"fields that cannot merge":        {[]ir.Stmt{&ir.MakeObjectStmt{Target: 2}, &ir.ObjectInsertStmt{Object: 2, Key: str(1), Value: str(1)}, &ir.ObjectMergeStmt{A: 2, B: 0, Target: 5}}, `error`},
		"appended to nothing":             {[]ir.Stmt{&ir.ArrayAppendStmt{Array: 5, Value: str(0)}}, `error`},
		"nothing appended":                {[]ir.Stmt{&ir.MakeArrayStmt{Target: 5}, &ir.ArrayAppendStmt{Array: 5, Value: local(44)}}, `error`},
		"added to nothing":                {[]ir.Stmt{&ir.SetAddStmt{Set: 5, Value: str(0)}}, `error`},
		"nothing added":                   {[]ir.Stmt{&ir.MakeSetStmt{Target: 5}, &ir.SetAddStmt{Set: 5, Value: local(44)}}, `error`},
		"inserted into nothing":           {[]ir.Stmt{&ir.ObjectInsertStmt{Object: 5, Key: str(0), Value: str(0)}}, `error`},
		"nothing inserted":                {[]ir.Stmt{&ir.MakeObjectStmt{Target: 5}, &ir.ObjectInsertStmt{Object: 5, Key: str(0), Value: local(44)}}, `error`},
		"a result that is no object":      {[]ir.Stmt{&ir.ResultSetAddStmt{Value: 45}}, `error`},
		"assigned once, twice":            {[]ir.Stmt{&ir.AssignVarOnceStmt{Target: 5, Source: str(0)}, &ir.AssignVarOnceStmt{Target: 5, Source: str(1)}}, `error`},
		"a dynamic call by no text":       {[]ir.Stmt{&ir.CallDynamicStmt{Args: []ir.Local{0, 1}, Path: []ir.Operand{local(0)}, Result: 5}}, `-`},
		"a dynamic call by nothing":       {[]ir.Stmt{&ir.CallDynamicStmt{Args: []ir.Local{0, 1}, Path: []ir.Operand{local(46)}, Result: 5}}, `-`},
		"a builtin of nothing":            {[]ir.Stmt{&ir.CallStmt{Func: "count", Args: []ir.Operand{local(46)}, Result: 5}}, `-`},
		"a relation":                      {[]ir.Stmt{&ir.MakeNullStmt{Target: 2}, &ir.CallStmt{Func: "walk", Args: []ir.Operand{local(2)}, Result: 5}}, `[[[], null]]`},
		"a builtin without result":        {[]ir.Stmt{&ir.MakeArrayStmt{Target: 5}, &ir.CallStmt{Func: ast.InternalPrint.Name, Args: []ir.Operand{local(5)}, Result: 6}}, `[]`},
		"a builtin with too many":         {[]ir.Stmt{&ir.CallStmt{Func: "count", Args: make17(), Result: 5}}, `error`},
		"a base document":                 {[]ir.Stmt{&ir.AssignVarStmt{Source: local(1), Target: 7}, &ir.DotStmt{Source: local(1), Key: str(1), Target: 6}, &ir.AssignVarStmt{Source: local(6), Target: 5}}, `"b"`},
		"a negation by a condition":       {[]ir.Stmt{&ir.MakeNullStmt{Target: 5}, &ir.AssignVarStmt{Source: ir.Operand{Value: ir.Bool(true)}, Target: 9}, &ir.NotStmt{Block: block(&ir.BreakStmt{}, &ir.AssignVarStmt{Source: ir.Operand{Value: ir.Bool(true)}, Target: 9}, &ir.IsDefinedStmt{Source: 9})}}, `null`},
		"a break leaves a negation":       {append(list, &ir.BlockStmt{Blocks: []*ir.Block{block(&ir.NotStmt{Block: block(&ir.BreakStmt{Index: 1}, &ir.AssignVarStmt{Source: ir.Operand{Value: ir.Bool(true)}, Target: 9}, &ir.IsDefinedStmt{Source: 9})}, add)}}), `[]`},
		"an error below a negation":       {[]ir.Stmt{&ir.NotStmt{Block: block(&ir.SetAddStmt{Set: 5, Value: str(0)}, &ir.AssignVarStmt{Source: ir.Operand{Value: ir.Bool(true)}, Target: 9}, &ir.IsDefinedStmt{Source: 9})}}, `error`},
		"an error below a plain negation": {[]ir.Stmt{&ir.NotStmt{Block: block(&ir.SetAddStmt{Set: 5, Value: str(0)})}}, `error`},
		"an error below with":             {[]ir.Stmt{&ir.WithStmt{Local: 7, Value: str(1), Block: block(&ir.SetAddStmt{Set: 5, Value: str(0)})}}, `error`},
	} {
		t.Run(name, func(t *testing.T) {
			q := queryOf(t, policyOf(block(append(append([]ir.Stmt{}, c.stmts...), result(5)...)...)))
			results, err := q.Eval(t.Context(), ast.MustParseTerm(`{"a": [1, 2, 3]}`).Value)
			switch {
			case c.want == "error":
				if err == nil {
					t.Errorf("got %v, want an error", results)
				}
			case err != nil:
				t.Error(err)
			case c.want == "-":
				if len(results) != 0 {
					t.Errorf("got %v, want nothing", results)
				}
			case len(results) != 1 || results[0].Get(ast.StringTerm("x")).Value.Compare(ast.MustParseTerm(c.want).Value) != 0:
				t.Errorf("got %v, want %s", results, c.want)
			}
		})
	}
}

func make17() []ir.Operand {
	args := make([]ir.Operand, 17)
	for i := range args {
		args[i] = str(0)
	}
	return args
}

// unknown is a statement that no OPA has.
type unknown struct{ ir.NopStmt }

func TestLinkRefuses(t *testing.T) {
	function := func(params ...ir.Local) *ir.Func {
		return &ir.Func{Name: "f", Params: params, Return: 2, Path: []string{"g0", "f"}, Blocks: []*ir.Block{block(&ir.ReturnLocalStmt{Source: 2})}}
	}
	with := func(change func(*ir.Policy)) *ir.Policy {
		p := policyOf(block(result(0)...))
		change(p)
		return p
	}
	stmt := func(stmts ...ir.Stmt) *ir.Policy { return policyOf(block(stmts...)) }
	bad := ir.Operand{Value: ir.StringIndex(99)}
	for name, policy := range map[string]*ir.Policy{
		"nothing":              nil,
		"no query":             {},
		"two queries":          with(func(p *ir.Policy) { p.Plans.Plans = append(p.Plans.Plans, p.Plans.Plans[0]) }),
		"an unknown builtin":   with(func(p *ir.Policy) { p.Static.BuiltinFuncs[0].Name = "none" }),
		"the time":             with(func(p *ir.Policy) { p.Static.BuiltinFuncs[0].Name = "time.now_ns" }),
		"a token and the time": with(func(p *ir.Policy) { p.Static.BuiltinFuncs[0].Name = "io.jwt.decode_verify" }),
		"no input":             with(func(p *ir.Policy) { p.Funcs.Funcs = append(p.Funcs.Funcs, function(1, 0)) }),
		"a bad function": with(func(p *ir.Policy) {
			f := function(0, 1)
			f.Blocks = []*ir.Block{block(&unknown{})}
			p.Funcs.Funcs = append(p.Funcs.Funcs, f)
		}),
		"arguments": with(func(p *ir.Policy) {
			p.Funcs.Funcs = append(p.Funcs.Funcs, function(0, 1))
			p.Plans.Plans[0].Blocks = []*ir.Block{block(&ir.CallStmt{Func: "f"})}
		}),
		"an unknown function":   stmt(&ir.CallStmt{Func: "none", Result: 2}),
		"an unknown statement":  stmt(&unknown{}),
		"an unknown operand":    stmt(&ir.EqualStmt{A: str(0)}),
		"no text":               stmt(&ir.EqualStmt{A: bad, B: str(0)}),
		"no second text":        stmt(&ir.EqualStmt{A: str(0), B: bad}),
		"no number":             stmt(&ir.MakeNumberRefStmt{Index: 99, Target: 2}),
		"no source":             stmt(&ir.DotStmt{Source: bad, Key: str(0), Target: 2}),
		"no key":                stmt(&ir.DotStmt{Source: local(0), Key: bad, Target: 2}),
		"no argument":           stmt(&ir.CallStmt{Func: "count", Args: []ir.Operand{bad}, Result: 2}),
		"a dynamic argument":    stmt(&ir.CallDynamicStmt{Args: []ir.Local{0, 2}, Result: 2}),
		"no replacement":        stmt(&ir.WithStmt{Local: 0, Value: bad, Block: block()}),
		"no path":               stmt(&ir.WithStmt{Local: 0, Path: []int{99}, Value: str(0), Block: block()}),
		"a scan below not":      stmt(&ir.NotStmt{Block: block(&ir.ScanStmt{Source: 0, Key: 2, Value: 3, Block: block()})}),
		"nothing below not":     stmt(&ir.NotStmt{Block: block()}),
		"bad below a condition": stmt(&ir.NotStmt{Block: block(&unknown{}, &ir.AssignVarStmt{Source: ir.Operand{Value: ir.Bool(true)}, Target: 9}, &ir.IsDefinedStmt{Source: 9})}),
		"bad in a block":        stmt(&ir.BlockStmt{Blocks: []*ir.Block{block(&unknown{})}}),
		"bad among look-ups":    stmt(&ir.BlockStmt{Blocks: []*ir.Block{block(&ir.BlockStmt{Blocks: []*ir.Block{block(&ir.CallStmt{Func: "none"}, &ir.BreakStmt{Index: 1})}}, &ir.BreakStmt{Index: 1})}}),
	} {
		if _, err := Link(policy); err == nil {
			t.Errorf("%s: linked", name)
		}
	}
}

// A machine that waits for the next evaluation must not keep the last input, nor what was
// made of it.
func TestMachineForgets(t *testing.T) {
	q := queryOf(t, policyOf(block(append([]ir.Stmt{
		&ir.DotStmt{Source: local(0), Key: str(1), Target: 2},
		&ir.CallStmt{Func: "walk", Args: []ir.Operand{local(2)}, Result: 3},
		&ir.CallStmt{Func: "count", Args: []ir.Operand{local(3)}, Result: 5},
		&ir.MakeNullStmt{Target: 6}, &ir.CallStmt{Func: "walk", Args: []ir.Operand{local(6)}, Result: 7},
	}, result(2)...)...)))
	m := newMachine(q)
	input, value := func() (weak.Pointer[ast.Array], weak.Pointer[ast.Term]) {
		array := ast.NewArray(ast.StringTerm("secret"), ast.StringTerm("more"), ast.StringTerm("most"))
		object := ast.NewObject(ast.Item(ast.StringTerm("a"), ast.NewTerm(array)))
		results, err := m.eval(t.Context(), object)
		if err != nil || len(results) != 1 {
			t.Fatal(results, err)
		}
		return weak.Make(array), weak.Make(array.Elem(1))
	}()
	m.reset()
	for range 3 {
		runtime.GC()
	}
	if input.Value() != nil || value.Value() != nil {
		t.Error("the last input is still held")
	}
	runtime.KeepAlive(m)
}

// errPlan and conflicts can be told apart from what rules undefine.
func TestErrors(t *testing.T) {
	q := queryOf(t, policyOf(block(&ir.AssignVarOnceStmt{Target: 5, Source: str(0)}, &ir.AssignVarOnceStmt{Target: 5, Source: str(1)})))
	if _, err := q.Eval(t.Context(), nil); !errors.Is(err, ErrConflict) {
		t.Errorf("got %v, want a conflict", err)
	}
	q = queryOf(t, policyOf(block(&ir.SetAddStmt{Set: 5, Value: str(0)})))
	if _, err := q.Eval(t.Context(), nil); !errors.Is(err, errPlan) {
		t.Errorf("got %v, want a malformed plan", err)
	}
}

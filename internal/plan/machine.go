package plan

import (
	"context"
	"fmt"
	"math"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/metrics"
	"github.com/open-policy-agent/opa/v1/topdown"
)

const (
	// What running a block comes to, besides the number of blocks to be left after it.
	done     = -1            // all statements were run
	left     = 0             // a statement was undefined: the block is left
	finished = math.MaxInt32 // the function returns, or there is an error

	stackSize  = 1024 // locals; a machine that needs more gets more
	maxArgs    = 16   // of a builtin
	checkEvery = 256  // steps between two looks at the context
)

// machine runs programs, one evaluation at a time.
type machine struct {
	query   *Query
	ctx     context.Context
	stack   []*ast.Term // frames of the functions that are running
	top     int
	frame   []*ast.Term // locals of the function that is running
	fields  []memo      // of the input
	memos   []memo      // by the id of functions
	results []ast.Object
	value   *ast.Term // returned by a function
	err     error
	steps   int

	args    [maxArgs]*ast.Term // of the builtin that is called
	outputs []*ast.Term        // of a builtin
	output  func(*ast.Term) error
	context topdown.BuiltinContext
	found   []int32    // by an index
	spare   []*members // to be used again
}

// memo is a value that is known already, nil when it is undefined.
type memo struct {
	value *ast.Term
	known bool
}

func newMachine(q *Query) *machine {
	m := &machine{
		query: q, stack: make([]*ast.Term, stackSize),
		fields: make([]memo, len(q.program.fields)), memos: make([]memo, q.program.functions),
	}
	m.output = func(t *ast.Term) error {
		m.outputs = append(m.outputs, t)
		return nil
	}
	m.context = topdown.BuiltinContext{Metrics: metrics.NoOp(), Cancel: (*canceller)(m), InterQueryBuiltinValueCache: q.values, Capabilities: &ast.Capabilities{AllowNet: []string{}}}
	return m
}

// canceller lets long builtins look whether the context has ended.
type canceller machine

func (*canceller) Cancel() {}

func (c *canceller) Cancelled() bool { return c.ctx.Err() != nil }

// reset drops all that an evaluation has left.
func (m *machine) reset() {
	clear(m.stack[:m.top])
	clear(m.fields)
	clear(m.memos)
	clear(m.args[:])
	clear(m.outputs[:cap(m.outputs)])
	m.found = m.found[:0]
	m.top, m.frame, m.results, m.value, m.err, m.ctx, m.context.Context = 0, nil, nil, nil, nil, nil, nil
}

func (m *machine) eval(ctx context.Context, input ast.Value) ([]ast.Object, error) {
	m.ctx, m.context.Context = ctx, ctx
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	m.frame = m.push(m.query.program.locals)
	if input != nil {
		m.frame[0] = ast.NewTerm(input)
	}
	m.frame[1] = m.query.data
	for i := range m.query.program.main {
		if m.run(m.query.program.main[i]) == finished {
			break
		}
	}
	return m.results, m.err
}

// push makes room for the locals of a function, all of them undefined.
func (m *machine) push(locals int) []*ast.Term {
	if m.top+locals > len(m.stack) {
		// Frames below stay where they are; whoever called restores the stack.
		m.stack, m.top = make([]*ast.Term, 2*len(m.stack)+locals), 0
	}
	frame := m.stack[m.top : m.top+locals : m.top+locals]
	m.top += locals
	return frame
}

// fail ends the evaluation.
func (m *machine) fail(err error) int {
	m.err = err
	return finished
}

// get is the value of an operand, nil when it is undefined.
func (m *machine) get(o *operand) *ast.Term {
	if o.constant != nil {
		return o.constant
	}
	if o.growing {
		return m.grown(o.local)
	}
	return m.frame[o.local]
}

// grown is the value of a local that may be under construction, which ends here.
func (m *machine) grown(local int32) *ast.Term {
	t := m.frame[local]
	if t == nil {
		return nil
	}
	// Nobody else has seen the term yet.
	switch v := t.Value.(type) {
	case *growing:
		t.Value = ast.NewArray(v.elements...)
	case *members:
		t.Value = ast.NewObject(v.list...)
		clear(v.list)
		m.spare = append(m.spare, v)
	}
	return t
}

// object is an object under construction.
func (m *machine) object() *members {
	last := len(m.spare) - 1
	if last < 0 {
		return &members{list: make([][2]*ast.Term, 0, maxMembers)}
	}
	o := m.spare[last]
	o.list, m.spare = o.list[:0], m.spare[:last]
	return o
}

// run runs the statements of a block and returns what it comes to.
func (m *machine) run(block code) int {
	for i := range block {
		in := &block[i]
		r := done
		switch in.op {
		case opAssign:
			m.frame[in.target] = m.get(&in.a)
		case opReset:
			m.frame[in.target] = nil
		case opBase:
			t := m.query.resolved[in.n]
			if t == nil {
				return left
			}
			if t == unclear {
				return m.fail(errStore)
			}
			m.frame[in.target] = t
		case opField:
			t := m.field(in.n)
			if t == nil {
				return left
			}
			m.frame[in.target] = t
		case opDot:
			t := dot(m.get(&in.a), m.get(&in.b))
			if t == nil {
				if storeKnows(m.get(&in.a), m.get(&in.b)) {
					return m.fail(errStore)
				}
				return left
			}
			m.frame[in.target] = t
		case opEqual:
			if !equal(m.get(&in.a), m.get(&in.b)) {
				return left
			}
		case opNotEqual:
			if equal(m.get(&in.a), m.get(&in.b)) {
				return left
			}
		case opIsDefined:
			if m.frame[in.a.local] == nil {
				return left
			}
		case opIsUndefined:
			if m.frame[in.a.local] != nil {
				return left
			}
		case opBreak:
			return int(in.n)
		case opReturn:
			m.value = m.get(&in.a)
			return finished
		case opCall:
			r = m.call(in)
		case opBuiltin:
			r = m.callBuiltin(in)
		case opBlocks:
			r = m.sequence(in.blocks)
		case opScan:
			r = m.scan(in)
		case opNot:
			r = m.negate(in)
		case opPrefixes:
			r = m.prefixed(in.prefixes)
		default:
			r = m.build(in)
		}
		if r != done {
			return r
		}
	}
	return done
}

// sequence runs blocks one after another.
func (m *machine) sequence(blocks []code) int {
	for i := range blocks {
		switch r := m.run(blocks[i]); {
		case r == finished:
			return finished
		case r > left:
			return r - 1
		}
	}
	return done
}

// negate runs the block of a negation.
func (m *machine) negate(in *instr) int {
	if in.target < 0 {
		switch r := m.run(in.blocks[0]); {
		case r == done:
			return left
		case r == left:
			return done
		case r == finished:
			return finished
		default:
			return r - 1
		}
	}
	m.frame[in.target] = nil
	switch r := m.run(in.blocks[0]); {
	case r == finished:
		return finished
	case r > left:
		return r - 1
	case m.frame[in.target] != nil:
		return left
	default:
		return done
	}
}

// prefixed runs the blocks that an index finds.
func (m *machine) prefixed(x *prefixes) int {
	t := m.field(x.field)
	if t == nil {
		return left
	}
	text, ok := t.Value.(ast.String)
	if !ok {
		return left
	}
	start := len(m.found) // a body may use an index, too
	m.found = x.of(string(text), m.found)
	r := done
	for i := start; i < len(m.found) && r <= left; i++ {
		r = m.run(x.blocks[m.found[i]])
	}
	m.found = m.found[:start]
	return max(r, left)
}

// field is a field of the input, looked up once in an evaluation.
func (m *machine) field(n int32) *ast.Term {
	known := &m.fields[n]
	if !known.known {
		known.known = true
		known.value = dot(m.frame[0], m.query.program.fields[n]) // the same in every frame
	}
	return known.value
}

// call calls a function of the plan.
func (m *machine) call(in *instr) int {
	fn := in.fn
	if fn.id >= 0 {
		if known := &m.memos[fn.id]; known.known {
			return m.set(in.target, known.value)
		}
	}
	if r := m.step(); r != done {
		return r
	}
	stack, top, caller := m.stack, m.top, m.frame
	callee := m.push(fn.locals)
	for i, param := range fn.params {
		callee[param] = m.get(&in.args[i])
	}
	value := m.invoke(fn, callee)
	clear(callee)
	m.stack, m.top, m.frame = stack, top, caller
	if m.err != nil {
		return finished
	}
	return m.set(in.target, value)
}

// invoke runs a function over its locals and returns its value.
func (m *machine) invoke(fn *function, locals []*ast.Term) *ast.Term {
	m.frame, m.value = locals, nil
	for i := range fn.blocks {
		if m.run(fn.blocks[i]) == finished {
			break
		}
	}
	value := m.value
	m.value = nil
	if fn.id >= 0 && m.err == nil {
		m.memos[fn.id] = memo{value: value, known: true}
	}
	return value
}

// set gives a local the value of a call; undefined leaves the block.
func (m *machine) set(target int32, value *ast.Term) int {
	m.frame[target] = value
	if value == nil {
		return left
	}
	return done
}

// step counts, and looks at the context now and then.
func (m *machine) step() int {
	if m.steps++; m.steps%checkEvery == 0 && m.ctx.Err() != nil {
		return m.fail(context.Cause(m.ctx))
	}
	return done
}

// callBuiltin calls a function of OPA. When it fails, its value is undefined, except that
// some failures end the evaluation.
func (m *machine) callBuiltin(in *instr) int {
	if len(in.args) > maxArgs {
		return m.fail(fmt.Errorf("call of %s with %d arguments", in.builtin.name, len(in.args)))
	}
	for i := range in.args {
		m.args[i] = m.get(&in.args[i])
	}
	if in.builtin.get {
		if value, ok := tableGet(m.args[0], m.args[1], m.args[2]); ok {
			return m.set(in.target, value)
		}
	}
	for i := range in.args {
		if m.args[i] = solid(m.args[i]); m.args[i] == nil {
			return left
		}
	}
	m.outputs = m.outputs[:0]
	err := in.builtin.call(m.context, m.args[:len(in.args):len(in.args)], m.output)
	switch halt, isHalt := err.(topdown.Halt); { //nolint:errorlint // as topdown tells them apart
	case err != nil && m.ctx.Err() != nil:
		return m.fail(context.Cause(m.ctx))
	case isHalt:
		return m.fail(halt.Err)
	case err != nil:
		return m.set(in.target, nil)
	case in.builtin.void:
		return done
	case in.builtin.relation:
		return m.set(in.target, ast.ArrayTerm(append([]*ast.Term(nil), m.outputs...)...))
	case len(m.outputs) == 0:
		return m.set(in.target, nil)
	default:
		return m.set(in.target, m.outputs[0])
	}
}

// tableGet is object.get for tables: converting all of a table for one key would be a
// waste. It is false where the builtin has to answer.
func tableGet(object, key, otherwise *ast.Term) (*ast.Term, bool) {
	if object == nil || key == nil {
		return nil, false
	}
	large, ok := object.Value.(*table)
	if !ok {
		return nil, false
	}
	if _, isPath := key.Value.(*ast.Array); isPath {
		return nil, false
	}
	if value := large.get(key); value != nil {
		return value, true
	}
	return otherwise, true
}

// scan runs a block for each element of a value; of anything but a collection, never.
func (m *machine) scan(in *instr) int {
	source := m.get(&in.a)
	if source == nil {
		return done
	}
	body := in.blocks[0]
	switch v := solid(source).Value.(type) {
	case *ast.Array:
		for i := range v.Len() {
			if r := m.visit(in, body, ast.InternedTerm(i), v.Elem(i)); r != done {
				return r
			}
		}
	case ast.Object:
		for _, key := range v.Keys() {
			if r := m.visit(in, body, key, v.Get(key)); r != done {
				return r
			}
		}
	case ast.Set:
		for _, element := range v.Slice() {
			if r := m.visit(in, body, element, element); r != done {
				return r
			}
		}
	}
	return done
}

// visit runs the block of a scan once. Undefined only ends this turn.
func (m *machine) visit(in *instr, body code, key, value *ast.Term) int {
	if r := m.step(); r != done {
		return r
	}
	m.frame[in.target], m.frame[in.second] = key, value
	switch r := m.run(body); {
	case r <= left:
		return done
	case r == finished:
		return r
	default:
		return r - 1
	}
}

package plan

import (
	"errors"
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"
)

// build runs the statements that make values, and those that are rare.
func (m *machine) build(in *instr) int {
	switch in.op {
	case opAssignOnce:
		value := m.get(&in.a)
		if known := m.frame[in.target]; known != nil && !equal(known, value) {
			return m.fail(fmt.Errorf("%w: a rule has two values", ErrConflict))
		}
		m.frame[in.target] = value
	case opIsArray:
		return is[*ast.Array](m.get(&in.a))
	case opIsObject:
		return isObject(m.get(&in.a))
	case opIsSet:
		return is[ast.Set](m.get(&in.a))
	case opLen:
		n, ok := length(m.get(&in.a))
		if !ok {
			return left
		}
		m.frame[in.target] = ast.InternedTerm(n)
	case opNewArray:
		m.frame[in.target] = &ast.Term{Value: &growing{elements: make([]*ast.Term, 0, in.n)}}
	case opAppend:
		return m.add(in)
	case opNewObject:
		m.frame[in.target] = &ast.Term{Value: m.object()}
	case opNewSet:
		m.frame[in.target] = ast.NewTerm(ast.NewSet())
	case opInsert, opInsertOnce:
		return m.insert(in)
	case opAdd:
		set, ok := m.target(in).(ast.Set)
		if !ok {
			return m.fail(fmt.Errorf("%w: no set to add to", errPlan))
		}
		value := solid(m.get(&in.a))
		if value == nil {
			return m.fail(fmt.Errorf("%w: an undefined member", errPlan))
		}
		set.Add(value)
	case opMerge:
		merged, err := merge(m.get(&in.a), m.get(&in.b))
		if err != nil {
			return m.fail(err)
		}
		m.frame[in.target] = merged
	case opResult:
		object, ok := m.whole(in).(ast.Object)
		if !ok {
			return m.fail(fmt.Errorf("%w: a result is no object", errPlan))
		}
		m.results = append(m.results, object)
	case opDynamic:
		return m.callDynamic(in)
	case opWith:
		return m.with(in)
	default:
		return m.fail(fmt.Errorf("%w: unknown statement %d", errPlan, in.op))
	}
	return done
}

// errPlan says that a plan is not as OPA's planner makes them.
var errPlan = errors.New("the plan is malformed")

// target is the value of the local that an instruction changes, nil when it is undefined.
func (m *machine) target(in *instr) ast.Value {
	if t := m.frame[in.target]; t != nil {
		return t.Value
	}
	return nil
}

// whole is the same for what is not to be changed any more.
func (m *machine) whole(in *instr) ast.Value {
	m.grown(in.target)
	return m.target(in)
}

// add appends to an array under construction.
func (m *machine) add(in *instr) int {
	value := solid(m.get(&in.a))
	if value == nil {
		return m.fail(fmt.Errorf("%w: an undefined member", errPlan))
	}
	switch array := m.target(in).(type) {
	case *growing:
		array.elements = append(array.elements, value)
	case *ast.Array: // it was used meanwhile
		m.frame[in.target] = ast.NewTerm(array.Append(value))
	default:
		return m.fail(fmt.Errorf("%w: no array to append to", errPlan))
	}
	return done
}

func (m *machine) insert(in *instr) int {
	key, value := solid(m.get(&in.a)), solid(m.get(&in.b))
	if key == nil || value == nil {
		return m.fail(fmt.Errorf("%w: an undefined member", errPlan))
	}
	if o, ok := m.target(in).(*members); ok && len(o.list) < maxMembers {
		if i := o.find(key); i < 0 {
			o.list = append(o.list, [2]*ast.Term{key, value})
		} else if !equal(o.list[i][1], value) {
			return m.fail(fmt.Errorf("%w: a key has two values", ErrConflict))
		}
		return done
	}
	object, ok := m.whole(in).(ast.Object)
	if !ok {
		return m.fail(fmt.Errorf("%w: no object to insert into", errPlan))
	}
	if known := object.Get(key); known != nil && !equal(known, value) {
		// An object written down with two equal keys has one of the values: which, topdown knows.
		return m.fail(fmt.Errorf("%w: a key has two values", ErrConflict))
	}
	object.Insert(key, value)
	return done
}

// callDynamic calls the rule that a path leads to; without one the block is left. A
// rule that is undefined is the end of all that the planner put around the call.
func (m *machine) callDynamic(in *instr) int {
	var path []byte
	for i := range in.args {
		t := m.get(&in.args[i])
		if t == nil {
			return left
		}
		text, ok := t.Value.(ast.String)
		if !ok {
			return left
		}
		path = appendKey(path, string(text))
	}
	fn := m.query.program.dynamic[string(path)]
	if fn == nil {
		return left
	}
	if len(fn.params) != 2 {
		return m.fail(fmt.Errorf("%w: a dynamic call of a function with arguments", errPlan))
	}
	call := &instr{op: opCall, target: in.target, fn: fn, args: []operand{{local: 0}, {local: 1}}}
	if r := m.call(call); r != left {
		return r
	}
	return 3
}

// with runs a block while a local, or what lies below it, is replaced. What functions
// returned before does not count in it, and what they return in it does not count after.
func (m *machine) with(in *instr) int {
	value := solid(m.get(&in.a))
	before, memos := m.frame[in.target], m.memos
	if len(in.keys) > 0 {
		value = upsert(before, in.keys, value)
	}
	m.memos = make([]memo, len(memos))
	m.frame[in.target] = value
	r := m.run(in.blocks[0])
	m.frame[in.target], m.memos = before, memos
	switch {
	case r == done:
		return done
	case r == left:
		return left
	case r == finished:
		return finished
	default:
		return r - 1
	}
}

// upsert is a copy of an object with a value at a path, of which what is missing or no
// object is made.
func upsert(t *ast.Term, path []*ast.Term, value *ast.Term) *ast.Term {
	if len(path) == 0 {
		return value
	}
	var below *ast.Term
	copied := ast.NewObject()
	if t = solid(t); t != nil {
		if object, ok := t.Value.(ast.Object); ok {
			object.Foreach(copied.Insert)
			below = object.Get(path[0])
		}
	}
	copied.Insert(path[0], upsert(below, path[1:], value))
	return ast.NewTerm(copied)
}

// dot is the value under a key, nil when there is none.
func dot(source, key *ast.Term) *ast.Term {
	if source == nil || key == nil {
		return nil
	}
	switch v := source.Value.(type) {
	case ast.Object:
		return v.Get(solid(key))
	case *table:
		return v.get(key)
	case *ast.Array:
		return v.Get(key)
	case ast.Set:
		if key = solid(key); v.Contains(key) {
			return key
		}
	}
	return nil
}

func equal(a, b *ast.Term) bool {
	if a == nil || b == nil {
		return a == b
	}
	if a == b {
		return true
	}
	return ast.ValueEqual(solid(a).Value, solid(b).Value)
}

// is leaves the block unless a value is of a type.
func is[T ast.Value](t *ast.Term) int {
	if t != nil {
		if _, ok := t.Value.(T); ok {
			return done
		}
	}
	return left
}

func isObject(t *ast.Term) int {
	if is[*table](t) == done {
		return done
	}
	return is[ast.Object](t)
}

func length(t *ast.Term) (int, bool) {
	if t == nil {
		return 0, false
	}
	switch v := t.Value.(type) {
	case *table:
		return len(v.native), true
	case *ast.Array:
		return v.Len(), true
	case ast.Object:
		return v.Len(), true
	case ast.Set:
		return v.Len(), true
	default:
		return 0, false
	}
}

// merge merges objects key by key, and the objects below their keys. One of them may be
// undefined.
func merge(a, b *ast.Term) (*ast.Term, error) {
	if a == nil || b == nil {
		return solid(orElse(a, b)), nil
	}
	first, ok := solid(a).Value.(ast.Object)
	second, also := solid(b).Value.(ast.Object)
	if !ok || !also {
		return nil, fmt.Errorf("%w: base and virtual documents", ErrConflict)
	}
	merged, ok := first.Merge(second)
	if !ok {
		return nil, fmt.Errorf("%w: base and virtual documents", ErrConflict)
	}
	return ast.NewTerm(merged), nil
}

func orElse(a, b *ast.Term) *ast.Term {
	if a != nil {
		return a
	}
	return b
}

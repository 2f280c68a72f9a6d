package plan

import (
	"maps"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/ir"
)

// minPrefixed is how many blocks in a row are worth an index.
const minPrefixed = 8

// prefixes finds, among the bodies of a partial set that each ask whether one field of
// the input begins with a constant, those for which it does. It does for plans what
// OPA's rule index does for rules. Other bodies need not be run: startswith would leave
// them before they have any effect.
type prefixes struct {
	field    int32
	lengths  []int              // of the constants, ascending
	byPrefix map[string][]int32 // indices of blocks
	blocks   []code
}

// of appends the blocks to run for a text, in their order.
func (x *prefixes) of(text string, into []int32) []int32 {
	start := len(into)
	for _, n := range x.lengths {
		if n > len(text) {
			break
		}
		into = append(into, x.byPrefix[text[:n]]...)
	}
	slices.Sort(into[start:])
	return into
}

// prefixed returns how many of the blocks, from the first on, an index can stand for,
// and the index, still without code.
func (l *linker) prefixed(blocks []*ir.Block) (*prefixes, int) {
	if l.mutableInput {
		return nil, 0
	}
	index := &prefixes{byPrefix: map[string][]int32{}}
	var field string
	n := 0
	for _, block := range blocks {
		key, prefix, ok := l.asksForPrefix(block)
		if !ok || n > 0 && key != field {
			break
		}
		field = key
		index.byPrefix[prefix] = append(index.byPrefix[prefix], int32(n))
		n++
	}
	if n < minPrefixed {
		return nil, 0
	}
	lengths := map[int]bool{}
	for prefix := range index.byPrefix {
		lengths[len(prefix)] = true
	}
	index.lengths = slices.Sorted(maps.Keys(lengths))
	index.field = l.field(ast.InternedTerm(field))
	return index, n
}

// index links the blocks that an index stands for.
func (l *linker) index(x *prefixes, blocks []*ir.Block) error {
	for _, block := range blocks {
		linked, err := l.block(block)
		if err != nil {
			return err
		}
		x.blocks = append(x.blocks, linked)
	}
	return nil
}

// asksForPrefix reports whether a block is a body of a partial set of the form
//
//	reset
//	t = input[field]
//	u = t
//	r = startswith(u, prefix)
//	r != false
//	…
//	add to the set
//
// so that it has no effect unless the field begins with the prefix.
func (l *linker) asksForPrefix(block *ir.Block) (field, prefix string, ok bool) {
	stmts := block.Stmts
	if len(stmts) < 6 {
		return "", "", false
	}
	if _, set := stmts[len(stmts)-1].(*ir.SetAddStmt); !set {
		return "", "", false
	}
	_, reset := stmts[0].(*ir.ResetLocalStmt)
	dot, isDot := stmts[1].(*ir.DotStmt)
	assign, isAssign := stmts[2].(*ir.AssignVarStmt)
	call, isCall := stmts[3].(*ir.CallStmt)
	check, isCheck := stmts[4].(*ir.NotEqualStmt)
	if !reset || !isDot || !isAssign || !isCall || !isCheck || call.Func != ast.StartsWith.Name || len(call.Args) != 2 {
		return "", "", false
	}
	key, isText := dot.Key.Value.(ir.StringIndex)
	constant, isConstant := call.Args[1].Value.(ir.StringIndex)
	if !isText || !isConstant || dot.Source.Value != ir.Input || assign.Source.Value != dot.Target ||
		call.Args[0].Value != assign.Target || check.A.Value != call.Result || check.B.Value != ir.Bool(false) {
		return "", "", false
	}
	strings := l.policy.Static.Strings
	return strings[key].Value, strings[constant].Value, true
}

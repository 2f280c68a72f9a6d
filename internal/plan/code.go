package plan

import (
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// code is a block of statements.
type code []instr

// op says what a statement does. Those that find nothing leave their block.
type op uint8

const (
	opAssign      op = iota // target = a
	opAssignOnce            // the same, or nothing when they are equal, or a conflict
	opReset                 // target is undefined
	opBase                  // target = the base document at path n
	opField                 // target = field n of the input
	opDot                   // target = a[b]
	opEqual                 // a is b
	opNotEqual              // a is not b
	opIsArray               // a is an array, and so on
	opIsObject              //
	opIsSet                 //
	opIsDefined             //
	opIsUndefined           //
	opLen                   // target = the length of a
	opCall                  // target = fn(args)
	opBuiltin               // target = builtin(args)
	opDynamic               // target = what the path args leads to, called with the input and the data
	opBlocks                // run blocks one after another
	opNot                   // the block is left early
	opScan                  // run the block for each key, target, and value, second, of a
	opWith                  // run the block with target, or what lies below it at keys, replaced by a
	opBreak                 // leave n blocks besides this one
	opReturn                // return a
	opNewArray              // target = []
	opAppend                // append a to the array target
	opNewObject             // target = {}
	opInsert                // target[a] = b
	opInsertOnce            // the same, or nothing when they are equal, or a conflict
	opMerge                 // target = a and b merged
	opNewSet                // target = set()
	opAdd                   // add a to the set target
	opResult                // target is a result of the query
	opPrefixes              // run the blocks whose prefix begins the text a
)

// instr is one statement. Which fields have a meaning depends on op.
type instr struct {
	op             op
	target, second int32
	n              int32
	a, b           operand
	args           []operand
	blocks         []code
	fn             *function
	builtin        *builtin
	keys           []*ast.Term
	prefixes       *prefixes
}

// operand is a constant or a local variable.
type operand struct {
	constant *ast.Term // nil for a variable
	local    int32
	growing  bool // the variable may hold an array or an object under construction
}

// function is a rule, with an argument list of its own when it is a function of Rego.
type function struct {
	id     int // index of its memo, -1 when its value depends on arguments
	locals int
	params []int32
	blocks []code
}

// builtin is a function of OPA.
type builtin struct {
	call     topdown.BuiltinFunc
	name     string
	void     bool // it has no result
	relation bool // it has any number of results, which are taken as an array
	get      bool // it is object.get, which tables answer themselves
}

// growing is an array under construction. OPA's arrays are copied with each append.
type growing struct {
	ast.Null // only to be an [ast.Value]; never seen outside of a frame

	elements []*ast.Term
}

// members is an object under construction. OPA's objects allocate for each insertion,
// and much less when they are made of all members at once.
type members struct {
	ast.Null // as above

	list [][2]*ast.Term
}

// maxMembers is how many members are looked through for a key.
const maxMembers = 16

// find returns the index of a key, -1 when it is not there.
func (o *members) find(key *ast.Term) int {
	for i := range o.list {
		if equal(o.list[i][0], key) {
			return i
		}
	}
	return -1
}

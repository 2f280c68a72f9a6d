package engine

import (
	"encoding/binary"
	"slices"
	"sync"

	"github.com/westworld-charter/charter/internal/space"
)

const (
	// maxClasses bounds what names of questions can make the engine remember.
	maxClasses = 1 << 16
	// usualGlobs is how many globs may match a name before a list of them needs
	// memory of its own.
	usualGlobs = 16
	// usualRow is the usual size of the content of a class.
	usualRow = 256
)

// classes turns names into classes. Two names are of one class when the tables
// hold the same about both by their exact names and the globs that match have
// the same rows: then no rule can tell them apart. It is safe for concurrent
// use.
type classes struct {
	table    map[string]any    // rows by exact name
	profiles map[string]uint32 // sets of selectors by exact name
	globs    *space.Index
	rows     []uint32 // by glob: globs with the same number have the same row

	numbers interner
	memo    *memo[uint32]
}

// of returns the class of a name, which is not 0; false when no valid question has
// the name or there are too many classes. The cost follows the length of the name, not the size of the charter.
func (c *classes) of(name string) (uint32, bool) {
	if class := c.memo.get(name); class != nil {
		return *class, true
	}
	if name == "" || !valid(name) {
		return 0, false
	}
	class, ok := c.resolve(name)
	if ok {
		c.memo.put([]byte(name), class)
	}
	return class, ok
}

func (c *classes) resolve(name string) (uint32, bool) {
	var room [usualRow]byte
	content := binary.LittleEndian.AppendUint32(room[:0], c.profiles[name])
	if row, ok := c.table[name]; ok {
		content = appendContent(content, row)
	} else {
		content = append(content, '-') // with which no value begins
	}
	var list [usualGlobs]uint32
	rows := list[:0]
	c.globs.Match(name, func(i int) bool {
		rows = append(rows, c.rows[i])
		return true
	})
	slices.Sort(rows)
	for _, row := range slices.Compact(rows) {
		content = binary.LittleEndian.AppendUint32(content, row)
	}
	return c.numbers.of(content)
}

// interner numbers contents from 1, up to [maxClasses] of them. The zero value
// is ready; it is safe for concurrent use.
type interner struct {
	mu    sync.RWMutex
	known map[string]uint32
}

// of returns the number of a content; false when there are too many.
func (n *interner) of(content []byte) (uint32, bool) {
	n.mu.RLock()
	number, ok := n.known[string(content)]
	n.mu.RUnlock()
	if ok {
		return number, true
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	number, ok = n.known[string(content)]
	if ok || len(n.known) >= maxClasses {
		return number, ok
	}
	if n.known == nil {
		n.known = map[string]uint32{}
	}
	number = uint32(len(n.known) + 1)
	n.known[string(content)] = number
	return number, true
}

// numbering numbers texts of questions from 1, the empty one 0, up to
// [maxClasses] of them. It is safe for concurrent use.
type numbering struct {
	valid   func(string) bool
	numbers interner
	memo    *memo[uint32]
}

func newNumbering(valid func(string) bool) *numbering {
	return &numbering{valid: valid, memo: newMemo[uint32](fewNames)}
}

// of returns the number of a text; false when it is not valid or there are too many.
func (n *numbering) of(text string) (uint32, bool) {
	if text == "" {
		return 0, true
	}
	if number := n.memo.get(text); number != nil {
		return *number, true
	}
	if !n.valid(text) {
		return 0, false
	}
	number, ok := n.numbers.of([]byte(text))
	if ok {
		n.memo.put([]byte(text), number)
	}
	return number, ok
}

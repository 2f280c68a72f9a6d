package charter

import "github.com/westworld-charter/charter/internal/diag"

// node is a YAML value with its place, aliases resolved: what decoding needs of
// the library's nodes in a third of the memory.
type node struct {
	kind      kind
	tag       tag // of scalars
	line, col int32
	text      string  // of scalars
	items     []*node // of lists; keys and values in turn of mappings
}

type kind uint8

const (
	scalarNode kind = iota
	listNode
	mappingNode
)

// tag is the type of a scalar.
type tag uint8

const (
	tagText tag = iota
	tagNull
	tagBool
	tagInt
	tagFloat
	tagTime
	tagOther
)

// tagOf translates the short tags of the YAML library.
func tagOf(short string) tag {
	switch short {
	case "!!str":
		return tagText
	case "!!null":
		return tagNull
	case "!!bool":
		return tagBool
	case "!!int":
		return tagInt
	case "!!float":
		return tagFloat
	case "!!timestamp":
		return tagTime
	}
	return tagOther
}

// Source is the place where an entry was written. The zero Source is nowhere.
type Source struct {
	file string
	node *node
}

// Pos is the place of the entry itself.
func (s Source) Pos() diag.Pos {
	return s.at(s.node)
}

// Field is the place of the value of one field of the entry, or of the entry
// when the field is absent.
func (s Source) Field(name string) diag.Pos {
	return s.at(s.field(name))
}

// Item is the place of the i-th value of a list field, or of the nearest thing
// that exists.
func (s Source) Item(name string, i int) diag.Pos {
	n := s.field(name)
	if n != nil && n.kind == listNode && i >= 0 && i < len(n.items) {
		n = n.items[i]
	}
	return s.at(n)
}

// Has reports whether the entry has the field.
func (s Source) Has(name string) bool {
	return s.node != nil && s.field(name) != s.node
}

func (s Source) field(name string) *node {
	n := s.node
	if n == nil || n.kind != mappingNode {
		return n
	}
	for i := 0; i+1 < len(n.items); i += 2 {
		if n.items[i].text == name {
			return n.items[i+1]
		}
	}
	return n
}

func (s Source) at(n *node) diag.Pos {
	if n == nil {
		return diag.Pos{File: s.file}
	}
	return diag.Pos{File: s.file, Line: int(n.line), Col: int(n.col)}
}

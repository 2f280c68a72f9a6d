package charter

import (
	"strings"
)

// parsePlain reads the part of YAML that charters are mostly written in: block
// mappings and lists, flow mappings and lists, plain and quoted scalars of one
// line, comments. Of anything else, errors included, it reports false, and the
// YAML library reads the text. What it does accept, the library reads the same
// way to the same tree (FuzzPlain compares), but takes several times as long.
// Limits on depth and number that are exceeded are left to it to report.
func parsePlain(text []byte, lim Limits) (*node, bool) {
	p := plainParser{src: string(text), line: 1, depth: lim.Depth, room: lim.Nodes}
	p.nextLine()
	if p.eof || !p.atKey() {
		return nil, false
	}
	root := p.mapping(p.indent, 1)
	return root, !p.failed && p.eof
}

// maxPlainKey is the longest key that parsePlain takes on.
const maxPlainKey = 128

// plainParser stands at src[pos] in line, which begins at start. Between values
// of block style it stands at the first character of a line, indent bytes in.
type plainParser struct {
	src     string
	pos     int
	line    int
	start   int
	indent  int
	eof     bool
	failed  bool
	depth   int // of nesting, at most
	room    int // for further values
	slab    []node
	pending []*node // children of the collections being read
	arena   []*node // room for children
}

func (p *plainParser) fail() *node {
	p.failed = true
	p.eof = true
	return nil
}

// peek is the character at offset from pos, a line break at the end.
func (p *plainParser) peek(offset int) byte {
	if p.pos+offset < len(p.src) {
		return p.src[p.pos+offset]
	}
	return '\n'
}

func (p *plainParser) node(kind kind) *node {
	const slab = 128
	if len(p.slab) == 0 {
		p.slab = make([]node, slab)
	}
	if p.room--; p.room < 0 {
		p.fail()
	}
	n := &p.slab[0]
	p.slab = p.slab[1:]
	n.kind, n.line, n.col = kind, int32(p.line), int32(p.pos-p.start+1)
	return n
}

// adopt gives n the children that were read since mark.
func (p *plainParser) adopt(n *node, mark int) *node {
	const arena = 512
	count := len(p.pending) - mark
	if count > len(p.arena) {
		p.arena = make([]*node, max(count, arena))
	}
	n.items = p.arena[:count:count]
	p.arena = p.arena[count:]
	copy(n.items, p.pending[mark:])
	p.pending = p.pending[:mark]
	return n
}

// endLine passes what may stand behind a value: blanks and a comment.
func (p *plainParser) endLine() {
	blanks := p.blanks()
	switch c := p.peek(0); {
	case c == '\n':
	case c == '#' && blanks > 0:
		p.comment()
	default:
		p.fail()
		return
	}
	p.nextLine()
}

func (p *plainParser) blanks() int {
	from := p.pos
	for p.peek(0) == ' ' {
		p.pos++
	}
	return p.pos - from
}

func (p *plainParser) comment() {
	if end := strings.IndexByte(p.src[p.pos:], '\n'); end >= 0 {
		p.pos += end
		return
	}
	p.pos = len(p.src)
}

// nextLine goes to the next line that holds more than a comment. It stands at
// the end of a line, or at the beginning of the text.
func (p *plainParser) nextLine() {
	for {
		if p.pos >= len(p.src) {
			p.eof = true
			p.indent = -1
			return
		}
		if p.src[p.pos] == '\n' {
			p.pos++
			p.line++
			p.start = p.pos
		}
		p.indent = p.blanks()
		switch {
		case p.pos >= len(p.src) || p.src[p.pos] == '\n':
		case p.src[p.pos] == '#':
			p.comment()
		default:
			return
		}
	}
}

// newline passes a line break.
func (p *plainParser) newline() {
	p.pos++
	p.line++
	p.start = p.pos
}

// mapping reads a block mapping whose keys stand indent bytes in.
func (p *plainParser) mapping(indent, depth int) *node {
	if depth >= p.depth {
		return p.fail()
	}
	n := p.node(mappingNode)
	mark := len(p.pending)
	for !p.eof && p.indent == indent {
		key := p.key()
		if key == nil {
			return p.fail()
		}
		p.pending = append(p.pending, key)
		value := p.valueOf(indent, depth+1)
		if value == nil {
			return p.fail()
		}
		p.pending = append(p.pending, value)
	}
	if p.indent > indent {
		return p.fail()
	}
	return p.adopt(n, mark)
}

// valueOf reads what stands behind the colon of a key that is indent bytes in.
func (p *plainParser) valueOf(indent, depth int) *node {
	blanks := p.blanks()
	if c := p.peek(0); c != '\n' && (c != '#' || blanks == 0) {
		return p.inline(indent, depth)
	}
	p.endLine()
	switch {
	case p.eof || p.indent < indent:
		return p.fail() // nothing: null
	case p.atDash():
		return p.sequence(p.indent, depth)
	case p.indent > indent:
		return p.block(depth)
	}
	return p.fail()
}

// block reads a value that begins a line.
func (p *plainParser) block(depth int) *node {
	switch {
	case p.atDash():
		return p.sequence(p.indent, depth)
	case p.atKey():
		return p.mapping(p.indent, depth)
	}
	return p.fail()
}

// inline reads a flow collection or scalar to the end of its last line. The next
// line must not be a part of it.
func (p *plainParser) inline(indent, depth int) *node {
	if c := p.peek(0); c == '>' || c == '|' {
		return p.blockScalar(indent)
	}
	n := p.flow(depth)
	if n == nil {
		n = p.scalar(false)
	}
	if n == nil {
		return p.fail()
	}
	p.endLine()
	if p.indent > indent {
		return p.fail()
	}
	return n
}

func (p *plainParser) atDash() bool {
	return p.peek(0) == '-' && (p.peek(1) == ' ' || p.peek(1) == '\n')
}

// sequence reads a block list whose dashes stand indent bytes in.
func (p *plainParser) sequence(indent, depth int) *node {
	if depth >= p.depth {
		return p.fail()
	}
	n := p.node(listNode)
	mark := len(p.pending)
	for !p.eof && p.indent == indent && p.atDash() {
		p.pos++
		item := p.item(indent, depth+1)
		if item == nil {
			return p.fail()
		}
		p.pending = append(p.pending, item)
	}
	return p.adopt(n, mark)
}

// item reads what stands behind a dash.
func (p *plainParser) item(indent, depth int) *node {
	blanks := p.blanks()
	switch c := p.peek(0); {
	case c == '\n', c == '#' && blanks > 0:
		p.endLine()
		if p.eof || p.indent <= indent {
			return p.fail()
		}
		return p.block(depth)
	case p.atKey():
		p.indent = p.pos - p.start
		return p.mapping(p.indent, depth)
	case p.atDash():
		return p.fail()
	}
	return p.inline(indent, depth)
}

// keyEnd is the length of the key at pos, 0 when there is none of the kind that
// is read here: letters, digits, dots, dashes and underscores, then a colon.
func (p *plainParser) keyEnd() int {
	for i := 0; i <= maxPlainKey; i++ {
		c := p.peek(i)
		switch {
		case c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_':
		case i > 0 && (c >= '0' && c <= '9' || c == '-' || c == '.'):
		case c == ':' && (p.peek(i+1) == ' ' || p.peek(i+1) == '\n'):
			return i
		default:
			return 0
		}
	}
	return 0
}

func (p *plainParser) atKey() bool { return p.keyEnd() > 0 }

// key reads a key and its colon.
func (p *plainParser) key() *node {
	end := p.keyEnd()
	if end == 0 {
		return nil
	}
	n := p.text(end)
	p.pos++
	return n
}

// flow reads a flow collection; nil when there is none, or after failing.
func (p *plainParser) flow(depth int) *node {
	if depth >= p.depth {
		return p.fail()
	}
	switch p.peek(0) {
	case '[':
		return p.collection(listNode, ']', depth)
	case '{':
		return p.collection(mappingNode, '}', depth)
	}
	return nil
}

func (p *plainParser) collection(kind kind, end byte, depth int) *node {
	n := p.node(kind)
	mark := len(p.pending)
	p.pos++
	for p.flowBlanks() && p.peek(0) != end {
		if kind == mappingNode {
			key := p.key()
			if key == nil || !p.flowBlanks() {
				return p.fail()
			}
			p.pending = append(p.pending, key)
		}
		value := p.flow(depth + 1)
		if value == nil {
			value = p.scalar(true)
		}
		if value == nil || !p.flowBlanks() {
			return p.fail()
		}
		p.pending = append(p.pending, value)
		if p.peek(0) == ',' {
			p.pos++
		} else if p.peek(0) != end {
			return p.fail()
		}
	}
	if p.failed {
		return nil
	}
	p.pos++
	return p.adopt(n, mark)
}

// flowBlanks passes blanks, line breaks and comments within a flow collection.
func (p *plainParser) flowBlanks() bool {
	for {
		blanks := p.blanks()
		switch c := p.peek(0); {
		case p.pos >= len(p.src):
			p.fail()
			return false
		case c == '\n':
			p.newline()
			if p.peek(0) == '-' || p.peek(0) == '.' || p.peek(0) == '%' {
				p.fail() // may end the document
				return false
			}
		case c == '#' && (blanks > 0 || p.pos == p.start):
			p.comment()
		default:
			return !p.failed
		}
	}
}

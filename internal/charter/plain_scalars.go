package charter

import (
	"strings"

	"gopkg.in/yaml.v3"
)

// text reads a plain scalar of that length.
func (p *plainParser) text(length int) *node {
	n := p.node(scalarNode)
	n.text = p.src[p.pos : p.pos+length]
	n.tag = plainTag(n.text)
	p.pos += length
	return n
}

// plainTag is the type of a plain scalar. Most begin with a letter that no
// number or other special value begins with; the library decides the others.
func plainTag(s string) tag {
	c := s[0]
	if c|0x20 >= 'a' && c|0x20 <= 'z' && (len(s) > len("false") || strings.IndexByte("yntfo", c|0x20) < 0) {
		return tagText
	}
	n := yaml.Node{Kind: yaml.ScalarNode, Value: s}
	return tagOf(n.ShortTag())
}

// scalar reads a quoted or plain scalar of one line.
func (p *plainParser) scalar(flow bool) *node {
	if p.failed {
		return nil
	}
	switch c := p.peek(0); {
	case c == '"' || c == '\'':
		return p.quoted(c)
	case c|0x20 >= 'a' && c|0x20 <= 'z', c >= '0' && c <= '9', c == '_', c == '/', c == '.', c == '+', c == '(', c >= 0x80:
		return p.plain(flow)
	}
	return nil
}

// quoted reads a scalar in quotes without escapes.
func (p *plainParser) quoted(quote byte) *node {
	end := p.pos + 1
	for ; end < len(p.src) && p.src[end] != quote; end++ {
		if p.src[end] == '\n' || p.src[end] == '\\' && quote == '"' {
			return nil
		}
	}
	if end+1 < len(p.src) && p.src[end+1] == '\'' || end >= len(p.src) {
		return nil
	}
	n := p.node(scalarNode)
	n.text = p.src[p.pos+1 : end]
	p.pos = end + 1
	return n
}

// plain reads a plain scalar. In flow collections it is made of fewer
// characters.
func (p *plainParser) plain(flow bool) *node {
	end, last := p.pos, p.pos // behind the last character that is no blank
	for ; end < len(p.src) && p.src[end] != '\n'; end++ {
		c := p.src[end]
		switch {
		case c == ' ':
			continue
		case c == '#' && p.src[end-1] == ' ':
			return p.text(last - p.pos)
		case c == ':' && !joins(p.peek(end+1-p.pos)):
			return nil
		case !flow:
		case c == ',' || c == ']' || c == '}':
			return p.text(last - p.pos)
		case c == '[' || c == '{' || c == '?':
			return nil
		}
		last = end + 1
	}
	return p.text(last - p.pos)
}

// joins tells characters that a colon does not end a scalar before.
func joins(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c == '/'
}

// blockScalar reads a literal or folded scalar whose lines are all indented
// alike, without blank lines between them.
func (p *plainParser) blockScalar(indent int) *node {
	n := p.node(scalarNode)
	folded, strip := p.peek(0) == '>', p.peek(1) == '-'
	p.pos++
	if strip {
		p.pos++
	}
	p.blanks()
	if p.peek(0) != '\n' {
		return p.fail()
	}
	var lines []string
	inner := 0
	for p.pos < len(p.src) {
		begin := p.pos + 1
		first := begin
		for first < len(p.src) && p.src[first] == ' ' {
			first++
		}
		if first >= len(p.src) || p.src[first] == '\n' {
			break
		}
		if first-begin <= indent {
			break
		}
		if inner == 0 {
			inner = first - begin
		}
		if first-begin != inner {
			return p.fail()
		}
		p.newline()
		p.comment() // goes to the end of the line
		lines = append(lines, p.src[first:p.pos])
	}
	separator := "\n"
	if folded {
		separator = " "
	}
	n.text = strings.Join(lines, separator)
	if !strip {
		n.text += "\n"
	}
	atEnd := p.pos >= len(p.src)
	for strings.HasPrefix(p.src[p.pos:], "\n\n") {
		p.newline()
	}
	if p.peek(1) == ' ' {
		rest := strings.TrimLeft(p.src[p.pos+1:], " ")
		if rest == "" || rest[0] == '\n' {
			return p.fail() // a line of blanks may be content
		}
	}
	p.nextLine()
	if len(lines) == 0 || p.indent > indent || atEnd && !strip {
		return p.fail()
	}
	return n
}

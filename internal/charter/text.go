package charter

import (
	"bytes"
	"unicode/utf8"

	"github.com/westworld-charter/charter/internal/diag"
)

var bom = []byte("\xef\xbb\xbf")

// checkText refuses bytes that people and programs would read differently:
// text that is not UTF-8, control characters, line breaks other than LF and CRLF,
// and characters that reorder what a reviewer sees. It returns the text without
// a byte order mark.
func checkText(file string, data []byte, list *diag.List) (text []byte, ok bool) {
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		list.Errorf(diag.Pos{File: file, Line: 1, Col: 1}, codeEncoding, "the file is UTF-16; charters are UTF-8").
			Fix = "save the file as UTF-8"
		return nil, false
	}
	data = bytes.TrimPrefix(data, bom)
	for i := 0; i < len(data); i++ {
		c := data[i]
		if c >= ' ' && c < 0x7f || c == '\n' || c == '\t' {
			continue
		}
		if c == '\r' && i+1 < len(data) && data[i+1] == '\n' {
			continue
		}
		r, size := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			list.Errorf(place(file, data, i), codeEncoding, "byte 0x%02x is not UTF-8", c).Fix = "save the file as UTF-8"
			return nil, false
		case hidden(r):
			list.Errorf(place(file, data, i), codeControl, "the character U+%04X is invisible or moves text", r).
				Fix = "remove the character"
			return nil, false
		}
		i += size - 1
	}
	return data, true
}

// hidden tells characters that no charter may contain, written out or escaped:
// controls, the line breaks that only YAML counts, byte order marks and the
// marks that change the direction of text.
func hidden(r rune) bool {
	switch {
	case r < ' ', r >= 0x7f && r <= 0x9f:
		return true
	case r == 0x2028, r == 0x2029, r == 0xfeff, r == 0x200e, r == 0x200f, r == 0x061c:
		return true
	case r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
		return true
	case r == 0xfffe, r == 0xffff:
		return true
	}
	return false
}

// place is the position of the byte at offset.
func place(file string, data []byte, offset int) diag.Pos {
	before := data[:offset]
	return diag.Pos{
		File: file,
		Line: 1 + bytes.Count(before, []byte("\n")),
		Col:  offset - bytes.LastIndexByte(before, '\n'),
	}
}

// columns turns the columns of YAML, which count characters, into bytes. It
// must be asked in the order of the document.
type columns struct {
	lines [][]byte // nil when all text is ASCII and nothing changes
	line  int
	char  int // characters of the line already counted
	bytes int // their length
}

func newColumns(text []byte) *columns {
	for _, c := range text {
		if c >= utf8.RuneSelf {
			return &columns{lines: bytes.SplitAfter(text, []byte("\n"))}
		}
	}
	return &columns{}
}

// byteCol converts a column, both counted from 1.
func (c *columns) byteCol(line, col int) int {
	if c.lines == nil || line < 1 || line > len(c.lines) {
		return col
	}
	if line != c.line || col-1 < c.char {
		c.line, c.char, c.bytes = line, 0, 0
	}
	text := c.lines[line-1]
	for c.char < col-1 && c.bytes < len(text) {
		_, size := utf8.DecodeRune(text[c.bytes:])
		c.bytes += size
		c.char++
	}
	return c.bytes + 1
}

package diag

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// sources gives the lines of the files that findings speak of.
type sources struct {
	read  func(string) ([]byte, error)
	files map[string][][]byte
}

func newSources(read func(string) ([]byte, error)) *sources {
	return &sources{read: read, files: make(map[string][][]byte)}
}

// line is the source line of a position, without its line break.
func (s *sources) line(pos Pos) (string, bool) {
	if s.read == nil || pos.Line < 1 || pos.File == "" {
		return "", false
	}
	lines, known := s.files[pos.File]
	if !known {
		if data, err := s.read(pos.File); err == nil {
			lines = bytes.Split(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), []byte("\n"))
		}
		s.files[pos.File] = lines
	}
	if pos.Line > len(lines) {
		return "", false
	}
	return strings.TrimSuffix(string(lines[pos.Line-1]), "\r"), true
}

// characters is the column of a position counted in characters from 1; in bytes
// when the line cannot be read.
func (s *sources) characters(pos Pos) int {
	line, ok := s.line(pos)
	if !ok || pos.Col < 1 || pos.Col-1 > len(line) {
		return pos.Col
	}
	return utf8.RuneCountInString(line[:pos.Col-1]) + 1
}

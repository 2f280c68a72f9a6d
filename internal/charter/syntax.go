package charter

import (
	"bytes"
	"reflect"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/westworld-charter/charter/internal/diag"
)

// syntaxError reports what the YAML library did not like. Its own message
// carries the line of the context or of the problem, sometimes less one; the
// marks in its parser are exact, and reading them by reflection is harmless.
func syntaxError(file string, text []byte, dec *yaml.Decoder, err error, list *diag.List) {
	parser := reflect.ValueOf(dec).Elem().FieldByName("parser").Elem()
	scanner := parser.FieldByName("parser")
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	if rest, found := strings.CutPrefix(message, "line "); found {
		_, message, _ = strings.Cut(rest, ": ")
	}
	mark := scanner.FieldByName("problem_mark")
	if strings.HasPrefix(message, "unknown anchor") {
		mark = parser.FieldByName("event").FieldByName("start_mark")
	}
	pos := markPos(file, text, mark)
	context := ""
	if c := scanner.FieldByName("context"); c.IsValid() && c.Kind() == reflect.String && !strings.HasPrefix(message, "unknown anchor") {
		context = c.String()
	}
	if context == "" {
		list.Errorf(pos, codeSyntax, "not valid YAML: %s", message).Fix = syntaxFix(message, text, pos)
		return
	}
	start, other := markPos(file, text, scanner.FieldByName("context_mark")), "this was being read"
	if atEnd(text, pos) { // what is not closed begins elsewhere
		pos, start, other = start, pos, "the file ends here"
		if open, found := unclosed(text); found && atEnd(text, pos) {
			pos = place(file, text, open)
		}
	}
	message = context + ": " + message
	d := list.Errorf(pos, codeSyntax, "not valid YAML: %s", message)
	d.Fix = syntaxFix(message, text, pos)
	if start.Line != pos.Line {
		d.Related = []diag.Related{{Pos: start, Message: other}}
	}
}

// markPos is the position of a mark of the YAML parser.
func markPos(file string, text []byte, mark reflect.Value) diag.Pos {
	pos := diag.Pos{File: file}
	if line, ok := intField(mark, "line"); ok {
		col, _ := intField(mark, "column")
		pos.Line, pos.Col = line+1, newColumns(text).byteCol(line+1, col+1)
	}
	return pos
}

// atEnd reports whether nothing but blank space follows.
func atEnd(text []byte, pos diag.Pos) bool {
	lines := bytes.SplitAfter(text, []byte("\n"))
	if pos.Line < 1 || pos.Line > len(lines) {
		return pos.Line > len(lines)
	}
	rest := lines[pos.Line-1][min(max(pos.Col-1, 0), len(lines[pos.Line-1])):]
	return len(bytes.TrimSpace(rest)) == 0 && len(bytes.TrimSpace(bytes.Join(lines[pos.Line:], nil))) == 0
}

func intField(v reflect.Value, name string) (int, bool) {
	if !v.IsValid() || v.Kind() != reflect.Struct {
		return 0, false
	}
	f := v.FieldByName(name)
	if !f.IsValid() || !f.CanInt() {
		return 0, false
	}
	return int(f.Int()), true
}

// syntaxFix names the usual cause of an error.
func syntaxFix(message string, text []byte, pos diag.Pos) string {
	switch {
	case strings.Contains(message, "an alias") || strings.Contains(message, "unknown anchor"):
		return `quote a pattern that begins with a star, such as "*_location*"`
	case strings.Contains(message, "quoted scalar"):
		return "check that the quote is closed, and write \\\\ for a backslash within double quotes"
	case strings.Contains(message, "mapping values are not allowed"):
		return `check the indentation, and quote text that contains ": "`
	case strings.Contains(message, "cannot start any token") && byteAt(text, pos) == '\t':
		return "indent with spaces, not with tabs"
	case strings.Contains(message, "flow"):
		return "check that every [ and { is closed, with commas between the items"
	case strings.Contains(message, "did not find expected key"), strings.Contains(message, "could not find expected ':'"):
		return "check the indentation of this line and of the one before"
	}
	return ""
}

func byteAt(text []byte, pos diag.Pos) byte {
	lines := bytes.Split(text, []byte("\n"))
	if pos.Line < 1 || pos.Line > len(lines) || pos.Col < 1 || pos.Col > len(lines[pos.Line-1]) {
		return 0
	}
	return lines[pos.Line-1][pos.Col-1]
}

// unclosed finds the last bracket that is never closed, leaving out quotes and
// comments.
func unclosed(text []byte) (offset int, found bool) {
	var open []int
	quote := byte(0)
	for i, c := range text {
		before := byte('\n')
		if i > 0 {
			before = text[i-1]
		}
		switch {
		case quote == '#':
			if c == '\n' {
				quote = 0
			}
		case quote != 0:
			if c == quote && (quote != '"' || before != '\\') {
				quote = 0
			}
		case c == '#' && (before == ' ' || before == '\n'),
			(c == '"' || c == '\'') && bytes.IndexByte([]byte(" \n[{,"), before) >= 0:
			quote = c
		case c == '[' || c == '{':
			open = append(open, i)
		case (c == ']' || c == '}') && len(open) > 0:
			open = open[:len(open)-1]
		}
	}
	if len(open) == 0 {
		return 0, false
	}
	return open[len(open)-1], true
}

package charter

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// appendText writes a string as a YAML scalar that every reader, of YAML 1.1 or
// 1.2, takes for that string: plain when nothing about it could be read
// otherwise, else in double quotes.
func appendText(out []byte, s string) []byte {
	if isPlain(s) {
		return append(out, s...)
	}
	out = append(out, '"')
	for _, r := range s {
		switch {
		case r == '"', r == '\\':
			out = append(out, '\\', byte(r))
		case r == '\n':
			out = append(out, '\\', 'n')
		case r == '\t':
			out = append(out, '\\', 't')
		case hidden(r) || r > 0xffff && !strconv.IsPrint(r):
			out = appendEscape(out, r)
		default:
			out = utf8.AppendRune(out, r)
		}
	}
	return append(out, '"')
}

func appendEscape(out []byte, r rune) []byte {
	const digits = "0123456789abcdef"
	width, letter := 4, byte('u')
	if r > 0xffff {
		width, letter = 8, 'U'
	}
	out = append(out, '\\', letter)
	for i := width - 1; i >= 0; i-- {
		out = append(out, digits[r>>(4*i)&0xf])
	}
	return out
}

// isPlain reports whether a string needs no quotes: it begins with a letter,
// holds only characters that mean nothing to YAML, and is no word that some
// reader takes for a truth value, null or a number; or it is a duration.
func isPlain(s string) bool {
	if s == "" || len(s) > 4096 {
		return false
	}
	if checkDuration(s) == "" {
		return true
	}
	if c := s[0] | 0x20; (c < 'a' || c > 'z') && s[0] != '_' || s[len(s)-1] == ' ' || s[len(s)-1] == ':' {
		return false
	}
	for i := 1; i < len(s); i++ {
		c := s[i]
		switch {
		case c|0x20 >= 'a' && c|0x20 <= 'z', c >= '0' && c <= '9', c == '_':
		case strings.IndexByte(" ./,()*@+-'", c) >= 0:
		case c == ':' && s[i+1] != ' ':
		default:
			return false
		}
	}
	return !isWord(s)
}

// isWord tells the words that YAML readers take for something else than text.
func isWord(s string) bool {
	if len(s) > len("false") {
		return false
	}
	switch strings.ToLower(s) {
	case "y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf":
		return true
	}
	return false
}

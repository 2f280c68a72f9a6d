package diag

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// visible makes control characters and direction marks of foreign text visible,
// so that a charter cannot write to the terminal of its reader. Tabs become
// spaces, line breaks are written \n.
func visible(s string) string {
	clean := true
	for _, r := range s {
		if unsafe(r) || r == utf8.RuneError {
			clean = false
			break
		}
	}
	if clean {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		b.WriteString(visibleRune(r, s[i:i+size]))
		i += size
	}
	return b.String()
}

func visibleRune(r rune, raw string) string {
	switch {
	case r == utf8.RuneError && len(raw) == 1:
		return fmt.Sprintf(`\x%02x`, raw[0])
	case r == '\t':
		return " "
	case r == '\n':
		return `\n`
	case r == '\r':
		return `\r`
	case unsafe(r) && r <= 0xff:
		return fmt.Sprintf(`\x%02x`, r)
	case unsafe(r):
		return fmt.Sprintf(`\u%04x`, r)
	}
	return raw
}

// unsafe tells characters that act on a terminal or hide: C0 and C1 controls,
// line and paragraph separators, direction marks, zero-width characters.
func unsafe(r rune) bool {
	switch {
	case r < ' ', r >= 0x7f && r <= 0x9f:
		return true
	case r >= 0x200b && r <= 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2060 && r <= 0x206f, r == 0xfeff, r == 0x061c:
		return true
	case r >= 0xe0000 && r <= 0xe007f:
		return true
	}
	return false
}

package diag

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf16"
)

// report is the json format.
type report struct {
	Diagnostics List `json:"diagnostics"`
	Errors      int  `json:"errors"`
	Warnings    int  `json:"warnings"`
}

func asJSON(l List) ([]byte, error) {
	errors, warnings := l.Count()
	if l == nil {
		l = List{}
	}
	return indented(report{Diagnostics: l, Errors: errors, Warnings: warnings})
}

func indented(v any) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return escapeUnsafe(out.Bytes()), nil
}

// escapeUnsafe writes characters that act on a terminal as JSON escapes; they
// occur in strings only.
func escapeUnsafe(data []byte) []byte {
	acts := func(r rune) bool { return unsafe(r) && r != '\n' }
	if bytes.IndexFunc(data, acts) < 0 {
		return data
	}
	var out bytes.Buffer
	for _, r := range string(data) {
		switch {
		case !acts(r):
			out.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&out, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&out, `\u%04x`, r)
		}
	}
	return out.Bytes()
}

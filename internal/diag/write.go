package diag

import (
	"fmt"
	"io"
)

// Format is how findings are rendered.
type Format string

// The formats of [Write].
const (
	Pretty Format = "pretty" // for people
	JSON   Format = "json"   // {"diagnostics": [...], "errors": n, "warnings": n}
	SARIF  Format = "sarif"  // SARIF 2.1.0, for code scanning
	GitHub Format = "github" // workflow commands of GitHub Actions
)

// Formats lists the formats that [ParseFormat] knows.
func Formats() []Format { return []Format{Pretty, JSON, SARIF, GitHub} }

// ParseFormat reads the name of a format.
func ParseFormat(s string) (Format, error) {
	names := make([]string, 0, len(Formats()))
	for _, f := range Formats() {
		if string(f) == s {
			return f, nil
		}
		names = append(names, string(f))
	}
	return "", fmt.Errorf("format %q is not one of %v", s, names)
}

// Options of [Write].
type Options struct {
	// Color allows colours in the pretty format.
	Color bool
	// Tool and Version name the program in the sarif format.
	Tool, Version string
}

// Write renders a list in the order it has. Read returns the content of a file
// that diagnostics speak of: the pretty format shows its lines, sarif and github
// count columns in characters. Nil, or an error from it, leaves lines out and
// columns in bytes. What was written by others, messages and source lines, is
// rendered with its control characters made visible.
func Write(w io.Writer, f Format, l List, read func(file string) ([]byte, error), opts Options) error {
	var out []byte
	var err error
	switch f {
	case Pretty:
		out = pretty(l, newSources(read), opts)
	case JSON:
		out, err = asJSON(l)
	case SARIF:
		out, err = sarif(l, newSources(read), opts)
	case GitHub:
		out = github(l, newSources(read))
	default:
		err = fmt.Errorf("format %q is not known", f)
	}
	if err != nil {
		return fmt.Errorf("write diagnostics: %w", err)
	}
	if _, err := w.Write(out); err != nil {
		return fmt.Errorf("write diagnostics: %w", err)
	}
	return nil
}

// Count returns the number of errors and of warnings.
func (l List) Count() (errors, warnings int) {
	for _, d := range l {
		if d.Severity == Error {
			errors++
		} else {
			warnings++
		}
	}
	return errors, warnings
}

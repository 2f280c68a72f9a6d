package policytest

import (
	"encoding/json"
	"io"
)

// Format is a way to render a report.
type Format string

// The formats of a report.
const (
	Pretty Format = "pretty"
	JSON   Format = "json"
	JUnit  Format = "junit"
)

// Formats returns the formats in the order in which help lists them.
func Formats() []Format { return []Format{Pretty, JSON, JUnit} }

// WriteOptions say how a report is rendered.
type WriteOptions struct {
	// Color colours the pretty format, Verbose makes it name passing tests.
	Color   bool
	Verbose bool
	// Read returns the content of a file, for findings to show the line; nil
	// leaves the lines out.
	Read func(file string) ([]byte, error)
}

// Write renders the report.
func Write(w io.Writer, format Format, rep *Report, opts WriteOptions) error {
	switch format {
	case JSON:
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(rep)
	case JUnit:
		return writeJUnit(w, rep)
	default:
		return writePretty(w, rep, opts)
	}
}

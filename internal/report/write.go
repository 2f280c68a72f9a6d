package report

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
)

// Format is how a report is written.
type Format string

// Formats of reports.
const (
	JSON     Format = "json"
	Markdown Format = "markdown"
	HTML     Format = "html"
)

// Formats returns the closed list of formats.
func Formats() []Format { return []Format{JSON, Markdown, HTML} }

// MediaType is that of a format, for HTTP.
func (f Format) MediaType() string {
	switch f {
	case Markdown:
		return "text/markdown; charset=utf-8"
	case HTML:
		return "text/html; charset=utf-8"
	default:
		return "application/json"
	}
}

// Write writes a report. The same report gives the same bytes.
func Write(w io.Writer, f Format, d Document) error {
	out := bufio.NewWriter(w)
	var err error
	switch f {
	case JSON:
		enc := json.NewEncoder(out) // it escapes what HTML would take for its own
		enc.SetIndent("", "  ")
		err = enc.Encode(d)
	case Markdown:
		writeMarkdown(out, d.page())
	case HTML:
		err = writeHTML(out, d.page())
	default:
		err = fmt.Errorf("unknown format %q", f)
	}
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

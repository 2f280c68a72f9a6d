package diag

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Columns of the source line that the pretty format shows at most, and how many
// of them stand before the caret.
const (
	lineWidth  = 120
	lineBefore = 70
	tabWidth   = 4
)

const (
	styleError   = "\x1b[1;31m"
	styleWarning = "\x1b[1;33m"
	styleBold    = "\x1b[1m"
	styleBlue    = "\x1b[1;34m"
	styleReset   = "\x1b[0m"
)

// printer renders the pretty format.
type printer struct {
	bytes.Buffer
	*sources
	color bool
}

func pretty(l List, src *sources, opts Options) []byte {
	p := printer{sources: src, color: opts.Color}
	for _, d := range l {
		p.diagnostic(d)
	}
	return p.Bytes()
}

func (p *printer) paint(style, s string) string {
	if !p.color {
		return s
	}
	return style + s + styleReset
}

func (p *printer) diagnostic(d Diagnostic) {
	style := styleError
	if d.Severity == Warning {
		style = styleWarning
	}
	fmt.Fprintf(p, "%s: %s: %s\n", p.paint(styleBold, visible(d.Pos.String())),
		p.paint(style, fmt.Sprintf("%s[%s]", d.Severity, visible(d.Code))), visible(d.Message))
	margin := p.source(d.Pos, style)
	if d.Fix != "" {
		fmt.Fprintf(p, "%s %s %s\n", margin, p.paint(styleBlue, "= fix:"), visible(d.Fix))
	}
	for _, r := range d.Related {
		fmt.Fprintf(p, "%s %s %s: %s\n", margin, p.paint(styleBlue, "= see:"), visible(r.Pos.String()), visible(r.Message))
		p.source(r.Pos, styleBlue)
	}
}

// source prints the line at pos with a caret below the column, and returns the
// blanks that stand before notes.
func (p *printer) source(pos Pos, style string) string {
	const margin = "     "
	line, ok := p.line(pos)
	if !ok {
		return margin
	}
	text, caret := excerpt(line, pos.Col)
	number := strconv.Itoa(pos.Line)
	fmt.Fprintf(p, "%s %s\n", p.paint(styleBlue, fmt.Sprintf("%*s |", len(margin)-1, number)), text)
	blank := strings.Repeat(" ", max(len(margin)-1, len(number)))
	if pos.Col > 0 {
		fmt.Fprintf(p, "%s %s%s\n", p.paint(styleBlue, blank+" |"), strings.Repeat(" ", caret), p.paint(style, "^"))
	}
	return blank + " "
}

// excerpt is what is shown of a source line, with tabs expanded and controls
// made visible, and the number of columns before the caret. Col counts bytes
// from 1. A long line is cut on both sides of the caret.
func excerpt(line string, col int) (text string, caret int) {
	var cells []string
	width, at := 0, -1
	for i := 0; i < len(line); {
		r, size := utf8.DecodeRuneInString(line[i:])
		if at < 0 && col > 0 && i+size > col-1 {
			at = len(cells)
		}
		cell := visibleRune(r, line[i:i+size])
		if r == '\t' {
			cell = strings.Repeat(" ", tabWidth-width%tabWidth)
		}
		width += utf8.RuneCountInString(cell)
		cells = append(cells, cell)
		i += size
	}
	if at < 0 {
		at = len(cells)
	}
	return window(cells, at)
}

// window joins the cells around at.
func window(cells []string, at int) (text string, caret int) {
	const dots = "..."
	from, to := 0, len(cells)
	if to > lineWidth {
		from = max(0, min(at-lineBefore, to-lineWidth))
		to = from + lineWidth
	}
	var b strings.Builder
	if from > 0 {
		b.WriteString(dots)
		caret = len(dots)
	}
	for i := from; i < to; i++ {
		if i < at {
			caret += utf8.RuneCountInString(cells[i])
		}
		b.WriteString(cells[i])
	}
	if to < len(cells) {
		b.WriteString(dots)
	}
	return b.String(), caret
}

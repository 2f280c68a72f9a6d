package report

import (
	"fmt"
	"strings"
	"unicode"
)

// page is a report for people, before it is Markdown or HTML.
type page struct {
	title    string
	facts    []fact
	sections []section
}

// limit makes the commands of sections show the entries of the period alone.
func (p *page) limit(period Period) page {
	for i := range p.sections {
		if s := &p.sections[i]; strings.Contains(s.check, " audit list ") {
			s.check += " --since " + stamp(period.From) + " --until " + stamp(period.To)
		}
	}
	return *p
}

// fact is a line of the head of a page.
type fact struct {
	name  string
	value cell
}

type section struct {
	id, title string
	text      []string // ours; never what a caller chose
	check     string   // a command that shows the entries
	tables    []grid
}

// grid is a table of a page. The first column names its rows.
type grid struct {
	caption string
	head    []column
	rows    [][]cell
}

type column struct {
	title  string
	number bool
}

// cell is a text with where it comes from.
type cell struct {
	text string
	kind cellKind
}

type cellKind int

const (
	plain  cellKind = iota // our words, numbers, times and citations
	quoted                 // what others chose, made visible; shown as code
)

func words(text string) cell { return cell{text, plain} }

func wordsf(format string, args ...any) cell { return words(fmt.Sprintf(format, args...)) }

// name is a text that others chose.
func name(text string) cell {
	if text == "" {
		return words("–")
	}
	return cell{visible(text), quoted}
}

// names is a list of texts that others chose, one code for all. Commas in them are
// made visible, so that the list reads one way.
func names(list []string, none string) cell {
	if len(list) == 0 {
		return words(none)
	}
	all := make([]string, len(list))
	for i, text := range list {
		all[i] = strings.ReplaceAll(visible(text), ",", `\x2c`)
	}
	return cell{strings.Join(all, ", "), quoted}
}

func count(n uint64) cell { return words(number(n)) }

func cited(c Citation) cell { return words(c.String()) }

func at(text string) cell {
	if text == "" {
		return words("–")
	}
	// Times come from entries, and some of them from those who made the entry.
	if strings.Trim(text, "0123456789-:.TZ+") != "" {
		return name(text)
	}
	return words(text)
}

func yes(b bool) cell {
	if b {
		return words("yes")
	}
	return words("no")
}

// visible makes a text that others chose harmless wherever it is shown: what is not
// printable, what changes the direction of writing, and what quotes are made of is
// written as an escape, which begins with a backslash.
func visible(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '|' || r == '`' || r == '\\':
			fmt.Fprintf(&b, `\x%02x`, r)
		case r == ' ' || unicode.IsPrint(r) && r != unicode.ReplacementChar:
			b.WriteRune(r)
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u{%x}`, r)
		}
	}
	return b.String()
}

// figures is a table of single figures.
func figures(caption string, rows ...headline) grid {
	g := grid{caption: caption, head: []column{{"What", false}, {"Count", true}, {"Entries", false}}}
	for _, r := range rows {
		g.rows = append(g.rows, []cell{words(r.name), count(r.figure.Count), cited(r.figure.Entries)})
	}
	return g
}

// grid of a breakdown; nothing when it has no rows.
func (b *Breakdown) grids(caption, what string) []grid {
	if len(b.Rows) == 0 {
		return nil
	}
	g := grid{caption: caption, head: []column{{what, false}, {"Count", true}, {"Entries", false}}}
	for _, r := range b.Rows {
		g.rows = append(g.rows, []cell{name(r.Name), count(r.Count), cited(r.Entries)})
	}
	g.other(b.Other)
	return []grid{g}
}

// other adds the row of what a table has no rows for. The count and the entries are
// in the last columns.
func (g *grid) other(f *Figure) {
	if f == nil {
		return
	}
	row := make([]cell, len(g.head))
	for i := range row {
		row[i] = words("")
	}
	row[0] = words("others, not told apart")
	row[len(row)-2], row[len(row)-1] = count(f.Count), cited(f.Entries)
	g.rows = append(g.rows, row)
}

// table adds a row of titles; a title that ends in # is that of a number.
func newGrid(caption string, titles ...string) grid {
	g := grid{caption: caption}
	for _, title := range titles {
		text, isNumber := strings.CutSuffix(title, "#")
		g.head = append(g.head, column{text, isNumber})
	}
	return g
}

func (g *grid) row(cells ...cell) { g.rows = append(g.rows, cells) }

// filled is a grid unless it is empty.
func (g *grid) filled() []grid {
	if len(g.rows) == 0 {
		return nil
	}
	return []grid{*g}
}

package report

import (
	"bufio"
	"fmt"
	"strings"
)

// writeMarkdown writes a page as GitHub-flavoured Markdown. What others chose stands
// in code, in which nothing is markup, and which it cannot end: see visible. The
// writer keeps its first error.
func writeMarkdown(w *bufio.Writer, p page) {
	fmt.Fprintf(w, "# %s\n\n", p.title)
	for _, f := range p.facts {
		fmt.Fprintf(w, "- %s: %s\n", f.name, f.value.markdown())
	}
	for _, s := range p.sections {
		fmt.Fprintf(w, "\n## %s\n", s.title)
		for _, text := range s.text {
			fmt.Fprintf(w, "\n%s\n", text)
		}
		if s.check != "" {
			fmt.Fprintf(w, "\nTo check: `%s`\n", s.check)
		}
		for _, g := range s.tables {
			g.markdown(w)
		}
	}
}

func (g *grid) markdown(w *bufio.Writer) {
	fmt.Fprintf(w, "\n### %s\n\n|", g.caption)
	for _, c := range g.head {
		fmt.Fprintf(w, " %s |", c.title)
	}
	fmt.Fprint(w, "\n|")
	for _, c := range g.head {
		if c.number {
			fmt.Fprint(w, " ---: |")
		} else {
			fmt.Fprint(w, " --- |")
		}
	}
	for _, row := range g.rows {
		fmt.Fprint(w, "\n|")
		for _, c := range row {
			fmt.Fprintf(w, " %s |", c.markdown())
		}
	}
	fmt.Fprintln(w)
}

func (c cell) markdown() string {
	if c.kind == plain {
		return c.text
	}
	text := c.text
	if strings.TrimSpace(text) == "" { // spaces alone are no code
		text = strings.ReplaceAll(text, " ", `\x20`)
	}
	return "`" + text + "`"
}

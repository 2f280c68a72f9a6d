package report

import (
	_ "embed"
	"html/template"
	"io"
)

//go:embed page.html
var pageHTML string

// writeHTML writes a page as one file that needs nothing else: no script, no font,
// no picture, no request.
func writeHTML(w io.Writer, p page) error {
	t, err := template.New("page").Parse(pageHTML)
	if err != nil {
		return err
	}
	return t.Execute(w, p.view())
}

// view is a page as the template sees it.
type view struct {
	Title    string
	Facts    []viewFact
	Sections []viewSection
}

type viewFact struct {
	Name  string
	Value viewCell
}

type viewSection struct {
	ID, Title string
	Text      []string
	Check     string
	Tables    []viewTable
}

type viewTable struct {
	Caption string
	Head    []viewColumn
	Rows    [][]viewCell
}

type viewColumn struct {
	Title  string
	Number bool
}

type viewCell struct {
	Text           string
	Quoted, Number bool
}

func (p *page) view() view {
	v := view{Title: p.title}
	for _, f := range p.facts {
		v.Facts = append(v.Facts, viewFact{f.name, f.value.view()})
	}
	for _, s := range p.sections {
		one := viewSection{ID: s.id, Title: s.title, Text: s.text, Check: s.check}
		for i := range s.tables {
			one.Tables = append(one.Tables, s.tables[i].view())
		}
		v.Sections = append(v.Sections, one)
	}
	return v
}

func (g *grid) view() viewTable {
	t := viewTable{Caption: g.caption}
	for _, c := range g.head {
		t.Head = append(t.Head, viewColumn{c.title, c.number})
	}
	for _, row := range g.rows {
		cells := make([]viewCell, len(row))
		for i, c := range row {
			cells[i] = c.view()
			cells[i].Number = g.head[i].number
		}
		t.Rows = append(t.Rows, cells)
	}
	return t
}

func (c cell) view() viewCell {
	return viewCell{Text: c.text, Quoted: c.kind == quoted}
}

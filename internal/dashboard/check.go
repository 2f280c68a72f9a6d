package dashboard

import (
	"fmt"
	"strings"
)

// units are those that panels may have, in Grafana's names.
func units() map[string]bool {
	return map[string]bool{
		seconds: true, perSecond: true, ratio: true, count: true, state: true, memory: true, percent: true,
	}
}

// Check returns what is wrong with a dashboard, nil for nothing.
func (d *Dashboard) Check() []string {
	c := checker{ids: map[int]string{}, titles: map[string]bool{}}
	variables := map[string]string{}
	for _, v := range d.Templating.List {
		variables[v.Name] = v.Type
	}
	if variables["datasource"] != "datasource" || variables["job"] != "query" {
		c.fault("dashboard", "has no variables datasource and job: nobody could choose what it shows")
	}
	if d.UID == "" || d.Title == "" || d.Description == "" {
		c.fault("dashboard", "needs uid, title and description")
	}
	for i := range d.Panels {
		c.panel(&d.Panels[i])
		for _, before := range d.Panels[:i] {
			if overlap(before.GridPos, d.Panels[i].GridPos) {
				c.fault(d.Panels[i].Title, "overlaps %q", before.Title)
			}
		}
	}
	return c.faults
}

type checker struct {
	ids    map[int]string
	titles map[string]bool
	faults []string
}

func (c *checker) fault(where, format string, args ...any) {
	c.faults = append(c.faults, where+": "+fmt.Sprintf(format, args...))
}

func (c *checker) panel(p *Panel) {
	if other, taken := c.ids[p.ID]; taken || p.ID <= 0 {
		c.fault(p.Title, "has the id %d of %q", p.ID, other)
	}
	c.ids[p.ID] = p.Title
	if p.Title == "" || c.titles[p.Title] {
		c.fault(p.Title, "needs a title of its own")
	}
	c.titles[p.Title] = true
	if g := p.GridPos; g.X < 0 || g.W <= 0 || g.H <= 0 || g.X+g.W > full {
		c.fault(p.Title, "is outside the grid")
	}
	if p.Type == "row" {
		return
	}
	if p.Description == "" {
		c.fault(p.Title, "does not say what it shows")
	}
	if p.FieldConfig == nil || !units()[p.FieldConfig.Defaults.Unit] {
		c.fault(p.Title, "has no unit")
	}
	c.source(p.Title, p.Datasource)
	if len(p.Targets) == 0 {
		c.fault(p.Title, "asks nothing")
	}
	refs := map[string]bool{}
	for _, t := range p.Targets {
		if t.RefID == "" || refs[t.RefID] {
			c.fault(p.Title, "has the reference %q twice", t.RefID)
		}
		refs[t.RefID] = true
		c.source(p.Title, t.Datasource)
		if !strings.Contains(t.Expr, selected) {
			c.fault(p.Title, "does not keep to the jobs that were chosen: %s", t.Expr)
		}
		if strings.Contains(t.Expr, "rate(") && !strings.Contains(t.Expr, "[$__rate_interval]") {
			c.fault(p.Title, "has a rate over a fixed time: %s", t.Expr)
		}
	}
}

func (c *checker) source(title string, s *Source) {
	if s == nil || s.UID != "${datasource}" {
		c.fault(title, "does not ask the data source that was chosen")
	}
}

func overlap(a, b Position) bool {
	return a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H
}

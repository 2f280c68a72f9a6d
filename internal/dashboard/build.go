package dashboard

import "fmt"

// selected is the part of a selector that keeps to the jobs which the reader chose.
const selected = `job=~"$job"`

// source is the data source that the reader chose.
func source() *Source { return &Source{Type: "prometheus", UID: "${datasource}"} }

// Units of panels, in Grafana's names.
const (
	seconds   = "s"
	perSecond = "cps" // events a second
	ratio     = "percentunit"
	count     = "short"
	state     = "none" // 0 or 1, or a text in the legend
	memory    = "bytes"
	percent   = "percent"
)

// widths and heights in the grid.
const (
	full      = 24
	statWide  = 4
	statHigh  = 4
	graphWide = 8
	graphHigh = 8
)

// builder places panels from left to right and top to bottom.
type builder struct {
	d       Dashboard
	x, y, h int
}

func newBuilder(uid, title, description string) *builder {
	tags := []string{"charter"}
	return &builder{d: Dashboard{
		UID: uid, Title: title, Description: description, Tags: tags, SchemaVersion: 39, Version: 1, Refresh: "30s", Timezone: "utc",
		Time: Range{From: "now-6h", To: "now"},
		Templating: Templating{List: []Variable{
			{Name: "datasource", Label: "data source", Type: "datasource", Query: "prometheus"},
			{
				Name: "job", Label: "job", Type: "query", Datasource: source(), Query: "label_values(charter_build_info, job)",
				Refresh: 2, Multi: true, IncludeAll: true, AllValue: ".*",
			},
		}},
		Links: []Link{{Title: "Charter", Type: "dashboards", Tags: tags, AsDropdown: true, KeepTime: true, IncludeVars: true}},
	}}
}

// query is an expression with the legend of its series; "" shows their labels.
type query struct{ expr, legend string }

// spec is a panel without its place.
type spec struct {
	title, about, unit string
	// alarm is the value from which on a stat is red, nil for none; below turns it
	// round.
	alarm *float64
	below bool
	table bool
	asks  []query
}

func from(v float64) *float64 { return &v }

func (b *builder) row(title string) {
	if b.x > 0 || b.h > 0 {
		b.y += b.h
	}
	b.x, b.h = 0, 0
	open := false
	b.add(Panel{Type: "row", Title: title, Collapsed: &open}, full, 1)
}

// stats are single numbers.
func (b *builder) stats(specs ...spec) {
	for _, s := range specs {
		p := b.panel(s, "stat")
		for i := range p.Targets {
			p.Targets[i].Instant = true
		}
		p.FieldConfig.Defaults.Thresholds = s.thresholds()
		p.Options = map[string]any{
			"colorMode": "value", "graphMode": "none", "textMode": "auto",
			"reduceOptions": map[string]any{"calcs": []string{"lastNotNull"}, "fields": "", "values": false},
		}
		b.add(p, statWide, statHigh)
	}
}

// graphs are series over time, or tables.
func (b *builder) graphs(specs ...spec) {
	for _, s := range specs {
		kind := "timeseries"
		if s.table {
			kind = "table"
		}
		p := b.panel(s, kind)
		if s.table {
			for i := range p.Targets {
				p.Targets[i].Instant, p.Targets[i].Format = true, "table"
			}
		} else {
			p.FieldConfig.Defaults.Min = from(0)
			p.Options = map[string]any{
				"legend":  map[string]any{"displayMode": "table", "placement": "bottom", "calcs": []string{"lastNotNull", "max"}},
				"tooltip": map[string]any{"mode": "multi", "sort": "desc"},
			}
		}
		b.add(p, graphWide, graphHigh)
	}
}

func (b *builder) panel(s spec, kind string) Panel {
	p := Panel{
		Type: kind, Title: s.title, Description: s.about, Datasource: source(),
		FieldConfig: &Fields{Defaults: Defaults{Unit: s.unit, NoValue: "none"}, Overrides: []string{}},
	}
	for i, q := range s.asks {
		p.Targets = append(p.Targets, Target{RefID: string(rune('A' + i)), Datasource: source(), Expr: q.expr, LegendFormat: q.legend})
	}
	return p
}

func (s *spec) thresholds() *Thresholds {
	low, high := "green", "red"
	if s.below {
		low, high = high, low
	}
	t := &Thresholds{Mode: "absolute", Steps: []Step{{Color: low}}}
	if s.alarm == nil {
		t.Steps[0].Color = "text"
		return t
	}
	t.Steps = append(t.Steps, Step{Color: high, Value: s.alarm})
	return t
}

func (b *builder) add(p Panel, w, h int) {
	if b.x+w > full {
		b.x, b.y, b.h = 0, b.y+b.h, 0
	}
	p.ID, p.GridPos = len(b.d.Panels)+1, Position{H: h, W: w, X: b.x, Y: b.y}
	b.d.Panels = append(b.d.Panels, p)
	b.x, b.h = b.x+w, max(b.h, h)
}

// quantiles ask for percentiles of a histogram.
func quantiles(histogram string, qs ...float64) []query {
	var asks []query
	for _, q := range qs {
		asks = append(asks, query{
			fmt.Sprintf(`histogram_quantile(%g, sum by (le) (rate(%s_bucket{%s}[$__rate_interval])))`, q, histogram, selected),
			fmt.Sprintf("p%g", q*100),
		})
	}
	return asks
}

// rare is a percentile of a histogram of what happens a few times a day: over an
// hour, since there would be none in a shorter time.
func rare(histogram, name string, q float64) query {
	return query{fmt.Sprintf(`histogram_quantile(%g, sum by (le) (increase(%s_bucket{%s}[1h])))`, q, histogram, selected), name}
}

// rates ask for events a second by some labels.
func rates(counter, by string) query {
	return query{fmt.Sprintf(`sum by (%s) (rate(%s{%s}[$__rate_interval]))`, by, counter, selected), "{{" + by + "}}"}
}

// sum asks for the sum of a gauge.
func sum(gauge string) query { return query{fmt.Sprintf("sum(%s{%s})", gauge, selected), ""} }

// sumBy asks for the sums of a gauge by a label.
func sumBy(gauge, by string) query {
	return query{fmt.Sprintf("sum by (%s) (%s{%s})", by, gauge, selected), "{{" + by + "}}"}
}

// since asks how much a counter grew, series that began in the meantime included.
func since(counter, by, over string) query {
	x := counter + "{" + selected + "}"
	grown := fmt.Sprintf("((max_over_time(%s[%s]) unless %s offset %s) or increase(%s[%s]))", x, over, x, over, x, over)
	if by == "" {
		return query{"sum" + grown, ""}
	}
	return query{fmt.Sprintf("sum by (%s) %s", by, grown), "{{" + by + "}}"}
}

// Package dashboard makes the Grafana dashboards in deploy/grafana from Go values,
// so that panels are alike, checked, and asked for the metrics that there are.
//
// [All] returns the dashboards, [Dashboard.JSON] the file that Grafana imports,
// [Dashboard.Check] what is wrong with one. Guaranteed for every dashboard that
// passes: ids of panels are unique, no two overlap, every panel says what it shows
// and in which unit, and asks the data source and the jobs that the reader chose.
package dashboard

import (
	"encoding/json"
	"fmt"
)

// Dashboard is what Grafana imports.
type Dashboard struct {
	UID           string     `json:"uid"`
	Title         string     `json:"title"`
	Description   string     `json:"description"`
	Tags          []string   `json:"tags"`
	Editable      bool       `json:"editable"`
	SchemaVersion int        `json:"schemaVersion"`
	Version       int        `json:"version"`
	Refresh       string     `json:"refresh"`
	Timezone      string     `json:"timezone"`
	Time          Range      `json:"time"`
	Templating    Templating `json:"templating"`
	Links         []Link     `json:"links"`
	Panels        []Panel    `json:"panels"`
}

// Range is what a dashboard shows at first.
type Range struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// Templating holds the choices of the reader.
type Templating struct {
	List []Variable `json:"list"`
}

// Variable is one choice.
type Variable struct {
	Name       string  `json:"name"`
	Label      string  `json:"label"`
	Type       string  `json:"type"` // datasource or query
	Datasource *Source `json:"datasource,omitempty"`
	Query      string  `json:"query"`
	Refresh    int     `json:"refresh,omitempty"` // 2: when the time changes
	Multi      bool    `json:"multi"`
	IncludeAll bool    `json:"includeAll"`
	AllValue   string  `json:"allValue,omitempty"`
}

// Link leads to the other dashboards.
type Link struct {
	Title       string   `json:"title"`
	Type        string   `json:"type"`
	Tags        []string `json:"tags"`
	AsDropdown  bool     `json:"asDropdown"`
	KeepTime    bool     `json:"keepTime"`
	IncludeVars bool     `json:"includeVars"`
}

// Source is where data come from.
type Source struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

// Panel is one part of a dashboard.
type Panel struct {
	ID          int      `json:"id"`
	Type        string   `json:"type"` // row, stat, timeseries, table or bargauge
	Title       string   `json:"title"`
	Description string   `json:"description,omitempty"`
	GridPos     Position `json:"gridPos"`
	Collapsed   *bool    `json:"collapsed,omitempty"` // of a row
	Datasource  *Source  `json:"datasource,omitempty"`
	FieldConfig *Fields  `json:"fieldConfig,omitempty"`
	Options     any      `json:"options,omitempty"`
	Targets     []Target `json:"targets,omitempty"`
}

// Position is in a grid of 24 columns.
type Position struct {
	H int `json:"h"`
	W int `json:"w"`
	X int `json:"x"`
	Y int `json:"y"`
}

// Fields say how values are shown.
type Fields struct {
	Defaults  Defaults `json:"defaults"`
	Overrides []string `json:"overrides"`
}

// Defaults hold for all values of a panel.
type Defaults struct {
	Unit       string      `json:"unit"`
	Min        *float64    `json:"min,omitempty"`
	NoValue    string      `json:"noValue,omitempty"`
	Thresholds *Thresholds `json:"thresholds,omitempty"`
}

// Thresholds colour values.
type Thresholds struct {
	Mode  string `json:"mode"`
	Steps []Step `json:"steps"`
}

// Step is a colour from a value on; nil is from the lowest.
type Step struct {
	Color string   `json:"color"`
	Value *float64 `json:"value"`
}

// Target is one question to Prometheus.
type Target struct {
	RefID        string  `json:"refId"`
	Datasource   *Source `json:"datasource"`
	Expr         string  `json:"expr"`
	LegendFormat string  `json:"legendFormat"`
	Instant      bool    `json:"instant,omitempty"`
	Format       string  `json:"format,omitempty"` // table
}

// JSON is the file of the dashboard, indented so that changes can be reviewed.
func (d *Dashboard) JSON() ([]byte, error) {
	text, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write dashboard %s: %w", d.UID, err)
	}
	return append(text, '\n'), nil
}

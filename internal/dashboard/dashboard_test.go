package dashboard

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite deploy/grafana")

const published = "../../deploy/grafana"

func TestDashboardsArePublished(t *testing.T) {
	uids := map[string]string{}
	for name, d := range All() {
		for _, fault := range d.Check() {
			t.Errorf("%s: %s", name, fault)
		}
		if uids[d.UID] != "" {
			t.Errorf("%s has the uid of %s", name, uids[d.UID])
		}
		uids[d.UID] = name
		want, err := d.JSON()
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(published, name)
		if *update {
			if err := os.WriteFile(path, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what the code says: run make generate", path)
		}
	}
	files, err := filepath.Glob(published + "/*.json")
	if err != nil || len(files) != len(All()) {
		t.Errorf("%v: %v", files, err)
	}
}

// The lint finds what it is there for.
func TestCheck(t *testing.T) {
	for want, spoil := range map[string]func(d *Dashboard){
		"has the id":                         func(d *Dashboard) { d.Panels[2].ID = d.Panels[1].ID },
		"needs a title of its own":           func(d *Dashboard) { d.Panels[2].Title = d.Panels[1].Title },
		"does not say what it shows":         func(d *Dashboard) { d.Panels[1].Description = "" },
		"has no unit":                        func(d *Dashboard) { d.Panels[1].FieldConfig.Defaults.Unit = "fortnights" },
		"the data source that was chosen":    func(d *Dashboard) { d.Panels[1].Targets[0].Datasource = &Source{UID: "mine"} },
		"keep to the jobs":                   func(d *Dashboard) { d.Panels[1].Targets[0].Expr = "up" },
		"rate over a fixed time":             func(d *Dashboard) { d.Panels[1].Targets[0].Expr = "rate(x{" + selected + "}[5m])" },
		"asks nothing":                       func(d *Dashboard) { d.Panels[1].Targets = nil },
		"overlaps":                           func(d *Dashboard) { d.Panels[2].GridPos = d.Panels[1].GridPos },
		"outside the grid":                   func(d *Dashboard) { d.Panels[1].GridPos.X = 23 },
		"has no variables":                   func(d *Dashboard) { d.Templating.List = d.Templating.List[1:] },
		"needs uid, title and description":   func(d *Dashboard) { d.UID = "" },
		"has the reference":                  func(d *Dashboard) { d.Panels[1].Targets = append(d.Panels[1].Targets, d.Panels[1].Targets[0]) },
		"does not ask the data source that ": func(d *Dashboard) { d.Panels[1].Datasource = nil },
	} {
		d := violations()
		spoil(d)
		if got := strings.Join(d.Check(), "\n"); !strings.Contains(got, want) {
			t.Errorf("want %q, got %q", want, got)
		}
	}
}

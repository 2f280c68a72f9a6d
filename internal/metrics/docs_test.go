package metrics_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"gopkg.in/yaml.v3"

	"github.com/westworld-charter/charter/internal/metrics"
)

var update = flag.Bool("update", false, "rewrite docs/metrics.md")

const (
	docs      = "../../docs/metrics.md"
	ruleFiles = "../../deploy/prometheus/rules/*.yml"
)

// rule is one of a file of rules.
type rule struct {
	Alert  string
	Record string
	Expr   string
}

func rules(t *testing.T) []rule {
	t.Helper()
	files, err := filepath.Glob(ruleFiles)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v", ruleFiles, err)
	}
	var all []rule
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var content struct{ Groups []struct{ Rules []rule } }
		if err := yaml.Unmarshal(text, &content); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, g := range content.Groups {
			all = append(all, g.Rules...)
		}
	}
	return all
}

// mentioned are names of our metrics and of recorded rules in an expression.
var mentioned = regexp.MustCompile(`\b(?:[a-z_]+:)?(?:charter_[a-z_]+|metric_access_denied_total)(?::[a-z0-9_]+)?`)

// basic is the name of a family for that of one of its series.
func basic(name string, known map[string]bool) string {
	for _, suffix := range []string{"_bucket", "_count", "_sum"} {
		if trimmed := strings.TrimSuffix(name, suffix); !known[name] && known[trimmed] {
			return trimmed
		}
	}
	return name
}

// alertsOf are the alerts that look at a family, also by way of recorded rules.
func alertsOf(t *testing.T, families []metrics.Family) map[string][]string {
	t.Helper()
	known := map[string]bool{}
	for _, f := range families {
		known[f.Name] = true
	}
	all, recorded := rules(t), map[string][]string{}
	for _, r := range all {
		if r.Record != "" {
			recorded[r.Record] = append(recorded[r.Record], append([]string{}, mentioned.FindAllString(r.Expr, -1)...)...)
		}
	}
	uses := map[string][]string{}
	for _, r := range all {
		seen := map[string]bool{}
		for open := mentioned.FindAllString(r.Expr, -1); len(open) > 0; open = open[1:] {
			name := basic(open[0], known)
			switch {
			case seen[name]:
				continue
			case strings.Contains(name, ":"):
				if _, is := recorded[name]; !is {
					t.Errorf("%s%s asks for %s, which nobody records", r.Alert, r.Record, name)
				}
				open = append(open, recorded[name]...)
			case !known[name]:
				t.Errorf("%s%s asks for %s, which nobody exports", r.Alert, r.Record, name)
			case r.Alert != "" && !slices.Contains(uses[name], r.Alert):
				uses[name] = append(uses[name], r.Alert)
			}
			seen[name] = true
		}
	}
	return uses
}

// TestDocumentation holds docs/metrics.md against the catalogue and the alerts.
func TestDocumentation(t *testing.T) {
	want := document(t)
	if *update {
		if err := os.WriteFile(docs, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the code says: run make generate", docs)
	}
}

func document(t *testing.T) []byte {
	families := used().Families()
	alerts := alertsOf(t, families)
	var b bytes.Buffer
	b.WriteString(`# Metrics

<!-- Made by make generate from internal/metrics and deploy/prometheus/rules; do not edit. -->

What charter-server exports of its own at ` + "`/metrics`" + `, besides the metrics of the Go runtime (` + "`go_*`" + `), of the process (` + "`process_*`" + `) and of the
handler (` + "`promhttp_*`" + `). [monitoring.md](monitoring.md) says how to use them, [runbook.md](runbook.md) what to do about an alert.

No caller can make series: a label has a closed list of values, or one that is bounded as said here, whatever is sent. Metrics appear under exact names and patterns
of the charter, and nodes under their name only when the charter or its state names them, or when they showed a certificate; a process takes up 1,000 of each, and
a family has at most 2,000 series that tell nodes apart. Everything else is ` + "`other`" + `.

Histograms have classic buckets and are native for servers that scrape native ones. When requests are traced, counters of denials and histograms of decisions and requests have
exemplars with ` + "`trace_id`" + ` (OpenMetrics).

Counts of violations, investigations, overrides, revocations and messages to the committee are read off entries of the ledger as they are committed: each counts once, however often it was tried.

| metric | type | labels | meaning | alerts |
|---|---|---|---|---|
`)
	for _, f := range families {
		var labels []string
		for _, l := range f.Labels {
			what := l.Bound
			if l.Bound == "" {
				what = "`" + strings.Join(l.Values, "`, `") + "`"
			}
			labels = append(labels, "`"+l.Name+"`: "+what)
		}
		kind := f.Type
		if f.Unit != "" {
			kind += ", " + f.Unit
		}
		var links []string
		for _, a := range alerts[f.Name] {
			links = append(links, fmt.Sprintf("[%s](runbook.md#%s)", a, strings.ToLower(a)))
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", f.Name, kind, strings.Join(labels, "<br>"), f.Help, strings.Join(links, ", "))
	}
	return b.Bytes()
}

// What is exported is what the catalogue says: type, help, labels and their values.
func TestCatalogueIsWhatIsExported(t *testing.T) {
	m := used()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	exported, err := parser.TextToMetricFamilies(strings.NewReader(scrape(t, m)))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range m.Families() {
		got := exported[f.Name]
		if got == nil {
			t.Errorf("%s is in the catalogue and not exported", f.Name)
			continue
		}
		delete(exported, f.Name)
		if kind := strings.ToLower(got.GetType().String()); kind != f.Type || got.GetHelp() != f.Help {
			t.Errorf("%s: exported as %s %q", f.Name, kind, got.GetHelp())
		}
		for _, series := range got.GetMetric() {
			if len(series.GetLabel()) != len(f.Labels) {
				t.Errorf("%s: %v, want the labels %v", f.Name, series.GetLabel(), f.Labels)
			}
			for _, l := range f.Labels {
				if (l.Bound == "") == (len(l.Values) == 0) {
					t.Errorf("%s, label %s: a label has values or a bound", f.Name, l.Name)
				}
				for _, pair := range series.GetLabel() {
					if pair.GetName() == l.Name && l.Bound == "" && !slices.Contains(l.Values, pair.GetValue()) {
						t.Errorf("%s has %s=%q, which is not on the list", f.Name, l.Name, pair.GetValue())
					}
				}
			}
		}
	}
	for name := range exported {
		if strings.HasPrefix(name, "charter_") || strings.HasPrefix(name, "metric_") {
			t.Errorf("%s is exported and not in the catalogue", name)
		}
	}
}

// The names that the community was promised.
func TestPromisedNames(t *testing.T) {
	have := map[string]string{}
	for _, f := range used().Families() {
		have[f.Name] = f.Type
	}
	for name, kind := range map[string]string{
		"charter_violations_total": "counter", "charter_forbidden_metric_attempts_total": "counter", "charter_data_revocation_events_total": "counter",
		"charter_audit_committee_notifications_total": "counter", "charter_investigation_initiated_total": "counter", "charter_emergency_override_total": "counter",
		"charter_metric_validation_latency_seconds": "histogram", "charter_policy_load_duration_seconds": "histogram", "charter_violation_report_latency_seconds": "histogram",
		"charter_committee_notification_latency_seconds": "histogram", "charter_data_revocation_latency_seconds": "histogram",
		"charter_violations_under_investigation": "gauge", "charter_audit_committee_size": "gauge", "charter_policy_last_load_timestamp_seconds": "gauge",
		"charter_emergency_override_active": "gauge", "metric_access_denied_total": "counter", "charter_policy_version": "gauge",
	} {
		if have[name] != kind {
			t.Errorf("%s is %q, want a %s", name, have[name], kind)
		}
	}
}

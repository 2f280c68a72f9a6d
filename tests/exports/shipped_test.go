package exports

import (
	"testing"

	"github.com/westworld-charter/charter/tests/internal/judge"
)

// The shipped charters on a real node: of every series each target leaves what check says.
func TestShippedChartersOnARealNode(t *testing.T) {
	for _, name := range []string{"development", "staging", "production"} {
		q, path := question{"edge-1", "node_operator"}, "policies/"+name
		results := check(t, q, judge.NodeExporterExposition(t), path)
		for target, run := range map[string]func([]byte) func(int) (map[string]string, bool){
			"prometheus": func(data []byte) func(int) (map[string]string, bool) {
				configs := relabeling(t, data)
				return func(i int) (map[string]string, bool) { return scrape(configs, &results[i]) }
			},
			"otel-filter":    func(data []byte) func(int) (map[string]string, bool) { return collected(t, data, results) },
			"otel-redaction": func(data []byte) func(int) (map[string]string, bool) { return collected(t, data, results) },
		} {
			t.Run(name+"/"+target, func(t *testing.T) {
				data, leftOut := export(t, q, target, path)
				kept := compareAll(t, results, leftOut, run(data))
				if kept == 0 && target != "otel-filter" { // which has to leave most clauses out
					t.Error("nothing is kept, so nothing is compared")
				}
			})
		}
	}
}

func collected(t testing.TB, data []byte, results []result) func(int) (map[string]string, bool) {
	left := apply(pipeline(t, data), results)
	return func(i int) (map[string]string, bool) { labels, ok := left[i]; return labels, ok }
}

// Attributes of resources and scopes count as labels: forbidden ones drop the metric, and so
// do those that a clause would drop, because they cannot be removed for one metric alone.
func TestAttributesOfResources(t *testing.T) {
	q := question{"edge-1", "node_operator"}
	data, _ := export(t, q, "otel-redaction", "policies/production")
	run := pipeline(t, data)
	for _, tc := range []struct {
		metric, attribute string
		kept              bool
	}{
		{"node_load1", "service.name", true},
		{"node_load1", "host.name", false},       // privacy.hostnames
		{"node_load1", "client_address", false},  // privacy.browsing and others
		{"node_load1", "board_serial", false},    // privacy.device, which node.inventory alone drops
		{"node_load1", "path", true},             // dropped by node.disk_info only
		{"node_disk_info", "path", false},        // which cannot do it here
		{"node_disk_info", "service.name", true}, //
	} {
		for _, level := range []string{"resource", "scope"} {
			if left := apply(withAttribute(run, level, tc.attribute), []result{{Metric: tc.metric}}); (len(left) == 1) != tc.kept {
				t.Errorf("%s with %s attribute %s is kept: %v, want %v", tc.metric, level, tc.attribute, len(left) == 1, tc.kept)
			}
		}
	}
}

package exports

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"go.yaml.in/yaml/v2"

	"github.com/westworld-charter/charter/internal/exportconfig/exporttest"
)

// relabeling is a configuration as the code of Prometheus reads it.
func relabeling(t testing.TB, data []byte) []*relabel.Config {
	t.Helper()
	var doc struct {
		Configs []*relabel.Config `yaml:"metric_relabel_configs"`
	}
	if err := yaml.UnmarshalStrict(data, &doc); err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	for _, c := range doc.Configs {
		if err := c.Validate(model.UTF8Validation); err != nil {
			t.Fatal(err)
		}
	}
	return doc.Configs
}

// scrape does to one series what a scrape does: labels of the target, then relabeling.
// The labels of the target are taken away again.
func scrape(configs []*relabel.Config, s *result) (map[string]string, bool) {
	b := labels.NewBuilder(labels.FromMap(s.Labels))
	b.Set("__name__", s.Metric)
	b.Set("job", "node")
	b.Set("instance", "host:9100")
	if !relabel.ProcessBuilder(b, configs...) {
		return nil, false
	}
	left := b.Labels().Map()
	if left["__name__"] != s.Metric || left["job"] != "node" || left["instance"] != "host:9100" {
		return left, true // which no series of the engine equals
	}
	delete(left, "__name__")
	delete(left, "job")
	delete(left, "instance")
	return left, true
}

// Patterns that meet, cover and shadow each other, labels forbidden, dropped and refused,
// clauses for other nodes and in warn mode.
func TestRelabelingOfDrawnCharters(t *testing.T) {
	rounds := 4
	if os.Getenv("CHARTER_LONG") == "1" {
		rounds = 200
	}
	r := rand.New(rand.NewPCG(7, 11))
	for done := 0; done < rounds; {
		dir := t.TempDir()
		path, metrics := filepath.Join(dir, "charter.yaml"), filepath.Join(dir, "x.prom")
		text := exporttest.Charter(r)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(metrics, []byte(exporttest.Exposition(r, exporttest.Names(5))), 0o600); err != nil {
			t.Fatal(err)
		}
		if r := admin(t, "validate", path); r.Code != 0 {
			continue
		}
		done++
		q := question{exporttest.Node, exporttest.Role}
		results := check(t, q, metrics, path)
		data, _ := export(t, q, "prometheus", path)
		configs := relabeling(t, data)
		compareAll(t, results, nil, func(i int) (map[string]string, bool) { return scrape(configs, &results[i]) })
		data, _ = export(t, q, "otel-redaction", path)
		left := apply(pipeline(t, data), results)
		compareAll(t, results, nil, func(i int) (map[string]string, bool) { l, ok := left[i]; return l, ok })
		if t.Failed() {
			t.Fatalf("the charter is\n%s", text)
		}
	}
}

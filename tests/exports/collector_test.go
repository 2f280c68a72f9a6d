package exports

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/open-telemetry/opentelemetry-collector-contrib/processor/filterprocessor"
	"github.com/open-telemetry/opentelemetry-collector-contrib/processor/transformprocessor"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/provider/fileprovider"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processortest"
)

// pipeline is the processors of a configuration in the order that its header asks for,
// as the Collector reads them from a file, variables expanded.
func pipeline(t testing.TB, data []byte) func(pmetric.Metrics) pmetric.Metrics {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	resolver, err := confmap.NewResolver(confmap.ResolverSettings{
		URIs: []string{path}, ProviderFactories: []confmap.ProviderFactory{fileprovider.NewFactory()}, DefaultScheme: "file",
	})
	if err != nil {
		t.Fatal(err)
	}
	conf, err := resolver.Resolve(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	processors, err := conf.Sub("processors")
	if err != nil {
		t.Fatal(err)
	}
	sink := new(consumertest.MetricsSink)
	var next consumer.Metrics = sink
	_, order, _ := strings.Cut(string(data), "processors: [")
	order, _, _ = strings.Cut(order, "]")
	names := strings.Split(order, ", ")
	if len(names) != len(processors.ToStringMap()) {
		t.Fatalf("the header lists %q, the configuration has %d processors", names, len(processors.ToStringMap()))
	}
	for i := len(names) - 1; i >= 0; i-- {
		section, err := processors.Sub(names[i])
		if err != nil {
			t.Fatal(err)
		}
		next = start(t, names[i], section, next)
	}
	return func(md pmetric.Metrics) pmetric.Metrics {
		sink.Reset()
		if err := next.ConsumeMetrics(context.Background(), md); err != nil {
			t.Fatal(err)
		}
		if len(sink.AllMetrics()) == 0 {
			return pmetric.NewMetrics()
		}
		return sink.AllMetrics()[0]
	}
}

func start(t testing.TB, name string, section *confmap.Conf, next consumer.Metrics) consumer.Metrics {
	t.Helper()
	kind, _, _ := strings.Cut(name, "/")
	factories := map[string]processor.Factory{"filter": filterprocessor.NewFactory(), "transform": transformprocessor.NewFactory()}
	factory := factories[kind]
	config := factory.CreateDefaultConfig()
	if err := section.Unmarshal(&config); err != nil {
		t.Fatal(err)
	}
	if v, ok := config.(interface{ Validate() error }); ok {
		if err := v.Validate(); err != nil {
			t.Fatal(err)
		}
	}
	p, err := factory.CreateMetrics(context.Background(), processortest.NewNopSettings(component.MustNewType(kind)), config, next)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if err := p.Start(context.Background(), componenttest.NewNopHost()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Shutdown(context.Background()) })
	return p
}

// apply sends all series at once, every one as a gauge with one data point, and returns
// what is left of each. The place of a series is its value.
func apply(run func(pmetric.Metrics) pmetric.Metrics, all []result) map[int]map[string]string {
	md := pmetric.NewMetrics()
	metrics := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics()
	for i, s := range all {
		m := metrics.AppendEmpty()
		m.SetName(s.Metric)
		point := m.SetEmptyGauge().DataPoints().AppendEmpty()
		point.SetIntValue(int64(i))
		for name, value := range s.Labels {
			point.Attributes().PutStr(name, value)
		}
	}
	left := map[int]map[string]string{}
	for _, rm := range run(md).ResourceMetrics().All() {
		for _, sm := range rm.ScopeMetrics().All() {
			for _, m := range sm.Metrics().All() {
				for _, point := range m.Gauge().DataPoints().All() {
					labels := map[string]string{}
					point.Attributes().Range(func(name string, value pcommon.Value) bool {
						if value.Str() != "" {
							labels[name] = value.Str()
						}
						return true
					})
					left[int(point.IntValue())] = labels
				}
			}
		}
	}
	return left
}

// withAttribute gives all that runs an attribute of its resource or scope.
func withAttribute(run func(pmetric.Metrics) pmetric.Metrics, level, name string) func(pmetric.Metrics) pmetric.Metrics {
	return func(md pmetric.Metrics) pmetric.Metrics {
		attributes := md.ResourceMetrics().At(0).Resource().Attributes()
		if level == "scope" {
			attributes = md.ResourceMetrics().At(0).ScopeMetrics().At(0).Scope().Attributes()
		}
		attributes.PutStr(name, "v")
		return run(md)
	}
}

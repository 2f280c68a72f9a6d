package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/westworld-charter/charter/internal/engine"
)

// cacheCollector exports what the engine counts itself: counting twice would
// cost more than a cached decision.
type cacheCollector struct {
	stats      func() engine.Stats
	decisions  *prometheus.Desc
	verified   *prometheus.Desc
	mismatches *prometheus.Desc
	entries    *prometheus.Desc
	enabled    *prometheus.Desc
}

// Cache exports the counters of an engine's decision cache. It is called at most
// once.
func (m *Metrics) Cache(stats func() engine.Stats) {
	m.registry.MustRegister(&cacheCollector{
		stats:      stats,
		decisions:  m.reading(typeCounter, "charter_cache_decisions_total", "Decisions by what the cache had to do with them: hit, miss, bypass, or repeat within a batch.", closed("result", "hit", "miss", "bypass", "repeat")),
		verified:   m.reading(typeCounter, "charter_cache_verified_total", "Answers, cached or evaluated by plan, that the reference evaluator decided as well to compare."),
		mismatches: m.reading(typeCounter, "charter_cache_mismatches_total", "Answers that the reference evaluator did not confirm; more than 0 is a defect, and cache and plan are off."),
		entries:    m.reading(typeGauge, "charter_cache_entries", "Answers in the cache of the active policy, about."),
		enabled:    m.reading(typeGauge, "charter_cache_enabled", "1 while the active policy has a cache, else 0."),
	})
}

// Describe implements [prometheus.Collector].
func (c *cacheCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.decisions, c.verified, c.mismatches, c.entries, c.enabled} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *cacheCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.stats()
	counter := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	counter(c.decisions, s.Hits, "hit")
	counter(c.decisions, s.Misses, "miss")
	counter(c.decisions, s.Bypassed, "bypass")
	counter(c.decisions, s.Repeated, "repeat")
	counter(c.verified, s.Verified)
	counter(c.mismatches, s.Mismatches)
	ch <- prometheus.MustNewConstMetric(c.entries, prometheus.GaugeValue, float64(s.Entries))
	ch <- prometheus.MustNewConstMetric(c.enabled, prometheus.GaugeValue, boolean(s.Off == ""))
}

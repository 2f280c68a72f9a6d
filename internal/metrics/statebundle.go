package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// StateBundleStats are figures that whoever signs state bundles keeps itself.
type StateBundleStats struct {
	Up      bool      // what has changed could be signed
	Expires time.Time // of the last bundle; zero before the first
}

// stateBundleMetrics are about what nodes elsewhere are told; registered by StateBundles.
type stateBundleMetrics struct{ signed *prometheus.CounterVec }

// StateBundles exports the metrics of a process that signs state bundles. It is called
// at most once.
func (m *Metrics) StateBundles(stats func() StateBundleStats) {
	m.stateBundle.signed = m.counterVec("charter_state_bundles_total", "Attempts to sign what nodes elsewhere are told of standings, revocations and overrides, by result.", closed("result", "success", "failure"))
	for _, result := range []string{"success", "failure"} {
		m.stateBundle.signed.WithLabelValues(result)
	}
	m.registry.MustRegister(m.stateBundle.signed, &stateBundleCollector{
		stats:   stats,
		up:      m.reading(typeGauge, "charter_state_bundle_up", "1 while state bundles can be signed, else 0; then nodes elsewhere are told of no change."),
		expires: m.reading(typeGauge, "charter_state_bundle_expiry_timestamp_seconds", "Unix time at which the state bundle ends that was signed last; the next one is signed at half of its time. Absent before the first."),
	})
}

// StateSigned records an attempt to sign a state bundle. It must follow StateBundles.
func (m *Metrics) StateSigned(ok bool) {
	result := "failure"
	if ok {
		result = "success"
	}
	m.stateBundle.signed.WithLabelValues(result).Inc()
}

// stateBundleCollector exports what the signer of state bundles keeps itself.
type stateBundleCollector struct {
	stats       func() StateBundleStats
	up, expires *prometheus.Desc
}

// Describe implements [prometheus.Collector].
func (c *stateBundleCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.up
	ch <- c.expires
}

// Collect implements [prometheus.Collector].
func (c *stateBundleCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.stats()
	ch <- prometheus.MustNewConstMetric(c.up, prometheus.GaugeValue, boolean(s.Up))
	if !s.Expires.IsZero() {
		ch <- prometheus.MustNewConstMetric(c.expires, prometheus.GaugeValue, float64(s.Expires.UnixMilli())/1000)
	}
}

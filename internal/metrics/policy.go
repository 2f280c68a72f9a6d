package metrics

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// policyCollector exports the active policy as one snapshot: a scrape during a
// swap sees the old policy or the new one, never both and never none.
type policyCollector struct {
	active  atomic.Pointer[Policy]
	info    *prometheus.Desc
	version *prometheus.Desc
}

func newPolicyCollector() *policyCollector {
	return &policyCollector{
		info:    prometheus.NewDesc("charter_policy_info", "The active policy; always 1.", []string{"charter", "revision"}, nil),
		version: prometheus.NewDesc("charter_policy_version", "The version the active charter gives itself; always 1.", []string{"charter", "version"}, nil),
	}
}

// Describe implements [prometheus.Collector].
func (c *policyCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.info
	ch <- c.version
}

// Collect implements [prometheus.Collector]. Without a policy there is nothing
// to say.
func (c *policyCollector) Collect(ch chan<- prometheus.Metric) {
	p := c.active.Load()
	if p == nil {
		return
	}
	ch <- prometheus.MustNewConstMetric(c.info, prometheus.GaugeValue, 1, p.Charter, p.Revision)
	ch <- prometheus.MustNewConstMetric(c.version, prometheus.GaugeValue, 1, p.Charter, p.Release)
}

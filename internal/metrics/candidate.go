package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/westworld-charter/charter/internal/rollout"
)

// candidateCollector exports what the rollout counts itself.
type candidateCollector struct {
	stats     func() rollout.Stats
	decisions *prometheus.Desc
	dropped   *prometheus.Desc
	percent   *prometheus.Desc
	stopped   *prometheus.Desc
}

// Candidate exports the counters of a rollout. It is called at most once.
func (m *Metrics) Candidate(stats func() rollout.Stats) {
	m.registry.MustRegister(&candidateCollector{
		stats:     stats,
		decisions: m.reading(typeCounter, "charter_candidate_decisions_total", "Questions decided by the active policy and by a candidate, by how the answers differ: none, widened (only the candidate allows), narrowed, obligations, or explanation alone.", closed("difference", differences()...)),
		dropped:   m.reading(typeCounter, "charter_candidate_dropped_total", "Questions not compared with a candidate, because too many were waiting or a policy was replaced meanwhile."),
		percent:   m.reading(typeGauge, "charter_candidate_percent", "Percentage of nodes that a candidate answers now; 0 in shadow and without one."),
		stopped:   m.reading(typeGauge, "charter_candidate_stopped", "1 while a candidate is out, stopped by itself or by an operator, else 0."),
	})
}

// Describe implements [prometheus.Collector].
func (c *candidateCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.decisions, c.dropped, c.percent, c.stopped} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *candidateCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.stats()
	for _, k := range rollout.Kinds() {
		ch <- prometheus.MustNewConstMetric(c.decisions, prometheus.CounterValue, float64(s.Counts[k]), k.String())
	}
	ch <- prometheus.MustNewConstMetric(c.dropped, prometheus.CounterValue, float64(s.Dropped))
	ch <- prometheus.MustNewConstMetric(c.percent, prometheus.GaugeValue, float64(s.Percent))
	ch <- prometheus.MustNewConstMetric(c.stopped, prometheus.GaugeValue, boolean(s.Stopped))
}

// differences are the kinds of a rollout.
func differences() []string {
	var list []string
	for _, k := range rollout.Kinds() {
		list = append(list, k.String())
	}
	return list
}

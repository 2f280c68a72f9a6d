package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Parts of what is released.
const (
	PartPolicy = "policy"
	PartState  = "state"
)

// ReleaseStats are figures that whoever follows signed releases keeps itself. Zero
// times and sequences are those that are not known.
type ReleaseStats struct {
	Sequence    int64     // of the release that decides
	Expires     time.Time // of its statement
	LastChecked time.Time // when it was last known what is released
	Degraded    bool
	State       bool // there is a state bundle
	// StateSequence and StateExpires are of the state bundle in force.
	StateSequence int64
	StateExpires  time.Time
}

// releaseMetrics are about signed releases; registered by Releases.
type releaseMetrics struct {
	codes    []string
	refusals *prometheus.CounterVec
	accepted *prometheus.CounterVec
	reports  *prometheus.CounterVec // registered by Reports
}

// Releases exports the metrics of a process that follows signed releases. Codes are
// all reasons for which one can be refused. It is called at most once.
func (m *Metrics) Releases(codes []string, stats func() ReleaseStats) {
	parts := closed("part", PartPolicy, PartState)
	m.release.codes = codes
	m.release.refusals = m.counterVec("charter_release_refusals_total", "Releases and state bundles that were refused, by reason: once for each, however often it was looked at, and again when it is offered again after something else.", parts, listed("code", codes))
	m.release.accepted = m.counterVec("charter_release_activations_total", "Releases and state bundles that were verified and came in force.", parts)
	for _, part := range parts.Values {
		m.release.accepted.WithLabelValues(part)
	}
	m.registry.MustRegister(m.release.refusals, m.release.accepted, &releaseCollector{
		stats:         stats,
		sequence:      m.reading(typeGauge, "charter_release_sequence", "Sequence of the release that decides. Absent without one."),
		expires:       m.reading(typeGauge, "charter_release_expiry_timestamp_seconds", "Unix time at which the statement about the release that decides ends; it decides on, degraded. Absent without one."),
		checked:       m.reading(typeGauge, "charter_release_last_check_timestamp_seconds", "Unix time at which it was last known what is released. Absent before the first time."),
		degraded:      m.reading(typeGauge, "charter_release_degraded", "1 while what is released cannot be had, or was refused, or has expired, else 0."),
		stateSequence: m.reading(typeGauge, "charter_state_sequence", "Sequence of the state bundle in force. Absent without one."),
		stateExpires:  m.reading(typeGauge, "charter_state_expiry_timestamp_seconds", "Unix time at which the state bundle in force ends. Absent without one."),
	})
}

// ReleaseRefused records that a release, or a state bundle, was refused.
func (m *Metrics) ReleaseRefused(part, code string) {
	m.release.refusals.WithLabelValues(part, oneOf(code, m.release.codes)).Inc()
}

// ReleaseActivated records that a release, or a state bundle, came in force.
func (m *Metrics) ReleaseActivated(part string) { m.release.accepted.WithLabelValues(part).Inc() }

// Reports exports how sending reports about this node goes. It is called at most once.
func (m *Metrics) Reports() {
	m.release.reports = m.counterVec("charter_node_reports_total", "Reports about this node to its server, by result.", closed("result", "success", "failure"))
	for _, result := range []string{"success", "failure"} {
		m.release.reports.WithLabelValues(result)
	}
	m.registry.MustRegister(m.release.reports)
}

// Reported records one report about this node.
func (m *Metrics) Reported(ok bool) {
	result := "failure"
	if ok {
		result = "success"
	}
	m.release.reports.WithLabelValues(result).Inc()
}

// releaseCollector exports what the follower of releases keeps itself.
type releaseCollector struct {
	stats func() ReleaseStats

	sequence, expires, checked, degraded, stateSequence, stateExpires *prometheus.Desc
}

// Describe implements [prometheus.Collector].
func (c *releaseCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.sequence, c.expires, c.checked, c.degraded, c.stateSequence, c.stateExpires} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *releaseCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.stats()
	gauge := func(d *prometheus.Desc, v float64) { ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v) }
	number := func(d *prometheus.Desc, n int64) {
		if n > 0 {
			gauge(d, float64(n))
		}
	}
	moment := func(d *prometheus.Desc, t time.Time) {
		if !t.IsZero() {
			gauge(d, float64(t.UnixMilli())/1000)
		}
	}
	gauge(c.degraded, boolean(s.Degraded))
	number(c.sequence, s.Sequence)
	moment(c.expires, s.Expires)
	moment(c.checked, s.LastChecked)
	if s.State {
		number(c.stateSequence, s.StateSequence)
		moment(c.stateExpires, s.StateExpires)
	}
}

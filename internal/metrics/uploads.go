package metrics

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// uploadMetrics are about what stock OPAs upload; registered by Uploads.
type uploadMetrics struct {
	uploads   *prometheus.CounterVec
	decisions *prometheus.CounterVec
}

// Bundles exports how many wait for another bundle. It is called at most once.
func (m *Metrics) Bundles(waiting func() int) {
	m.counted("charter_bundle_waiters", "Clients that wait for another bundle than they have (long polls).", waiting)
}

// Uploads exports the metrics of a process to which OPAs upload, and how many of these
// it knows. It is called at most once.
func (m *Metrics) Uploads(instances func() int) {
	results := closed("result", "denied", "allowed", "repeated", "refused", "unreadable", "ignored", "dropped")
	m.upload.uploads = m.counterVec("charter_opa_uploads_total", "Uploads of OPAs, by what they are and the status that they were answered with.",
		closed("kind", "logs", "status"), Label{Name: "code", Bound: "status codes that the server sends"})
	m.upload.decisions = m.counterVec("charter_opa_decisions_total", "Decisions that OPAs uploaded, by what became of them. Repeated and refused ones are among the denied or allowed ones, too; of dropped ones, which never arrived, these are at least so many.", results)
	for _, result := range results.Values {
		m.upload.decisions.WithLabelValues(result)
	}
	m.registry.MustRegister(m.upload.uploads, m.upload.decisions)
	m.counted("charter_opa_instances", "OPAs that uploaded their status within the last day.", instances)
}

// counted registers a gauge of what somebody else counts.
func (m *Metrics) counted(name, help string, count func() int) {
	m.family(typeGauge, name, help, nil)
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(count()) }))
}

// Uploaded records one upload.
func (m *Metrics) Uploaded(kind string, status int) {
	m.upload.uploads.WithLabelValues(kind, strconv.Itoa(status)).Inc()
}

// DecisionsReported records what became of n decisions in an upload.
func (m *Metrics) DecisionsReported(result string, n uint64) {
	m.upload.decisions.WithLabelValues(result).Add(float64(n))
}

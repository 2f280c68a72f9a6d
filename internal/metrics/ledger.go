package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/westworld-charter/charter/internal/ledger"
)

// LedgerStats are figures that the ledger and its auditor keep themselves.
type LedgerStats struct {
	Up        bool   // it can be written
	Size      uint64 // entries
	Queued    int    // entries that wait
	Witnessed uint64 // entries below the latest checkpoint with enough cosignatures
	ClockBack uint64 // entries for which the clock had gone back, since it was opened
	Lost      uint64 // denials that were answered unrecorded
	Cosigned  bool   // witnesses are configured
}

// ledgerMetrics are about the ledger.
type ledgerMetrics struct {
	entries  *prometheus.CounterVec
	commits  prometheus.Histogram
	failures prometheus.Counter
}

func (m *Metrics) defineLedger() {
	m.ledger = ledgerMetrics{
		entries:  m.counterVec("charter_ledger_entries_total", "Entries appended to the ledger by this process, by kind.", listed("kind", kinds())),
		commits:  m.histogram("charter_ledger_commit_seconds", "Time to make a group of entries durable, with its checkpoint.", commitBuckets()),
		failures: m.counter("charter_ledger_failures_total", "Attempts to record something that failed, or came too late."),
	}
	for _, kind := range kinds() {
		m.ledger.entries.WithLabelValues(kind)
	}
}

// Ledger exports the metrics of a ledger and of what is read off it. It is called
// at most once.
func (m *Metrics) Ledger(stats func() LedgerStats) {
	m.registry.MustRegister(m.ledger.entries, m.ledger.commits, m.ledger.failures, &ledgerCollector{
		stats:     stats,
		up:        m.reading(typeGauge, "charter_ledger_up", "1 while the ledger can be written, else 0; then nothing is allowed that the charter wants recorded."),
		size:      m.reading(typeGauge, "charter_ledger_size", "Entries in the ledger."),
		queued:    m.reading(typeGauge, "charter_ledger_queue_length", "Entries that wait to be written."),
		witnessed: m.reading(typeGauge, "charter_ledger_witnessed_size", "Entries that a quorum of witnesses has cosigned. Absent without witnesses."),
		clockBack: m.reading(typeCounter, "charter_ledger_clock_back_total", "Entries that got the time of the one before, because the clock had gone back."),
		lost:      m.reading(typeCounter, "charter_ledger_lost_total", "Denials that were answered and are not in the ledger, or may not be. A gap entry counts them once it can be written."),
	})
	m.registerAccountability()
}

// LedgerCommitted records one commit. What the entries say about violations and
// their consequences is counted here and nowhere else, so that the counts are
// those of the ledger: nothing twice after a retry, nothing that was not recorded.
func (m *Metrics) LedgerCommitted(c ledger.Commit, took time.Duration) {
	for i := range c.Rows {
		m.ledger.entries.WithLabelValues(oneOf(string(c.Rows[i].Kind), kinds())).Inc()
		m.account(&c.Rows[i])
	}
	if len(c.Rows) > 0 {
		m.ledger.commits.Observe(took.Seconds())
	}
}

// LedgerFailed records that something could not be recorded.
func (m *Metrics) LedgerFailed() { m.ledger.failures.Inc() }

func kinds() []string {
	var list []string
	for _, kind := range ledger.Kinds() {
		list = append(list, string(kind))
	}
	return list
}

// ledgerCollector exports what the ledger counts itself.
type ledgerCollector struct {
	stats                                        func() LedgerStats
	up, size, queued, witnessed, clockBack, lost *prometheus.Desc
}

// Describe implements [prometheus.Collector].
func (c *ledgerCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.up, c.size, c.queued, c.witnessed, c.clockBack, c.lost} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *ledgerCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.stats()
	ch <- prometheus.MustNewConstMetric(c.up, prometheus.GaugeValue, boolean(s.Up))
	ch <- prometheus.MustNewConstMetric(c.size, prometheus.GaugeValue, float64(s.Size))
	ch <- prometheus.MustNewConstMetric(c.queued, prometheus.GaugeValue, float64(s.Queued))
	ch <- prometheus.MustNewConstMetric(c.clockBack, prometheus.CounterValue, float64(s.ClockBack))
	ch <- prometheus.MustNewConstMetric(c.lost, prometheus.CounterValue, float64(s.Lost))
	if s.Cosigned {
		ch <- prometheus.MustNewConstMetric(c.witnessed, prometheus.GaugeValue, float64(s.Witnessed))
	}
}

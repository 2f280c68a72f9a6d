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
}

// ledgerMetrics are about the ledger.
type ledgerMetrics struct {
	entries  *prometheus.CounterVec
	commits  prometheus.Histogram
	failures prometheus.Counter
}

func (m *Metrics) defineLedger() {
	m.ledger = ledgerMetrics{
		entries:  counterVec("charter_ledger_entries_total", "Entries appended to the ledger by this process, by kind.", "kind"),
		commits:  histogram("charter_ledger_commit_seconds", "Time to make a group of entries durable, with its checkpoint.", commitBuckets()),
		failures: prometheus.NewCounter(prometheus.CounterOpts{Name: "charter_ledger_failures_total", Help: "Attempts to record something that failed, or came too late."}),
	}
	for _, kind := range ledger.Kinds() {
		m.ledger.entries.WithLabelValues(string(kind))
	}
}

// commitBuckets cover a solid-state disk (0.5 ms) to one that hangs.
func commitBuckets() []float64 {
	return []float64{0.5e-3, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 1, 5, 30}
}

// Ledger exports the metrics of a ledger. It is called at most once.
func (m *Metrics) Ledger(stats func() LedgerStats) {
	desc := func(name, help string) *prometheus.Desc { return prometheus.NewDesc(name, help, nil, nil) }
	m.registry.MustRegister(m.ledger.entries, m.ledger.commits, m.ledger.failures, &ledgerCollector{
		stats:     stats,
		up:        desc("charter_ledger_up", "1 while the ledger can be written, else 0; then nothing is allowed that the charter wants recorded."),
		size:      desc("charter_ledger_size", "Entries in the ledger."),
		queued:    desc("charter_ledger_queue_length", "Entries that wait to be written."),
		witnessed: desc("charter_ledger_witnessed_size", "Entries that a quorum of witnesses has cosigned; 0 without witnesses."),
		clockBack: desc("charter_ledger_clock_back_total", "Entries that got the time of the one before, because the clock had gone back."),
		lost:      desc("charter_ledger_lost_total", "Denials that were answered and are not in the ledger, or may not be. A gap entry counts them once it can be written."),
	})
}

// LedgerCommitted records one commit.
func (m *Metrics) LedgerCommitted(c ledger.Commit, took time.Duration) {
	for i := range c.Rows {
		m.ledger.entries.WithLabelValues(oneOf(string(c.Rows[i].Kind), kinds())).Inc()
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
	up := 0.0
	if s.Up {
		up = 1
	}
	ch <- prometheus.MustNewConstMetric(c.up, prometheus.GaugeValue, up)
	ch <- prometheus.MustNewConstMetric(c.size, prometheus.GaugeValue, float64(s.Size))
	ch <- prometheus.MustNewConstMetric(c.queued, prometheus.GaugeValue, float64(s.Queued))
	ch <- prometheus.MustNewConstMetric(c.witnessed, prometheus.GaugeValue, float64(s.Witnessed))
	ch <- prometheus.MustNewConstMetric(c.clockBack, prometheus.CounterValue, float64(s.ClockBack))
	ch <- prometheus.MustNewConstMetric(c.lost, prometheus.CounterValue, float64(s.Lost))
}

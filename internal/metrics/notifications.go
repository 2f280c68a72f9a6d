package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/westworld-charter/charter/internal/ledger"
)

// notificationMetrics are about messages to people.
type notificationMetrics struct {
	sent     *prometheus.CounterVec // from the ledger, registered by Ledger
	failures *prometheus.CounterVec
	took     *prometheus.HistogramVec
}

func deliveries() []string {
	return []string{ledger.Delivered, ledger.Undelivered, ledger.DeadLettered}
}

func channels() []string { return []string{"slack", "email", "webhook"} }

func (m *Metrics) defineNotifications() {
	m.notification = notificationMetrics{
		sent: m.counterVec("charter_audit_committee_notifications_total", "Messages to receivers of the charter, by the gravest severity in them, receiver, and what became of them.",
			listed("severity", severities()), Label{Name: "receiver", Bound: "names in `notify` of the active charter; else `other`"}, listed("status", deliveries())),
		failures: m.counterVec("charter_notification_failures_total", "Attempts to deliver a message that failed, by channel.", listed("channel", channels())),
		took: m.histogramVec("charter_committee_notification_latency_seconds", "Time from an event until a receiver accepted the message about it. A digest waits on purpose.", reactionBuckets(),
			listed("severity", severities()), closed("digest", "false", "true")),
	}
	for _, c := range channels() {
		m.notification.failures.WithLabelValues(c)
	}
	for _, s := range severities() {
		m.notification.took.WithLabelValues(s, "false")
	}
}

// notified counts what the ledger says about a message.
func (m *Metrics) notified(row *ledger.Row, d ledger.Delivery) {
	receiver := oneOf(d.Receiver, m.names.Load().receivers)
	m.notification.sent.WithLabelValues(oneOf(row.Severity, severities()), receiver, oneOf(d.State, deliveries())).Inc()
}

// NotificationDelivered records that a receiver accepted a message; waited is the
// time since the oldest event in it. A digest collects several on purpose.
func (m *Metrics) NotificationDelivered(severity string, digest bool, waited time.Duration) {
	which := "false"
	if digest {
		which = "true"
	}
	m.notification.took.WithLabelValues(oneOf(severity, severities()), which).Observe(waited.Seconds())
}

// NotificationFailed records an attempt that failed. The code is in the log and in
// the ledger.
func (m *Metrics) NotificationFailed(channel, _ string) {
	m.notification.failures.WithLabelValues(oneOf(channel, channels())).Inc()
}

// NotificationStats are figures that the notifier keeps itself.
type NotificationStats struct {
	Queued  int  // messages that wait for delivery
	Dead    int  // deliveries given up since the start
	Dropped int  // messages that found no room, since the start
	Failing int  // receivers whose last attempt failed
	Outbox  bool // it can be written
}

// notificationCollector exports what the notifier counts itself.
type notificationCollector struct {
	stats                                  func() NotificationStats
	queued, dead, dropped, failing, outbox *prometheus.Desc
}

// Notifications exports the metrics of a notifier. It is called at most once.
func (m *Metrics) Notifications(stats func() NotificationStats) {
	m.registry.MustRegister(m.notification.failures, m.notification.took, &notificationCollector{
		stats:   stats,
		queued:  m.reading(typeGauge, "charter_notification_queue_length", "Messages that wait for delivery."),
		dead:    m.reading(typeCounter, "charter_notification_dead_letters_total", "Deliveries that were given up; the messages are kept for people to look at."),
		dropped: m.reading(typeCounter, "charter_notifications_dropped_total", "Messages that found no room among those that wait."),
		failing: m.reading(typeGauge, "charter_notification_receivers_failing", "Receivers whose last attempt failed."),
		outbox:  m.reading(typeGauge, "charter_notification_outbox_up", "1 while messages that wait survive a crash, else 0."),
	})
}

// Describe implements [prometheus.Collector].
func (c *notificationCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.queued, c.dead, c.dropped, c.failing, c.outbox} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *notificationCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.stats()
	ch <- prometheus.MustNewConstMetric(c.queued, prometheus.GaugeValue, float64(s.Queued))
	ch <- prometheus.MustNewConstMetric(c.dead, prometheus.CounterValue, float64(s.Dead))
	ch <- prometheus.MustNewConstMetric(c.dropped, prometheus.CounterValue, float64(s.Dropped))
	ch <- prometheus.MustNewConstMetric(c.outbox, prometheus.GaugeValue, boolean(s.Outbox))
	ch <- prometheus.MustNewConstMetric(c.failing, prometheus.GaugeValue, float64(s.Failing))
}

package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/westworld-charter/charter/internal/fleet"
)

// halts are what stops a rollout.
func halts() []string { return append(fleet.GateNames(), fleet.ByPerson, fleet.ByTrust) }

// reportResults are what becomes of a report of a node.
func reportResults() []string {
	return []string{"taken", "invalid_request", "node_mismatch", string(fleet.TooManyNodes), string(fleet.CannotBeWritten)}
}

// fleetMetrics are about nodes and the releases they run.
type fleetMetrics struct {
	reports *prometheus.CounterVec // registered by Fleet
}

func (m *Metrics) defineFleet() {
	m.fleet.reports = m.counterVec("charter_fleet_reports_total", "Reports of nodes, by what became of them: taken, or the code of the refusal.", listed("result", reportResults()))
	for _, r := range reportResults() {
		m.fleet.reports.WithLabelValues(r)
	}
}

// NodeReported counts a report of a node.
func (m *Metrics) NodeReported(result string) {
	m.fleet.reports.WithLabelValues(oneOf(result, reportResults())).Inc()
}

// fleetCollector exports what the fleet counts itself.
type fleetCollector struct {
	stats                                                      func() fleet.Stats
	nodes, newest, oldest, skew, stage, stages, percent, state *prometheus.Desc
	halts, alarms, pending, untrusted                          *prometheus.Desc
}

// Fleet exports the metrics of a fleet. It is called at most once.
func (m *Metrics) Fleet(stats func() fleet.Stats) {
	m.registry.MustRegister(m.fleet.reports, &fleetCollector{
		stats:     stats,
		nodes:     m.reading(typeGauge, "charter_fleet_nodes", "Nodes by their gravest condition: current, behind (runs an older release than it is offered), degraded, silent (owes reports), went_backwards (runs an older release than it has reported before), unknown_release, or no_report.", closed("state", fleet.Conditions()...)),
		newest:    m.reading(typeGauge, "charter_fleet_newest_sequence", "Sequence of the release that everybody gets in the end; 0 before the first rollout."),
		oldest:    m.reading(typeGauge, "charter_fleet_oldest_sequence", "Lowest sequence that a node runs which is not silent; 0 when there is none."),
		skew:      m.reading(typeGauge, "charter_fleet_clock_skew_seconds", "By how much the clock of a node differs from ours, of the node that differs most; the way of its report included."),
		stage:     m.reading(typeGauge, "charter_rollout_stage", "Stage that the latest rollout has reached, from 1; 0 before the first."),
		stages:    m.reading(typeGauge, "charter_rollout_stages", "Stages of the latest rollout."),
		percent:   m.reading(typeGauge, "charter_rollout_stage_percent", "Percentage of node ids that the stage of the latest rollout reaches, of those with its labels."),
		state:     m.reading(typeGauge, "charter_rollouts", "Latest rollouts of channels, by state. One that is halted or rolled back waits for a person.", closed("state", fleet.States()...)),
		halts:     m.reading(typeCounter, "charter_rollout_halts_total", "Rollouts that were halted or rolled back, by the gate that did not hold, by a person, or because the trust policy does not trust the release any more.", closed("cause", halts()...)),
		alarms:    m.reading(typeCounter, "charter_fleet_backwards_total", "Times that a node began to run an older release than it had reported, as when a disk is replaced by an older copy."),
		pending:   m.reading(typeGauge, "charter_rollout_unrecorded_steps", "Steps of rollouts that are in force and wait for the ledger."),
		untrusted: m.reading(typeGauge, "charter_fleet_untrusted_releases", "Releases that nodes would be given and are not, because the trust policy does not trust them any more."),
	})
}

// Describe implements [prometheus.Collector].
func (c *fleetCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.nodes, c.newest, c.oldest, c.skew, c.stage, c.stages, c.percent, c.state, c.halts, c.alarms, c.pending, c.untrusted} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *fleetCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.stats()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for _, condition := range fleet.Conditions() {
		gauge(c.nodes, float64(s.Nodes[condition]), condition)
	}
	gauge(c.newest, float64(s.Newest))
	gauge(c.oldest, float64(s.Oldest))
	gauge(c.skew, s.Skew)
	gauge(c.stage, float64(s.Stage))
	gauge(c.stages, float64(s.Stages))
	gauge(c.percent, float64(s.Percent))
	for _, state := range fleet.States() {
		gauge(c.state, float64(s.States[state]), state)
	}
	for _, cause := range halts() {
		ch <- prometheus.MustNewConstMetric(c.halts, prometheus.CounterValue, float64(s.Halts[cause]), cause)
	}
	ch <- prometheus.MustNewConstMetric(c.alarms, prometheus.CounterValue, float64(s.Alarms))
	gauge(c.pending, float64(s.Pending))
	gauge(c.untrusted, float64(s.Untrusted))
}

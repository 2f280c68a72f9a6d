package metrics

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/westworld-charter/charter/internal/ledger"
)

// accountability is about violations and what follows from them. All counters are
// read off entries of the ledger; durations and gauges come from enforcement.
type accountability struct {
	violations     *prometheus.CounterVec
	reports        *prometheus.CounterVec
	investigations *prometheus.CounterVec
	outcomes       *prometheus.CounterVec
	overrides      *prometheus.CounterVec
	revocations    *prometheus.CounterVec
	standings      *prometheus.CounterVec
	alerts         *prometheus.CounterVec
	reportTook     prometheus.Histogram
	standingTook   prometheus.Histogram
	revocationTook prometheus.Histogram
}

// Values of labels.
const (
	byQuorum = "quorum"
	byExpiry = "expiry"

	confirmed = "confirmed"
	unfounded = "unfounded"
	dismissed = "dismissed"
	overdue   = "overdue"
)

// initiators are who opens investigations: this program, somebody by certificate or
// token, or somebody unknown.
func initiators() []string { return []string{"automatic", "certificate", "token", "anonymous"} }

// loosened are what overrides loosen.
func loosened() []string { return []string{"retention", "purposes", "both"} }

func overrideActions() []string { return []string{ledger.Began, ledger.Renewed, ledger.Ended} }

func standings() []string { return []string{"good", "warned", "suspended", "quarantined"} }

func (m *Metrics) defineAccountability() {
	node := Label{Name: "node", Bound: nodeBound}
	m.accountable = accountability{
		violations: m.counterVec("charter_violations_total", "Incidents: a node's own authenticated attempt at something forbidden, however many series it tried within the quiet period, or a report that an investigation confirmed.",
			listed("severity", severities()), listed("violation_type", violationTypes()), node),
		reports: m.counterVec("charter_violation_reports_total", "Reports of violations that people made. A report alone is no violation.", listed("violation_type", violationTypes())),
		investigations: m.counterVec("charter_investigation_initiated_total", "Investigations opened, by the type of the violation and who opened them.",
			listed("violation_type", violationTypes()), listed("initiated_by", initiators())),
		outcomes: m.counterVec("charter_investigation_outcomes_total", "Investigations resolved or dismissed, and those whose time ran out.", listed("outcome", []string{confirmed, unfounded, dismissed, overdue})),
		overrides: m.counterVec("charter_emergency_override_total", "Emergency overrides that began, were renewed or ended, by what they loosen and whether a quorum or their expiry did it.",
			listed("action", overrideActions()), listed("reason", loosened()), listed("by", []string{byQuorum, byExpiry})),
		revocations: m.counterVec("charter_data_revocation_events_total", "Data access of nodes revoked or given back, by reason and node.",
			listed("action", []string{ledger.Began, ledger.Ended}), listed("reason", ledger.RevocationReasons()), node),
		standings:      m.counterVec("charter_standing_changes_total", "Changes of a node's standing, by the standing it has from then on.", listed("to", standings())),
		alerts:         m.counterVec("charter_alerts_received_total", "Alerts that Alertmanager told of, by status.", listed("status", []string{"firing", "resolved"})),
		reportTook:     m.histogram("charter_violation_report_latency_seconds", "Time from a denial or report until its violation is in the ledger.", reactionBuckets()),
		standingTook:   m.histogram("charter_standing_latency_seconds", "Time from a denial in the ledger until the next decision obeys the node's new standing.", reactionBuckets()),
		revocationTook: m.histogram("charter_data_revocation_latency_seconds", "Time from an accepted revocation of data access until the next decision obeys it.", reactionBuckets()),
	}
	m.accountable.zero()
}

// zero makes series without a node begin at 0, so that the first event is an
// increase.
func (a *accountability) zero() {
	for _, t := range append(violationTypes(), Other) {
		a.reports.WithLabelValues(t)
		for _, by := range initiators() {
			a.investigations.WithLabelValues(t, by)
		}
	}
	for _, o := range []string{confirmed, unfounded, dismissed, overdue} {
		a.outcomes.WithLabelValues(o)
	}
	for _, what := range loosened() {
		for _, action := range overrideActions() {
			a.overrides.WithLabelValues(action, what, byQuorum)
		}
		a.overrides.WithLabelValues(ledger.Ended, what, byExpiry)
	}
	for _, s := range standings() {
		a.standings.WithLabelValues(s)
	}
	for _, s := range []string{"firing", "resolved"} {
		a.alerts.WithLabelValues(s)
	}
}

func (m *Metrics) registerAccountability() {
	a := &m.accountable
	m.registry.MustRegister(a.violations, a.reports, a.investigations, a.outcomes, a.overrides, a.revocations, a.standings, a.alerts,
		a.reportTook, a.standingTook, a.revocationTook, m.notification.sent)
}

// ReportLatency records how long it took from a denial or report to its entry.
func (m *Metrics) ReportLatency(took time.Duration) { m.accountable.reportTook.Observe(took.Seconds()) }

// StandingLatency records how long it took from a denial to a new standing.
func (m *Metrics) StandingLatency(took time.Duration) {
	m.accountable.standingTook.Observe(took.Seconds())
}

// RevocationLatency records how long it took from a revocation to its effect.
func (m *Metrics) RevocationLatency(took time.Duration) {
	m.accountable.revocationTook.Observe(took.Seconds())
}

// account counts what an entry says.
func (m *Metrics) account(row *ledger.Row) {
	a := &m.accountable
	switch row.Kind {
	case ledger.Violation:
		v := dataOf[ledger.ViolationRecord](row)
		if v.Source == ledger.FromReport {
			a.reports.WithLabelValues(oneOf(v.Type, violationTypes())).Inc()
			return
		}
		m.violation(row, v.Type, true)
	case ledger.Investigation:
		m.investigation(row, dataOf[ledger.InvestigationStep](row))
	case ledger.Override:
		o := dataOf[ledger.OverrideChange](row)
		a.overrides.WithLabelValues(oneOf(o.Action, overrideActions()), reasonOf(&o), oneOf(o.By, []string{byQuorum, byExpiry})).Inc()
	case ledger.Revocation:
		r := dataOf[ledger.RevocationChange](row)
		action, why := oneOf(r.Action, []string{ledger.Began, ledger.Ended}), oneOf(r.Reason, ledger.RevocationReasons())
		// A quorum named the node: that it showed a certificate is not asked for.
		node := within(&m.bounds.revoked, m.node(row.Node, true), action, why)
		a.revocations.WithLabelValues(action, why, node).Inc()
	case ledger.Standing:
		a.standings.WithLabelValues(oneOf(dataOf[ledger.StandingChange](row).To, standings())).Inc()
	case ledger.Notification:
		m.notified(row, dataOf[ledger.Delivery](row))
	case ledger.Alert:
		a.alerts.WithLabelValues(oneOf(dataOf[ledger.AlertRecord](row).Status, []string{"firing", "resolved"})).Inc()
	default: // nothing else is about violations
	}
}

// violation counts an incident. Proven says that the node showed a certificate.
func (m *Metrics) violation(row *ledger.Row, kind string, proven bool) {
	severity, kind := oneOf(row.Severity, severities()), oneOf(kind, violationTypes())
	node := within(&m.bounds.violated, m.node(row.Node, proven), severity, kind)
	m.accountable.violations.WithLabelValues(severity, kind, node).Inc()
}

func (m *Metrics) investigation(row *ledger.Row, s ledger.InvestigationStep) {
	a := &m.accountable
	switch s.Action {
	case ledger.InvestigationOpened:
		a.investigations.WithLabelValues(oneOf(s.Type, violationTypes()), initiator(s.By, row.Principal)).Inc()
	case ledger.InvestigationResolved:
		a.outcomes.WithLabelValues(oneOf(s.Outcome, []string{confirmed, unfounded})).Inc()
		if s.Outcome == confirmed && s.At != "" {
			// A report that is now an incident; whom it names may never have asked.
			m.violation(row, s.Type, false)
		}
	case ledger.InvestigationDismissed:
		a.outcomes.WithLabelValues(dismissed).Inc()
	case ledger.InvestigationOverdue:
		a.outcomes.WithLabelValues(overdue).Inc()
	}
}

// initiator is the kind of an identity.
func initiator(by, principal string) string {
	if by == "" {
		by = principal
	}
	kind, _, named := strings.Cut(by, ":")
	switch {
	case by == "":
		return "anonymous"
	case named && kind == "charter":
		return "automatic"
	case named && kind == "cert":
		return "certificate"
	case named && kind == "token":
		return "token"
	default:
		return Other
	}
}

// reasonOf is what an override loosens.
func reasonOf(o *ledger.OverrideChange) string {
	switch {
	case o.Retention != "" && len(o.Purposes) > 0:
		return "both"
	case o.Retention != "":
		return "retention"
	case len(o.Purposes) > 0:
		return "purposes"
	default:
		return Other
	}
}

// dataOf reads the Data of an entry, the zero value when there is none. The ledger
// has checked the rest.
func dataOf[T any](row *ledger.Row) T {
	var body struct {
		Data T `json:"data"`
	}
	_ = json.Unmarshal(row.Body, &body) // what is pruned or foreign counts as other
	return body.Data
}

// EnforcementStats are figures that enforcement keeps itself.
type EnforcementStats struct {
	Investigations map[string]int // open ones by severity
	Overdue        int            // of these, those whose time has run out
	Overrides      int            // in force
	Standings      map[string]int // nodes by standing, but for those in good standing
	Revoked        int            // nodes whose data access is revoked
	Late           uint64         // denials answered before their consequences were in force, since the start
	Up             bool           // consequences do not wait
}

// enforcementCollector exports what enforcement counts itself.
type enforcementCollector struct {
	stats                                                           func() EnforcementStats
	investigations, overdue, overrides, standing, revoked, late, up *prometheus.Desc
}

// Enforcement exports the state of enforcement. It is called at most once.
func (m *Metrics) Enforcement(stats func() EnforcementStats) {
	m.registry.MustRegister(&enforcementCollector{
		stats:          stats,
		investigations: m.reading(typeGauge, "charter_violations_under_investigation", "Violations and reports whose investigation is open, by severity.", listed("severity", severities())),
		overdue:        m.reading(typeGauge, "charter_investigations_overdue", "Open investigations whose time has run out."),
		overrides:      m.reading(typeGauge, "charter_emergency_override_active", "Emergency overrides in force."),
		standing:       m.reading(typeGauge, "charter_nodes", "Nodes by standing, but for those in good standing.", closed("standing", standings()[1:]...)),
		revoked:        m.reading(typeGauge, "charter_nodes_revoked", "Nodes whose data access is revoked."),
		late:           m.reading(typeCounter, "charter_enforcement_late_total", "Denials that were answered before their consequences were in force."),
		up:             m.reading(typeGauge, "charter_enforcement_up", "1 while denials have their consequences, 0 while these wait for the ledger or the policy."),
	})
}

// Describe implements [prometheus.Collector].
func (c *enforcementCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.investigations, c.overdue, c.overrides, c.standing, c.revoked, c.late, c.up} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *enforcementCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.stats()
	gauge := func(d *prometheus.Desc, n int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
	}
	rest := 0
	for severity, n := range s.Investigations {
		if !slices.Contains(severities(), severity) {
			rest += n
		}
	}
	gauge(c.investigations, rest, Other)
	for _, severity := range severities() {
		gauge(c.investigations, s.Investigations[severity], severity)
	}
	for _, standing := range standings()[1:] {
		gauge(c.standing, s.Standings[standing], standing)
	}
	gauge(c.overdue, s.Overdue)
	gauge(c.overrides, s.Overrides)
	gauge(c.revoked, s.Revoked)
	ch <- prometheus.MustNewConstMetric(c.late, prometheus.CounterValue, float64(s.Late))
	ch <- prometheus.MustNewConstMetric(c.up, prometheus.GaugeValue, boolean(s.Up))
}

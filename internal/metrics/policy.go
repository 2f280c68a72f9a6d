package metrics

import (
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/westworld-charter/charter/internal/charter"
)

// Policy is what decides: a charter, the revision of its bundle and its state
// document, nil for none.
type Policy struct {
	Charter  *charter.Charter
	Revision string
	State    map[string]any
}

// policyMetrics are about the active policy and how it got there.
type policyMetrics struct {
	loads    *prometheus.CounterVec
	loadTook prometheus.Histogram
	lastLoad prometheus.Gauge
	degraded prometheus.Gauge
	policy   *policyCollector
}

func (m *Metrics) definePolicy() {
	one := Label{Name: "charter", Bound: "one: the active charter"}
	m.policyMetrics = policyMetrics{
		loads:    m.counterVec("charter_policy_loads_total", "Attempts to load a policy, by result.", closed("result", "success", "failure")),
		loadTook: m.histogram("charter_policy_load_duration_seconds", "Time to load, check and prepare a policy.", prometheus.DefBuckets),
		lastLoad: m.gauge("charter_policy_last_load_timestamp_seconds", "Unix time at which the active policy was last loaded, or found to be what is on disk; 0 before the first load."),
		degraded: m.gauge("charter_policy_degraded", "1 while the policy on disk could not be loaded and the one before answers, else 0."),
		policy: &policyCollector{
			info:      m.reading(typeGauge, "charter_policy_info", "The active policy; always 1.", one, Label{Name: "revision", Bound: "one: that of the active policy"}),
			version:   m.reading(typeGauge, "charter_policy_version", "The version the active charter gives itself; always 1.", one, Label{Name: "version", Bound: "one: that of the active charter"}),
			stale:     m.reading(typeGauge, "charter_policy_stale_timestamp_seconds", "Unix time from which on the active charter has expired, its grace included: then nothing is collected or exported. Absent when it does not expire."),
			committee: m.reading(typeGauge, "charter_audit_committee_size", "Members of the audit committee in the active charter."),
		},
	}
	for _, r := range []string{"success", "failure"} {
		m.loads.WithLabelValues(r)
	}
	m.registry.MustRegister(m.loads, m.loadTook, m.lastLoad, m.degraded, m.policy)
}

// Activated records that p became the active policy at the given time, took
// being what loading it cost. The series of the policy before it disappear.
func (m *Metrics) Activated(p Policy, at time.Time, took time.Duration) {
	m.Promoted(p)
	m.Confirmed(at)
	m.loads.WithLabelValues("success").Inc()
	m.loadTook.Observe(took.Seconds())
}

// Promoted records that p became the active policy without being loaded: it was a
// candidate, or has another state document.
func (m *Metrics) Promoted(p Policy) {
	m.names.Store(namesOf(p.Charter, p.State, m.names.Load()))
	m.policy.activate(p)
}

// Confirmed records that the active policy is what is on disk.
func (m *Metrics) Confirmed(at time.Time) {
	m.lastLoad.Set(float64(at.UnixNano()) / float64(time.Second))
}

// LoadFailed records a policy that could not be loaded; the active one stays.
func (m *Metrics) LoadFailed(took time.Duration) {
	m.loads.WithLabelValues("failure").Inc()
	m.loadTook.Observe(took.Seconds())
}

// Degraded records whether an older policy answers than the one on disk.
func (m *Metrics) Degraded(is bool) { m.degraded.Set(boolean(is)) }

// active is what is exported about a policy. Prometheus accepts nothing but UTF-8.
type active struct {
	charter, release, revision string
	stale                      float64 // Unix time, 0 for never
	committee                  int
}

// policyCollector exports the active policy as one snapshot: a scrape during a
// swap sees the old policy or the new one, never both and never none.
type policyCollector struct {
	active                          atomic.Pointer[active]
	info, version, stale, committee *prometheus.Desc
}

func (c *policyCollector) activate(p Policy) {
	a := &active{revision: strings.ToValidUTF8(p.Revision, "\uFFFD")}
	if p.Charter != nil {
		a.charter = strings.ToValidUTF8(p.Charter.Metadata.Name, "\uFFFD")
		a.release = strings.ToValidUTF8(p.Charter.Metadata.Version, "\uFFFD")
		a.stale = staleAt(p.Charter)
		a.committee = len(p.Charter.Committee.Members)
	}
	c.active.Store(a)
}

// staleAt is when a charter stops to allow collecting, 0 for never.
func staleAt(c *charter.Charter) float64 {
	expires, err := charter.ParseTime(c.Metadata.Expires)
	if err != nil {
		return 0 // it has no end: one that cannot be read is not in force
	}
	grace, _ := charter.ParseDuration(c.Enforcement.Grace) // none is 0; loaded charters have one
	return float64(expires.Add(grace).Unix())
}

// Describe implements [prometheus.Collector].
func (c *policyCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.info, c.version, c.stale, c.committee} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector]. Without a policy there is nothing
// to say.
func (c *policyCollector) Collect(ch chan<- prometheus.Metric) {
	p := c.active.Load()
	if p == nil {
		return
	}
	ch <- prometheus.MustNewConstMetric(c.info, prometheus.GaugeValue, 1, p.charter, p.revision)
	ch <- prometheus.MustNewConstMetric(c.version, prometheus.GaugeValue, 1, p.charter, p.release)
	ch <- prometheus.MustNewConstMetric(c.committee, prometheus.GaugeValue, float64(p.committee))
	if p.stale != 0 {
		ch <- prometheus.MustNewConstMetric(c.stale, prometheus.GaugeValue, p.stale)
	}
}

// Package metrics owns the Prometheus metrics of a charter process: one
// registry as a value, nothing global.
//
// Start with [New]; [Metrics.Handler] serves the registry, the other methods
// record. Guaranteed is a bounded number of series: a metric name, a node id or
// a path chosen by a caller never becomes a label value, and values outside the
// known lists collapse into "other". All methods may be called concurrently.
package metrics

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/westworld-charter/charter/internal/decision"
)

// other stands for every label value that is not on a list.
const other = "other"

// Build says which program is running; it becomes charter_build_info.
type Build struct {
	Version   string
	Commit    string
	GoVersion string
}

// Policy names the active policy. Release is the version the charter gives
// itself, Revision the bundle's.
type Policy struct {
	Charter  string
	Release  string
	Revision string
}

// Metrics is the registry and what is recorded in it.
type Metrics struct {
	registry *prometheus.Registry

	decisions    *prometheus.CounterVec
	denied       *prometheus.CounterVec
	decisionTime prometheus.Histogram
	requests     *prometheus.CounterVec
	requestTime  *prometheus.HistogramVec
	loads        *prometheus.CounterVec
	loadTime     prometheus.Histogram
	lastLoad     prometheus.Gauge
	degraded     prometheus.Gauge
	admissions   *prometheus.CounterVec
	policy       *policyCollector
	ledger       ledgerMetrics // registered by Ledger
}

// New returns metrics in a registry of their own, with the collectors of the Go
// runtime and of the process.
func New(b Build) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	build := gaugeVec("charter_build_info", "Which program is running; always 1.", "version", "commit", "goversion")
	build.WithLabelValues(b.Version, b.Commit, b.GoVersion).Set(1)
	m.defineDecisions()
	m.defineRequests()
	m.definePolicy()
	m.defineLedger()
	m.registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), build,
		m.decisions, m.denied, m.decisionTime, m.requests, m.requestTime,
		m.loads, m.loadTime, m.lastLoad, m.degraded, m.policy, m.admissions,
	)
	return m
}

func (m *Metrics) defineDecisions() {
	m.decisions = counterVec("charter_decisions_total", "Questions answered, by outcome, operation and mode of the deciding clause.", "outcome", "operation", "mode")
	m.denied = counterVec("metric_access_denied_total", "Metric checks that were denied and enforced, by outcome.", "outcome")
	m.decisionTime = histogram("charter_decision_duration_seconds", "Time from a readable question to its decision.", decisionBuckets())
	for _, o := range denials() {
		m.denied.WithLabelValues(o) // so that the first denial is an increase from 0
	}
}

func (m *Metrics) defineRequests() {
	m.requests = counterVec("charter_http_requests_total", "HTTP requests answered, by route, status code and method.", "route", "code", "method")
	m.requestTime = prometheus.NewHistogramVec(histogramOpts("charter_http_request_duration_seconds", "Time to answer an HTTP request, by route and method.", prometheus.DefBuckets), []string{"route", "method"})
	m.admissions = counterVec("charter_http_admissions_total", "Requests that need an identity, by its kind and whether they were let in.", "identity", "result")
}

func (m *Metrics) definePolicy() {
	m.loads = counterVec("charter_policy_loads_total", "Attempts to load a policy, by result.", "result")
	m.loadTime = histogram("charter_policy_load_duration_seconds", "Time to load, check and prepare a policy.", prometheus.DefBuckets)
	m.lastLoad = prometheus.NewGauge(prometheus.GaugeOpts{Name: "charter_policy_last_load_timestamp_seconds", Help: "Unix time of the last successful policy load; 0 before the first."})
	m.degraded = prometheus.NewGauge(prometheus.GaugeOpts{Name: "charter_policy_degraded", Help: "1 while the policy on disk could not be loaded and the one before answers, else 0."})
	m.policy = newPolicyCollector()
	for _, r := range []string{"success", "failure"} {
		m.loads.WithLabelValues(r)
	}
}

// Handler serves the registry in the text or protobuf format, as the client
// asks.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry, EnableOpenMetrics: true})
}

// Decided records one answer. Operation is empty when the question could not be
// read; such answers have no duration.
func (m *Metrics) Decided(d decision.Decision, operation string, took time.Duration) {
	outcome := oneOf(d.Outcome, outcomes())
	m.decisions.WithLabelValues(outcome, oneOf(operation, decision.Operations()), oneOf(d.Mode, modes())).Inc()
	if !d.Allow && slices.Contains(denials(), d.Outcome) {
		m.denied.WithLabelValues(outcome).Inc()
	}
	if operation != "" {
		m.decisionTime.Observe(took.Seconds())
	}
}

// Served records one HTTP answer. Route must come from the list of routes, not
// from the caller.
func (m *Metrics) Served(route, method string, status int, took time.Duration) {
	method = oneOf(method, methods())
	m.requests.WithLabelValues(route, strconv.Itoa(status), method).Inc()
	m.requestTime.WithLabelValues(route, method).Observe(took.Seconds())
}

// Activated records that p became the active policy at the given time, took
// being what loading it cost. The series of the policy before it disappear.
func (m *Metrics) Activated(p Policy, at time.Time, took time.Duration) {
	m.policy.activate(p)
	m.lastLoad.Set(float64(at.UnixNano()) / float64(time.Second))
	m.loads.WithLabelValues("success").Inc()
	m.loadTime.Observe(took.Seconds())
}

// LoadFailed records a policy that could not be loaded; the active one stays.
func (m *Metrics) LoadFailed(took time.Duration) {
	m.loads.WithLabelValues("failure").Inc()
	m.loadTime.Observe(took.Seconds())
}

// Degraded records whether an older policy answers than the one on disk.
func (m *Metrics) Degraded(is bool) {
	value := 0.0
	if is {
		value = 1
	}
	m.degraded.Set(value)
}

// Admitted records one request that needed an identity: its kind is cert, token,
// self or none; the result ok, unauthenticated, forbidden or limited.
func (m *Metrics) Admitted(kind, result string) {
	m.admissions.WithLabelValues(oneOf(kind, identities()), oneOf(result, admissions())).Inc()
}

package metrics

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/westworld-charter/charter/internal/audit"
	"github.com/westworld-charter/charter/internal/decision"
)

// statuses of a forbidden attempt: it was denied, or warn or shadow mode let it
// pass.
const (
	blocked = "blocked"
	warned  = "warned"
	shadow  = "shadowed"
)

// decisionMetrics are about questions and requests.
type decisionMetrics struct {
	decisions   *prometheus.CounterVec
	denied      *prometheus.CounterVec
	attempts    *prometheus.CounterVec
	took        *prometheus.HistogramVec
	requests    *prometheus.CounterVec
	requestTook *prometheus.HistogramVec
	admissions  *prometheus.CounterVec
}

func (m *Metrics) defineDecisions() {
	m.decisionMetrics = decisionMetrics{
		decisions: m.counterVec("charter_decisions_total", "Questions answered, by outcome, operation and mode of the deciding clause.",
			listed("outcome", outcomes()), listed("operation", decision.Operations()), listed("mode", modes())),
		denied: m.counterVec("metric_access_denied_total", "Metric checks that were denied and enforced, by outcome.", closed("outcome", denials()...)),
		attempts: m.counterVec("charter_forbidden_metric_attempts_total", "Questions about a metric that the charter forbids, by what stands for the metric in the charter, node, and whether the question was blocked or let pass by warn or shadow mode.",
			Label{Name: "metric", Bound: metricBound}, Label{Name: "node", Bound: nodeBound}, closed("status", blocked, warned, shadow)),
		took: m.histogramVec("charter_metric_validation_latency_seconds", "Time from a readable question to its decision, its record in the ledger included, by whether it was allowed.", decisionBuckets(),
			closed("result", "allow", "deny")),
		requests: m.counterVec("charter_http_requests_total", "HTTP requests answered, by route, status code and method.",
			Label{Name: "route", Bound: "patterns of routes, or `unmatched`"}, Label{Name: "code", Bound: "status codes that the server sends"}, listed("method", methods())),
		requestTook: m.histogramVec("charter_http_request_duration_seconds", "Time to answer an HTTP request, by route and method.", prometheus.DefBuckets,
			Label{Name: "route", Bound: "patterns of routes, or `unmatched`"}, listed("method", methods())),
		admissions: m.counterVec("charter_http_admissions_total", "Requests that need an identity, by its kind and whether they were let in.",
			listed("identity", identities()), listed("result", admissions())),
	}
	for _, o := range denials() {
		m.denied.WithLabelValues(o) // so that the first denial is an increase from 0
	}
	m.admissions.WithLabelValues("none", "unauthenticated")
	for _, kind := range identities()[:3] {
		for _, result := range []string{"ok", "forbidden", "limited"} {
			m.admissions.WithLabelValues(kind, result)
		}
	}
	for _, r := range []string{"allow", "deny"} {
		m.took.WithLabelValues(r)
	}
	m.registry.MustRegister(m.decisions, m.denied, m.attempts, m.took, m.requests, m.requestTook, m.admissions)
}

// Decided records one answer. The question is nil when it could not be read; such
// answers have no duration. What is recorded is bounded whatever the question
// names; the context tells who asked and which trace it is part of.
func (m *Metrics) Decided(ctx context.Context, in *decision.Input, d *decision.Decision, took time.Duration) {
	operation := Other
	if in != nil {
		operation = oneOf(in.Operation, decision.Operations())
	}
	traced := exemplar(ctx)
	m.decisions.WithLabelValues(oneOf(d.Outcome, outcomes()), operation, oneOf(d.Mode, modes())).Inc()
	if !d.Allow && slices.Contains(denials(), d.Outcome) {
		add(m.denied.WithLabelValues(d.Outcome), traced)
	}
	if in == nil {
		return
	}
	result := "allow"
	if !d.Allow {
		result = "deny"
	}
	observe(m.took.WithLabelValues(result), took, traced)
	if why := reason(d); why.Outcome == decision.Forbidden {
		metric, node := m.metric(in.Metric, why.Clause), m.node(in.Node, audit.CallerOf(ctx).Principal == "cert:"+in.Node)
		add(m.attempts.WithLabelValues(metric, within(&m.bounds.attempts, node, metric), status(d)), traced)
	}
}

// reason is the document that says why: what enforce mode would have answered,
// too.
func reason(d *decision.Decision) *decision.Decision {
	if d.WouldDeny != nil {
		return d.WouldDeny
	}
	return d
}

func status(d *decision.Decision) string {
	switch {
	case !d.Allow:
		return blocked
	case d.Mode == decision.Shadow:
		return shadow
	default:
		return warned
	}
}

// Served records one HTTP answer. Route must come from the list of routes, not
// from the caller.
func (m *Metrics) Served(ctx context.Context, route, method string, status int, took time.Duration) {
	method = oneOf(method, methods())
	m.requests.WithLabelValues(route, strconv.Itoa(status), method).Inc()
	observe(m.requestTook.WithLabelValues(route, method), took, exemplar(ctx))
}

// Admitted records one request that needed an identity: its kind is cert, token,
// self or none; the result ok, unauthenticated, forbidden or limited.
func (m *Metrics) Admitted(kind, result string) {
	m.admissions.WithLabelValues(oneOf(kind, identities()), oneOf(result, admissions())).Inc()
}

// exemplar leads from a metric to the trace that was under way, nil when none is
// recorded.
func exemplar(ctx context.Context) prometheus.Labels {
	s := trace.SpanContextFromContext(ctx)
	if !s.IsValid() || !s.IsSampled() {
		return nil
	}
	return prometheus.Labels{"trace_id": s.TraceID().String()}
}

func add(c prometheus.Counter, traced prometheus.Labels) {
	if with, ok := c.(prometheus.ExemplarAdder); ok && traced != nil {
		with.AddWithExemplar(1, traced)
		return
	}
	c.Inc()
}

func observe(o prometheus.Observer, took time.Duration, traced prometheus.Labels) {
	if with, ok := o.(prometheus.ExemplarObserver); ok && traced != nil {
		with.ObserveWithExemplar(took.Seconds(), traced)
		return
	}
	o.Observe(took.Seconds())
}

package metrics

import (
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/westworld-charter/charter/internal/decision"
)

func counterVec(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

func gaugeVec(name, help string, labels ...string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
}

func histogram(name, help string, buckets []float64) prometheus.Histogram {
	return prometheus.NewHistogram(histogramOpts(name, help, buckets))
}

// histogramOpts describes a histogram that is native for servers that scrape
// native histograms, and has classic buckets for all others.
func histogramOpts(name, help string, buckets []float64) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  100,
		NativeHistogramMinResetDuration: time.Hour,
	}
}

// decisionBuckets cover a cached decision (10 µs) to one that is out of bounds.
func decisionBuckets() []float64 {
	return []float64{
		10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 500e-6,
		1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 1,
	}
}

// oneOf returns v when it is on the list, else other.
func oneOf(v string, list []string) string {
	if slices.Contains(list, v) {
		return v
	}
	return other
}

// denials are the outcomes that keep a metric from a caller. A question that
// was not understood is none: it concerns no metric.
func denials() []string {
	return []string{
		decision.Denied, decision.Forbidden, decision.UnknownMetric, decision.Suspended,
		decision.Quarantined, decision.StalePolicy, decision.NoPolicy,
	}
}

func outcomes() []string {
	return []string{
		decision.Allowed, decision.Denied, decision.Forbidden, decision.UnknownMetric, decision.Suspended,
		decision.Quarantined, decision.StalePolicy, decision.NoPolicy, decision.InvalidRequest,
	}
}

func modes() []string {
	return []string{decision.Enforce, decision.Warn, decision.Shadow}
}

func methods() []string {
	return []string{
		http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodOptions, http.MethodConnect, http.MethodTrace,
	}
}

func identities() []string { return []string{"cert", "token", "self", "none"} }

func admissions() []string { return []string{"ok", "unauthenticated", "forbidden", "limited"} }

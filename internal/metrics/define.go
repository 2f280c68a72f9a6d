package metrics

import (
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/westworld-charter/charter/internal/decision"
)

// histogramOpts describes a histogram that is native for servers that scrape
// native histograms, and has classic buckets for all others. Exemplars are those
// of the classic buckets: one for each, and nothing to search.
func histogramOpts(name, help string, buckets []float64) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  100,
		NativeHistogramMinResetDuration: time.Hour,
		NativeHistogramMaxExemplars:     -1,
	}
}

// decisionBuckets cover a cached decision (10 µs) to one that is out of bounds.
// 50 ms is the service level.
func decisionBuckets() []float64 {
	return []float64{
		10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 500e-6,
		1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 1,
	}
}

// commitBuckets cover a solid-state disk (0.5 ms) to one that hangs.
func commitBuckets() []float64 {
	return []float64{0.5e-3, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 1, 5, 30}
}

// reactionBuckets cover what people wait for: 1 s and 5 s are service levels.
func reactionBuckets() []float64 {
	return []float64{1e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1, 2.5, 5, 10, 30, 60, 300, 3600}
}

// oneOf returns v when it is on the list, else [Other].
func oneOf(v string, list []string) string {
	if slices.Contains(list, v) {
		return v
	}
	return Other
}

// closed is a label whose values are those of a list alone.
func closed(name string, values ...string) Label { return Label{Name: name, Values: values} }

// listed is a label whose values are those of a list, or [Other].
func listed(name string, values []string) Label {
	if values = slices.Clone(values); !slices.Contains(values, Other) {
		values = append(values, Other)
	}
	return Label{Name: name, Values: values}
}

// boolean is a gauge of something that is so or not.
func boolean(is bool) float64 {
	if is {
		return 1
	}
	return 0
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

// severities are those that an incident can have.
func severities() []string { return []string{"low", "medium", "high", "critical"} }

// violationTypes are those of the charter language.
func violationTypes() []string {
	return []string{
		"silent_collection", "behavioral_prediction", "data_extraction", "unauthorized_override", "algorithm_manipulation", "exploitation",
	}
}

package metrics

import (
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// Family describes one metric of ours, for documentation and for tests that hold
// what is exported against it.
type Family struct {
	Name   string
	Type   string // counter, gauge or histogram
	Unit   string // of the value: seconds, entries, …
	Help   string
	Labels []Label // in the order of their values
}

// Label is one label of a [Family]. Either Values is the closed list, which has
// [Other] at its end where something else can come, or Bound says what keeps the
// values few.
type Label struct {
	Name   string
	Values []string
	Bound  string
}

// Types of a [Family].
const (
	typeCounter   = "counter"
	typeGauge     = "gauge"
	typeHistogram = "histogram"
)

// Families returns what this process exports of its own, sorted by name; those of
// the Go runtime are not among them.
func (m *Metrics) Families() []Family {
	list := slices.Clone(m.families)
	slices.SortFunc(list, func(a, b Family) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// family adds to the catalogue and returns the names of the labels.
func (m *Metrics) family(kind, name, help string, labels []Label) []string {
	m.families = append(m.families, Family{Name: name, Type: kind, Unit: unitOf(name), Help: help, Labels: labels})
	var names []string
	for _, l := range labels {
		names = append(names, l.Name)
	}
	return names
}

func (m *Metrics) counter(name, help string) prometheus.Counter {
	m.family(typeCounter, name, help, nil)
	return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
}

func (m *Metrics) counterVec(name, help string, labels ...Label) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, m.family(typeCounter, name, help, labels))
}

func (m *Metrics) gauge(name, help string) prometheus.Gauge {
	m.family(typeGauge, name, help, nil)
	return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
}

func (m *Metrics) gaugeVec(name, help string, labels ...Label) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, m.family(typeGauge, name, help, labels))
}

func (m *Metrics) histogram(name, help string, buckets []float64) prometheus.Histogram {
	m.family(typeHistogram, name, help, nil)
	return prometheus.NewHistogram(histogramOpts(name, help, buckets))
}

func (m *Metrics) histogramVec(name, help string, buckets []float64, labels ...Label) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(histogramOpts(name, help, buckets), m.family(typeHistogram, name, help, labels))
}

// reading describes a metric whose value somebody else keeps.
func (m *Metrics) reading(kind, name, help string, labels ...Label) *prometheus.Desc {
	return prometheus.NewDesc(name, help, m.family(kind, name, help, labels), nil)
}

// unitOf is the unit that a name ends with, "" for a plain count or a state.
func unitOf(name string) string {
	name = strings.TrimSuffix(name, "_total")
	switch {
	case strings.HasSuffix(name, "_timestamp_seconds"):
		return "Unix time in seconds"
	case strings.HasSuffix(name, "_seconds"):
		return "seconds"
	case strings.HasSuffix(name, "_percent"):
		return "percent"
	default:
		return ""
	}
}

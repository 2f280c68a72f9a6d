// Package metrics owns the Prometheus metrics of a charter process: one
// registry as a value, nothing global.
//
// Start with [New]; [Metrics.Handler] serves the registry, the other methods
// record, and [Metrics.Families] is the catalogue that docs/metrics.md is made
// from. Guaranteed is a bounded number of series whatever callers write: values
// outside the known lists collapse into [Other], metrics appear under names and
// patterns of the charter, nodes when the charter or its state names them or they
// showed a certificate, and both are capped. All methods may be called
// concurrently.
package metrics

import (
	"net/http"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Build says which program is running; it becomes charter_build_info.
type Build struct {
	Version   string
	Commit    string
	GoVersion string
}

// Metrics is the registry and what is recorded in it.
type Metrics struct {
	registry *prometheus.Registry
	families []Family
	names    atomic.Pointer[names] // of the active policy; never nil
	bounds   *bounds

	decisionMetrics
	policyMetrics
	ledger       ledgerMetrics // registered by Ledger, as is accountability
	accountable  accountability
	notification notificationMetrics // registered by Notifications
	release      releaseMetrics      // registered by Releases and Reports
	fleet        fleetMetrics        // registered by Fleet
	upload       uploadMetrics       // registered by Uploads
	mirror       mirrorMetrics       // registered by Mirrors and NodeMirror
	stateBundle  stateBundleMetrics  // registered by StateBundles
}

// New returns metrics in a registry of their own, with the collectors of the Go
// runtime and of the process.
func New(b Build) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), bounds: newBounds()}
	m.names.Store(namesOf(nil, nil, nil))
	build := m.gaugeVec("charter_build_info", "Which program is running; always 1.",
		Label{Name: "version", Bound: "one"}, Label{Name: "commit", Bound: "one"}, Label{Name: "goversion", Bound: "one"})
	build.WithLabelValues(b.Version, b.Commit, b.GoVersion).Set(1)
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), build)
	m.defineDecisions()
	m.definePolicy()
	m.defineLedger()
	m.defineAccountability()
	m.defineNotifications()
	m.defineFleet()
	return m
}

// Handler serves the registry in the text, OpenMetrics or protobuf format, as the
// client asks; exemplars are in the latter two.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry, EnableOpenMetrics: true})
}

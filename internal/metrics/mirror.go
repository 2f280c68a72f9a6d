package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/westworld-charter/charter/internal/mirror"
)

// States of the copy of a node's ledger, beside those codes of package mirror with
// which the node's ledger was found out.
const (
	MirrorCurrent = "current"
	MirrorBehind  = "behind" // entries that the node has reported do not come
)

// MirrorTaken is the result of an upload that extended the copy, or had nothing new.
const MirrorTaken = "taken"

// MirrorStates are all of them.
func MirrorStates() []string {
	return []string{MirrorCurrent, MirrorBehind, mirror.CodeDiverged, mirror.CodeRolledBack, mirror.CodeForked}
}

// MirrorServerForked is the fault of a server whose ledger is no continuation of what it
// showed this node before.
const MirrorServerForked = "server_ledger_forked"

// MirrorFaults are the codes with which a node finds out that its own ledger and its copy,
// or the ledger of its server and what that showed before, do not go together.
func MirrorFaults() []string {
	return []string{mirror.CodeForked, mirror.CodeDiverged, mirror.CodeRolledBack, mirror.CodeKeyMismatch, MirrorServerForked}
}

func uploadResults() []string { return append([]string{MirrorTaken}, mirror.Codes()...) }

// MirrorStats are figures that whoever keeps copies of the ledgers of nodes keeps itself.
type MirrorStats struct {
	States  map[string]int // nodes by one of [MirrorStates]
	Entries uint64         // in all copies
}

// mirrorMetrics are about copies of ledgers.
type mirrorMetrics struct {
	uploads *prometheus.CounterVec // registered by Mirrors

	// Of a node; registered by NodeMirror.
	up      prometheus.Gauge
	entries prometheus.Gauge
	fault   *prometheus.GaugeVec
}

// Mirrors exports the metrics of a server that keeps copies of the ledgers of nodes. It
// is called at most once.
func (m *Metrics) Mirrors(stats func() MirrorStats) {
	m.mirror.uploads = m.counterVec("charter_mirror_uploads_total", "Uploads of nodes to the copies of their ledgers, by what became of them: taken, or the code of the refusal. size_mismatch says where to go on, and is none.", listed("result", uploadResults()))
	for _, result := range uploadResults() {
		m.mirror.uploads.WithLabelValues(result)
	}
	m.registry.MustRegister(m.mirror.uploads, &mirrorCollector{
		stats:   stats,
		copies:  m.reading(typeGauge, "charter_mirrors", "Nodes by the copy of their ledger: current, behind (entries that the node has reported do not come), or by how the node's ledger was found out: ledger_diverged, ledger_rolled_back, ledger_forked.", closed("state", MirrorStates()...)),
		entries: m.reading(typeGauge, "charter_mirror_entries", "Entries in the copies of the ledgers of nodes."),
	})
}

// MirrorUploaded counts an upload of a node by [MirrorTaken] or the code of the refusal.
// It must follow Mirrors.
func (m *Metrics) MirrorUploaded(result string) {
	m.mirror.uploads.WithLabelValues(oneOf(result, uploadResults())).Inc()
}

// mirrorCollector exports what the keeper of the copies keeps itself.
type mirrorCollector struct {
	stats           func() MirrorStats
	copies, entries *prometheus.Desc
}

// Describe implements [prometheus.Collector].
func (c *mirrorCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.copies
	ch <- c.entries
}

// Collect implements [prometheus.Collector].
func (c *mirrorCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.stats()
	for _, state := range MirrorStates() {
		ch <- prometheus.MustNewConstMetric(c.copies, prometheus.GaugeValue, float64(s.States[state]), state)
	}
	ch <- prometheus.MustNewConstMetric(c.entries, prometheus.GaugeValue, float64(s.Entries))
}

// NodeMirror exports how the ledger of this node and that of its server are mirrored. It
// is called at most once.
func (m *Metrics) NodeMirror() {
	m.mirror.up = m.gauge("charter_node_mirror_up", "1 while the server takes the ledger of this node, and with --witness-logs what this node cosigns, else 0.")
	m.mirror.entries = m.gauge("charter_node_mirror_entries", "Entries of the ledger of this node that its server holds.")
	m.mirror.fault = m.gaugeVec("charter_node_mirror_fault", "1 while the ledger of this node and its copy, or the ledger of the server and what it showed before, do not go together, by how.", closed("code", MirrorFaults()...))
	for _, code := range MirrorFaults() {
		m.mirror.fault.WithLabelValues(code)
	}
	m.registry.MustRegister(m.mirror.up, m.mirror.entries, m.mirror.fault)
}

// NodeMirrored records one round: whether all of it went well, how many entries the
// server holds, and which of [MirrorFaults] was found, "" for none. It must follow
// NodeMirror.
func (m *Metrics) NodeMirrored(ok bool, held uint64, fault string) {
	m.mirror.up.Set(boolean(ok))
	m.mirror.entries.Set(float64(held))
	for _, code := range MirrorFaults() {
		m.mirror.fault.WithLabelValues(code).Set(boolean(code == fault))
	}
}

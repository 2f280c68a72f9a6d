package metrics_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/westworld-charter/charter/internal/audit"
	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/metrics"
)

// production is a charter with names of every kind.
func production() *charter.Charter {
	c := &charter.Charter{Metadata: charter.Metadata{Name: "production", Version: "1.0.0"}}
	c.Metrics = []charter.Category{{Name: "network", Clauses: []charter.Clause{
		{ID: "net.node", Match: []string{"node_network_*", "latency_p50"}, Nodes: []string{"relay-1", "edge-*", "group:storage"}},
	}}}
	c.Forbidden = []charter.Forbidden{
		{ID: "privacy.location", Match: []string{"*_location*", "gps_fix"}},
		{ID: "privacy.home", Match: []string{"*home*"}},
	}
	c.Nodes.Entries = []charter.NodeEntry{{Node: "edge-13"}}
	c.Waivers = []charter.Waiver{{Nodes: []string{"edge-7"}}}
	return c
}

func forbidden(clause string) decision.Decision {
	return decision.Decision{Outcome: decision.Forbidden, Clause: clause, Mode: decision.Enforce}
}

func asked(principal string) context.Context {
	return audit.WithCaller(context.Background(), audit.Caller{Principal: principal})
}

// What a caller names appears as what the charter, the state or a certificate says
// it is.
func TestNamesOfLabels(t *testing.T) {
	state := map[string]any{"standing": map[string]any{"edge-20": map[string]any{}}, "revocations": "odd"}
	for _, tc := range []struct {
		about, metric, clause, node, principal string
		want                                   string
	}{
		{"an exact name", "gps_fix", "privacy.location", "edge-13", "", `metric="gps_fix",node="edge-13"`},
		{"a pattern of the deciding clause", "my_home_location", "privacy.location", "edge-7", "", `metric="*_location*",node="edge-7"`},
		{"another clause decides", "my_home_location", "privacy.home", "edge-20", "", `metric="*home*",node="edge-20"`},
		{"forbidden by a label", "node_network_info", "privacy.location", "relay-1", "", `metric="node_network_*",node="relay-1"`},
		{"a name that nothing speaks of", "made_up", "privacy.location", "edge-13", "", `metric="other",node="edge-13"`},
		{"a node that a pattern matches", "gps_fix", "privacy.location", "edge-99", "", `metric="gps_fix",node="other"`},
		{"a node that somebody else asserts", "gps_fix", "privacy.location", "edge-98", "token:edge-98", `metric="gps_fix",node="other"`},
		{"a node that shows its certificate", "gps_fix", "privacy.location", "edge-97", "cert:edge-97", `metric="gps_fix",node="edge-97"`},
		{"another node's certificate", "gps_fix", "privacy.location", "edge-96", "cert:edge-97", `metric="gps_fix",node="other"`},
		{"a node called other", "gps_fix", "privacy.location", "other", "cert:other", `metric="gps_fix",node="other"`},
	} {
		t.Run(tc.about, func(t *testing.T) {
			m := metrics.New(metrics.Build{})
			m.Activated(metrics.Policy{Charter: production(), State: state}, time.Unix(1, 0), 0)
			d := forbidden(tc.clause)
			m.Decided(asked(tc.principal), &decision.Input{Metric: tc.metric, Node: tc.node, Operation: decision.Collect}, &d, time.Millisecond)
			wantLines(t, scrape(t, m), `charter_forbidden_metric_attempts_total{`+tc.want+`,status="blocked"} 1`)
		})
	}
}

// Warn and shadow let an attempt pass, and it is still one.
func TestStatusOfAttempts(t *testing.T) {
	m := metrics.New(metrics.Build{})
	why := forbidden("c")
	for _, mode := range []string{decision.Warn, decision.Shadow} {
		d := decision.Decision{Allow: true, Outcome: decision.Allowed, Mode: mode, WouldDeny: &why}
		m.Decided(t.Context(), &decision.Input{Operation: decision.Read}, &d, time.Millisecond)
	}
	wantLines(
		t, scrape(t, m),
		`charter_forbidden_metric_attempts_total{metric="other",node="other",status="warned"} 1`,
		`charter_forbidden_metric_attempts_total{metric="other",node="other",status="shadowed"} 1`,
	)
}

// Callers choose names of metrics and nodes; if those became series, anybody could
// fill the memory of this process and of the Prometheus server. A million
// of them, of which half come with certificates of their own, stay within bounds.
func TestMillionHostileNames(t *testing.T) {
	m := used()
	m.Activated(metrics.Policy{Charter: production()}, time.Unix(1, 0), 0)
	lines := func() int { return strings.Count(scrape(t, m), "\n") }
	before, heap := lines(), live()
	d, ctx := forbidden("privacy.location"), make([]context.Context, 2)
	for i := range 1_000_000 {
		node := fmt.Sprintf("evil-%d", i)
		ctx[0], ctx[1] = context.Background(), asked("cert:"+node)
		m.Decided(ctx[i%2], &decision.Input{Metric: fmt.Sprintf("evil_%d_location", i), Node: node, Operation: decision.Collect}, &d, time.Millisecond)
		if i%1000 == 0 {
			m.LedgerCommitted(ledger.Commit{Rows: history(i)}, time.Millisecond)
		}
	}
	const series = 1000*3 + 500 // a node of those admitted has one in each of three families
	if after := lines(); after > before+series {
		t.Errorf("%d lines became %d", before, after)
	}
	if grown := live() - heap; grown > 8<<20 {
		t.Errorf("the metrics take %d KiB more", grown>>10)
	}
	runtime.KeepAlive(m)
}

// Replacing charters does not make room for more.
func TestNamesOfManyChartersAreBounded(t *testing.T) {
	m := used()
	d := forbidden("c")
	for round := range 30 {
		c := &charter.Charter{}
		var match []string
		for i := range 100 {
			match = append(match, fmt.Sprintf("metric_%d_%d", round, i))
			c.Nodes.Entries = append(c.Nodes.Entries, charter.NodeEntry{Node: fmt.Sprintf("node-%d-%d", round, i)})
		}
		c.Forbidden = []charter.Forbidden{{ID: "c", Match: match}}
		m.Activated(metrics.Policy{Charter: c}, time.Unix(1, 0), 0)
		for i := range 100 {
			for j := range 100 {
				m.Decided(t.Context(), &decision.Input{Metric: match[i], Node: c.Nodes.Entries[j].Node, Operation: decision.Collect}, &d, 0)
			}
		}
	}
	got := scrape(t, m)
	n := strings.Count(got, "\ncharter_forbidden_metric_attempts_total{")
	if n > 3001 {
		t.Errorf("%d series, want at most 2,000 that tell nodes apart and 1,001 of metrics alone", n)
	}
	total := 0
	for line := range strings.Lines(got) {
		var value int
		if i := strings.LastIndex(line, "} "); strings.HasPrefix(line, "charter_forbidden_metric_attempts_total{") && i > 0 {
			if _, err := fmt.Sscan(line[i+2:], &value); err != nil {
				// Counters over 1e6 are written as floating-point numbers.
				var f float64
				if _, err := fmt.Sscan(line[i+2:], &f); err != nil {
					t.Fatal(line)
				}
				value = int(f)
			}
			total += value
		}
	}
	if want := 30*100*100 + 1; total != want {
		t.Errorf("%d attempts are counted, %d were made", total, want)
	}
}

func live() int {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int(s.HeapAlloc)
}

// An exemplar leads from a bucket to the trace, in the formats that have exemplars.
func TestExemplars(t *testing.T) {
	m := metrics.New(metrics.Build{})
	recorded := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled})
	dropped := recorded.WithTraceFlags(0).WithTraceID(trace.TraceID{3})
	for _, span := range []trace.SpanContext{recorded, dropped} {
		ctx, d := trace.ContextWithSpanContext(t.Context(), span), forbidden("c")
		m.Decided(ctx, &decision.Input{Operation: decision.Collect}, &d, 2*time.Millisecond)
		m.Served(ctx, "/v1/check", "POST", 200, 2*time.Millisecond)
	}
	got := scrapeAs(t, m, "application/openmetrics-text; version=1.0.0")
	const id = "# {trace_id=\"01000000000000000000000000000000\"}"
	for _, family := range []string{
		"charter_metric_validation_latency_seconds_bucket{result=\"deny\",le=\"0.0025\"}", "charter_http_request_duration_seconds_bucket{",
		"charter_forbidden_metric_attempts_total{", "metric_access_denied_total{outcome=\"forbidden\"}",
	} {
		found := false
		for line := range strings.Lines(got) {
			found = found || strings.HasPrefix(line, family) && strings.Contains(line, id)
		}
		if !found {
			t.Errorf("%s has no exemplar %s", family, id)
		}
	}
	if strings.Contains(got, "trace_id=\"03") {
		t.Error("an exemplar leads to a trace that is not recorded")
	}
}

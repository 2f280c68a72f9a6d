package exposition_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/compile"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/engine"
	"github.com/westworld-charter/charter/internal/exportconfig"
	"github.com/westworld-charter/charter/internal/exposition"
	"github.com/westworld-charter/charter/tests/internal/judge"
)

// TestPrometheusScrapesWhatTheCharterAllows lets a real Prometheus find a node through
// exported target groups, scrape the exposition of node_exporter through exported
// relabeling, and compares what it stores with what the engine allows.
func TestPrometheusScrapesWhatTheCharterAllows(t *testing.T) {
	program := judge.Path(t, "prometheus")
	promtool := judge.Path(t, "promtool")
	text, err := os.ReadFile(judge.NodeExporterExposition(t))
	if err != nil {
		t.Fatal(err)
	}
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = w.Write(text)
	}))
	defer node.Close()
	_, port, err := net.SplitHostPort(node.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"production"}
	if os.Getenv("CHARTER_LONG") == "1" {
		names = append(names, "development", "staging")
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			s := scraped{name: name, state: map[string]any{
				"nodes":    map[string]any{"127.0.0.1": map[string]any{"labels": map[string]any{"tier": "edge"}}},
				"standing": map[string]any{"127.0.0.2": map[string]any{"state": "quarantined"}},
			}}
			s.prepare(t)
			targets := s.discovery(t, "{node}:"+port)
			defer targets.Close()
			dir := s.configure(t, targets.URL)
			if out, err := exec.CommandContext(t.Context(), promtool, "check", "config", filepath.Join(dir, "prometheus.yml")).CombinedOutput(); err != nil {
				t.Fatalf("promtool check config: %v\n%s", err, out)
			}
			address := startPrometheus(t, program, dir)
			got := s.stored(t, address)
			want := s.allowed(t)
			compareSets(t, want, got)
		})
	}
}

// scraped is one charter on the way into Prometheus.
type scraped struct {
	name    string
	state   map[string]any
	policy  *engine.Policy
	in      decision.Input
	leftOut []string
}

func (s *scraped) prepare(t *testing.T) {
	t.Helper()
	c, findings := charter.Load(filepath.Join(judge.Root(t), "policies", s.name, "charter.yaml"))
	if c == nil {
		t.Fatal(findings)
	}
	b, err := compile.Build(c)
	if err != nil {
		t.Fatal(err)
	}
	if s.policy, err = engine.Prepare(t.Context(), b, s.state); err != nil {
		t.Fatal(err)
	}
	for _, clause := range c.AllClauses() {
		if len(clause.Labels.Hash) > 0 {
			s.leftOut = append(s.leftOut, clause.ID)
		}
	}
	s.in = decision.Input{
		Node: "127.0.0.1", Role: "node_operator", Operation: decision.Collect,
		Claims: []string{"owns_node", "mtls"}, Time: "2026-06-01T00:00:00Z",
	}
}

func (s *scraped) options() exportconfig.Options {
	return exportconfig.Options{State: s.state, LeaveOut: s.leftOut}
}

// discovery serves the target groups as http_sd_configs asks for them.
func (s *scraped) discovery(t *testing.T, address string) *httptest.Server {
	t.Helper()
	groups, err := exportconfig.Targets(t.Context(), s.policy, s.in, s.options(), address)
	if err != nil {
		t.Fatal(err)
	}
	data, err := exportconfig.EncodeTargets(groups)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(data, []byte("127.0.0.2")) {
		t.Errorf("a quarantined node is a target: %s", data)
	}
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(data)
	}))
}

// configure writes the configuration of Prometheus with the exported rules as they are.
func (s *scraped) configure(t *testing.T, targets string) string {
	t.Helper()
	plan, err := exportconfig.Build(t.Context(), s.policy, s.in, s.options())
	if err != nil {
		t.Fatal(err)
	}
	rules, err := plan.Prometheus([]string{"charter_revision"})
	if err != nil {
		t.Fatal(err)
	}
	config := `global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
  - job_name: node
    http_sd_configs: [{url: "` + targets + `", refresh_interval: 1s}]
    relabel_configs:
      - {action: keep, source_labels: [__meta_charter_label_tier], regex: edge}
      - {action: replace, source_labels: [__meta_charter_revision], target_label: charter_revision}
`
	for line := range strings.Lines(string(rules)) {
		config += "    " + line
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// startPrometheus returns the address of a server that ends with the test.
func startPrometheus(t *testing.T, program, dir string) string {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	_ = free.Close()
	cmd := exec.Command(program, "--config.file="+filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address, "--log.level=warn")
	var complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &complaint, &complaint
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("prometheus says:\n%s", complaint.Bytes())
		}
	})
	return address
}

// stored is the series that Prometheus holds once a scrape has ended, without the labels
// of the target and without what Prometheus adds about the scrape itself.
func (s *scraped) stored(t *testing.T, address string) map[string]bool {
	t.Helper()
	get := func(path string, query url.Values, into any) bool {
		answer, err := http.Get("http://" + address + path + "?" + query.Encode())
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		return err == nil && answer.StatusCode == http.StatusOK && json.Unmarshal(body, into) == nil
	}
	deadline := time.After(60 * time.Second)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		var added struct {
			Data struct {
				Result []json.RawMessage `json:"result"`
			} `json:"data"`
		}
		// This is written after the samples of a scrape.
		if get("/api/v1/query", url.Values{"query": {`scrape_series_added{job="node"} and up == 1`}}, &added) && len(added.Data.Result) == 1 {
			break
		}
		select {
		case <-deadline:
			t.Fatal("prometheus has not scraped the node within a minute")
		case <-tick.C:
		}
	}
	var series struct {
		Data []map[string]string `json:"data"`
	}
	if !get("/api/v1/series", url.Values{"match[]": {`{job="node"}`}}, &series) {
		t.Fatal("prometheus does not list its series")
	}
	all := map[string]bool{}
	for _, labels := range series.Data {
		name := labels["__name__"]
		if name == "up" || strings.HasPrefix(name, "scrape_") {
			continue
		}
		if labels["charter_revision"] != s.policy.Revision() || labels["job"] == "" || labels["instance"] == "" {
			t.Errorf("%v has lost labels of its target", labels)
		}
		maps.DeleteFunc(labels, func(name, _ string) bool {
			return slices.Contains([]string{"__name__", "job", "instance", "charter_revision"}, name)
		})
		all[identity(name, labels)] = true
	}
	return all
}

// allowed is the series that the engine leaves.
func (s *scraped) allowed(t *testing.T) map[string]bool {
	t.Helper()
	series, err := exposition.Open(t.Context(), judge.NodeExporterExposition(t), exposition.Options{})
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{}
	for _, one := range series {
		in := s.in
		in.Metric, in.Labels = one.Metric, one.Labels
		d, err := s.policy.Decide(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if !d.Allow || slices.Contains(s.leftOut, d.Clause) {
			continue
		}
		left := maps.Clone(one.Labels)
		maps.DeleteFunc(left, func(name, value string) bool {
			return value == "" || slices.Contains(d.Obligations.DropLabels, name)
		})
		all[identity(one.Metric, left)] = true
	}
	return all
}

func identity(name string, labels map[string]string) string {
	pairs := make([]string, 0, len(labels))
	for _, label := range slices.Sorted(maps.Keys(labels)) {
		pairs = append(pairs, fmt.Sprintf("%s=%q", label, labels[label]))
	}
	return name + "{" + strings.Join(pairs, ",") + "}"
}

func compareSets(t *testing.T, want, got map[string]bool) {
	t.Helper()
	t.Logf("%d series", len(want))
	if len(want) < 400 {
		t.Errorf("only %d series are allowed: too few to compare", len(want))
	}
	complaints := 0
	for _, s := range slices.Sorted(maps.Keys(want)) {
		if !got[s] && complaints < 10 {
			complaints++
			t.Errorf("the charter allows %s, prometheus does not have it", s)
		}
	}
	for _, s := range slices.Sorted(maps.Keys(got)) {
		if !want[s] && complaints < 20 {
			complaints++
			t.Errorf("prometheus has %s, which the charter does not allow", s)
		}
	}
}

// Package exposition_test lets the shipped production charter govern a real Linux node:
// every series that node_exporter exposes, judged by what must not leave a node and by
// stock OPA.
package exposition_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/netip"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/compile"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/engine"
	"github.com/westworld-charter/charter/internal/exposition"
	"github.com/westworld-charter/charter/tests/internal/judge"
)

const (
	seriesTotal  = 3026
	seriesOfUse  = 1000 // a charter that allows fewer is of no use to an operator
	productionAt = "policies/production/charter.yaml"
)

// verdict is one series with the engine's answer.
type verdict struct {
	exposition.Series
	question map[string]any
	document any
	answer   decision.Decision
}

// left returns the labels that leave the node: those with a value that are neither
// dropped nor hashed.
func (v *verdict) left() map[string]string {
	out := make(map[string]string)
	for name, value := range v.Labels {
		if value != "" && !slices.Contains(v.answer.Obligations.DropLabels, name) && !slices.Contains(v.answer.Obligations.HashLabels, name) {
			out[name] = value
		}
	}
	return out
}

func production(t *testing.T) *bundle.Bundle {
	t.Helper()
	c, findings := charter.Load(filepath.Join(judge.Root(t), filepath.FromSlash(productionAt)))
	if c != nil {
		findings = append(findings, compile.Check(c)...)
	}
	if c == nil || len(findings) > 0 {
		t.Fatalf("the production charter has findings: %v", findings)
	}
	built, err := compile.Build(c)
	if err != nil {
		t.Fatal(err)
	}
	return built
}

// classify decides all series of the exposition as an operator with all claims would
// collect them on the node "local".
func classify(t *testing.T, b *bundle.Bundle) []verdict {
	t.Helper()
	series, err := exposition.Open(t.Context(), judge.NodeExporterExposition(t), exposition.Options{})
	if err != nil {
		t.Fatal(err)
	}
	policy, err := engine.Prepare(t.Context(), b, nil)
	if err != nil {
		t.Fatal(err)
	}
	verdicts := make([]verdict, len(series))
	for i, s := range series {
		labels := make(map[string]any, len(s.Labels))
		for name, value := range s.Labels {
			labels[name] = value
		}
		v := verdict{Series: s, question: map[string]any{
			"metric": s.Metric, "labels": labels, "node": "local", "role": "node_operator", "operation": "collect",
			"claims": []any{"owns_node", "mtls"}, "time": "2026-06-01T00:00:00Z",
		}}
		v.document, v.answer = decide(t, policy, v.question)
		verdicts[i] = v
	}
	return verdicts
}

func decide(t *testing.T, p *engine.Policy, question map[string]any) (any, decision.Decision) {
	t.Helper()
	input, err := ast.InterfaceToValue(question)
	if err != nil {
		t.Fatal(err)
	}
	value, err := p.Eval(t.Context(), input)
	if err != nil {
		t.Fatal(err)
	}
	document, err := ast.JSON(value)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	var d decision.Decision
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	return document, d
}

// TestProductionOnARealNode fails when the charter says yes to what identifies a machine
// or a person, no to what an operator needs, or says otherwise in stock OPA.
func TestProductionOnARealNode(t *testing.T) {
	built := production(t)
	verdicts := classify(t, built)
	if len(verdicts) != seriesTotal {
		t.Errorf("%d series, want %d", len(verdicts), seriesTotal)
	}
	allowed := allowedOf(verdicts)
	t.Logf("%d of %d series are allowed", len(allowed), len(verdicts))
	if len(allowed) <= seriesOfUse {
		t.Errorf("%d series are allowed, want more than %d", len(allowed), seriesOfUse)
	}
	for _, v := range verdicts {
		if v.answer.Clause == "" || len(v.answer.Reasons) == 0 && !v.answer.Allow {
			t.Errorf("line %d: %s: denied without a clause and a reason", v.Line, v.Metric)
		}
	}
	t.Run("no identifying label leaves", func(t *testing.T) { noIdentifyingLabel(t, allowed) })
	t.Run("no identifying value leaves", func(t *testing.T) { noIdentifyingValue(t, verdicts, allowed) })
	t.Run("no series become one", func(t *testing.T) { noCollapse(t, allowed) })
	t.Run("what operators need passes", func(t *testing.T) { needed(t, allowed) })
	t.Run("forbidden names hit what they mean", func(t *testing.T) { forbiddenNames(t, verdicts) })
	t.Run("stock opa agrees", func(t *testing.T) { stockAgrees(t, built, verdicts) })
}

func allowedOf(verdicts []verdict) []*verdict {
	var allowed []*verdict
	for i := range verdicts {
		if verdicts[i].answer.Allow {
			allowed = append(allowed, &verdicts[i])
		}
	}
	return allowed
}

// identifyingLabels are the labels of node_exporter that tell one machine, one device or
// one correspondent from all others, found by reading the values of all of them.
func identifyingLabels() []string {
	return []string{
		"board_serial", "chassis_serial", "product_serial", "serial", "serial_number", "product_uuid", "uuid", "wwn",
		"address", "broadcast", "mac_address", "bssid", "ssid", "fabric_name", "port_name", "port_id", "symbolic_name",
		"board_asset_tag", "chassis_asset_tag", "local_address", "remote_address", "ip", "mountaddr", "export",
		"nodename", "domainname",
	}
}

// noIdentifyingLabel goes by names: an identifying label with a value must be dropped.
func noIdentifyingLabel(t *testing.T, allowed []*verdict) {
	for _, v := range allowed {
		for _, label := range identifyingLabels() {
			if v.Labels[label] != "" && !slices.Contains(v.answer.Obligations.DropLabels, label) {
				t.Errorf("line %d: %s passes with %s", v.Line, v.Metric, label)
			}
		}
	}
}

// noIdentifyingValue goes by values, so that a label nobody thought of is found: no value
// that an identifying label has anywhere, and nothing that looks like a MAC, a UUID, a
// world wide name or an IP address, may leave under any name.
func noIdentifyingValue(t *testing.T, verdicts []verdict, allowed []*verdict) {
	known := make(map[string]bool)
	for _, v := range verdicts {
		for _, label := range identifyingLabels() {
			if value := v.Labels[label]; len(value) >= 5 {
				known[value] = true
			}
		}
	}
	looks := regexp.MustCompile(`(?i)([0-9a-f]{2}[:-]){5}[0-9a-f]{2}|[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}|\b(0x|eui\.|naa\.)?[0-9a-f]{14,}\b`)
	for _, v := range allowed {
		for name, value := range v.left() {
			host, _, _ := strings.Cut(value, ":")
			if _, err := netip.ParseAddr(host); err == nil || known[value] || looks.MatchString(value) {
				t.Errorf("line %d: %s passes with %s=%q", v.Line, v.Metric, name, value)
			}
		}
	}
}

// noCollapse: dropping labels must not leave a collector with duplicate series.
func noCollapse(t *testing.T, allowed []*verdict) {
	seen := make(map[string]int)
	for _, v := range allowed {
		kept := maps.Clone(v.Labels)
		for _, label := range v.answer.Obligations.DropLabels {
			delete(kept, label)
		}
		data, err := json.Marshal(kept)
		if err != nil {
			t.Fatal(err)
		}
		key := v.Metric + string(data)
		if line, twice := seen[key]; twice {
			t.Errorf("lines %d and %d: %s are one series without the dropped labels", line, v.Line, v.Metric)
		}
		seen[key] = v.Line
	}
}

// forbiddenNames: of all real names only those of wireless stations are forbidden by name.
// A pattern such as "*lat*" would hit latencies.
func forbiddenNames(t *testing.T, verdicts []verdict) {
	for _, v := range verdicts {
		for _, r := range v.answer.Reasons {
			if r.Code == decision.CodeForbiddenMetric && !strings.HasPrefix(v.Metric, "node_wifi_station_") {
				t.Errorf("line %d: %s is forbidden by %s", v.Line, v.Metric, r.Clause)
			}
		}
	}
}

// needed lists what a dashboard of a Linux node is made of.
func needed(t *testing.T, allowed []*verdict) {
	names := make(map[string]bool)
	for _, v := range allowed {
		names[v.Metric] = true
	}
	for _, name := range []string{
		"node_cpu_seconds_total", "node_load1", "node_memory_MemFree_bytes", "node_disk_read_bytes_total", "node_disk_info",
		"node_network_receive_drop_total", "node_network_info", "node_boot_time_seconds", "node_hwmon_temp_celsius",
		"node_nvme_info", "node_dmi_info", "node_filefd_allocated", "node_pressure_cpu_waiting_seconds_total",
		"node_netstat_Tcp_RetransSegs", "node_scrape_collector_success", "node_md_disks", "node_os_info",
	} {
		if !names[name] {
			t.Errorf("no series of %s is allowed", name)
		}
	}
}

// stockAgrees asks an unmodified opa about every series and compares whole documents.
func stockAgrees(t *testing.T, built *bundle.Bundle, verdicts []verdict) {
	opa := judge.Path(t, "opa")
	dir := filepath.Join(t.TempDir(), "bundle")
	if err := built.WriteDir(dir); err != nil {
		t.Fatal(err)
	}
	questions := make([]any, len(verdicts))
	for i := range verdicts {
		questions[i] = verdicts[i].question
	}
	answers := evalAll(t, opa, dir, questions)
	if len(answers) != len(verdicts) {
		t.Fatalf("opa gave %d answers to %d questions", len(answers), len(verdicts))
	}
	different := 0
	for i, v := range verdicts {
		if !reflect.DeepEqual(answers[i], v.document) {
			if different++; different <= 10 {
				t.Errorf("line %d: %s:\nopa    %v\nengine %v", v.Line, v.Metric, answers[i], v.document)
			}
		}
	}
	if different > 10 {
		t.Errorf("%d series differ", different)
	}
}

// evalAll decides all questions in one run of `opa eval`.
func evalAll(t *testing.T, opa, dir string, questions []any) []any {
	t.Helper()
	input, err := json.Marshal(map[string]any{"questions": questions})
	if err != nil {
		t.Fatal(err)
	}
	query := `[answer | some question in input.questions; answer := data.charter.decision with input as question]`
	cmd := exec.CommandContext(t.Context(), opa, "eval", "--bundle", dir, "--stdin-input", "--format", "raw", query)
	cmd.Stdin = bytes.NewReader(input)
	var failure bytes.Buffer
	cmd.Stderr = &failure
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("opa eval: %v\n%s%s", err, failure.Bytes(), output)
	}
	var answers []any
	dec := json.NewDecoder(bytes.NewReader(output))
	dec.UseNumber()
	if err := dec.Decode(&answers); err != nil {
		t.Fatalf("answer of opa eval: %v", err)
	}
	return answers
}

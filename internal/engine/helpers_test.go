package engine_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/engine"
)

// mini is a bundle of testdata/mini with exact further metrics m_0, m_1, ... and
// globs further patterns g_0_*, g_1_*, ...
type mini struct {
	version      string // 1.0.0 when empty
	retention    string // of net.exact, 30d when empty
	exact, globs int
	edit         func(files map[string][]byte)
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/mini/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func (m mini) bundle(t testing.TB) *bundle.Bundle {
	t.Helper()
	m.version, m.retention = cmp.Or(m.version, "1.0.0"), cmp.Or(m.retention, "30d")
	text := []byte(strings.Replace(string(read(t, "charter.yaml")), "VERSION", m.version, 1))
	c, findings := charter.Parse("charter.yaml", text)
	if c == nil {
		t.Fatalf("the test charter does not parse: %v", findings)
	}
	files := map[string][]byte{
		bundle.ManifestFile:              fmt.Appendf(nil, `{"revision":%q,"roots":["charter"],"rego_version":1}`, c.Revision()),
		bundle.CharterFile:               text,
		bundle.DataFile:                  m.data(t, c.Revision()),
		"charter/decision.rego":          read(t, "charter/decision.rego"),
		"charter/patterns/patterns.rego": m.patterns(),
	}
	if m.edit != nil {
		m.edit(files)
	}
	b, err := bundle.New(files)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (m mini) data(t testing.TB, revision string) []byte {
	t.Helper()
	type object = map[string]any
	clause := func(id string) object { return object{"clauses": object{id: true}} }
	exact := object{"latency_p50": clause("net.exact"), "latency_p95": clause("net.exact")}
	for i := range m.exact {
		exact[fmt.Sprintf("m_%d", i)] = clause("net.exact")
	}
	globs := object{"node_*": clause("net.node")}
	for i := range m.globs {
		globs[fmt.Sprintf("g_%d_*", i)] = clause("net.node")
	}
	data, err := json.Marshal(object{"charter": object{"tables": object{
		"charter":  object{"revision": revision},
		"exact":    exact,
		"patterns": globs,
		"roles":    object{"node_operator": object{"collects": object{"network": true}}},
		"clauses": object{
			"net.exact": object{"operations": object{"collect": true}, "obligations": object{"retention": m.retention}},
			"net.node":  object{"operations": object{"collect": true}},
		},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func (m mini) patterns() []byte {
	var b strings.Builder
	b.WriteString("package charter.patterns\n\nmetric contains \"node_*\" if startswith(input.metric, \"node_\")\n")
	for i := range m.globs {
		fmt.Fprintf(&b, "\nmetric contains \"g_%d_*\" if startswith(input.metric, \"g_%d_\")\n", i, i)
	}
	return []byte(b.String())
}

func (m mini) policy(t testing.TB, state map[string]any) *engine.Policy {
	t.Helper()
	p, err := engine.Prepare(t.Context(), m.bundle(t), state)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func ask(metric string) decision.Input {
	return decision.Input{Metric: metric, Node: "edge-1", Role: "node_operator", Operation: decision.Collect, Time: "2026-06-01T00:00:00Z"}
}

// program replaces the decision rules; "charter.revision" stays to be used.
func program(text string) mini {
	return mini{edit: func(files map[string][]byte) { files["charter/decision.rego"] = []byte(text) }}
}

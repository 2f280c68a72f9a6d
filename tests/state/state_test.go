// Package state has a stock opa decide with a state bundle beside the bundle of a
// charter, and compares its decisions with ours.
package state

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/compile"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/engine"
	"github.com/westworld-charter/charter/tests/internal/file"
	"github.com/westworld-charter/charter/tests/internal/judge"
	"github.com/westworld-charter/charter/tests/internal/process"
)

const document = `{
  "expires": "2026-06-02T00:00:00Z",
  "standing": {"edge-2": {"state": "suspended", "reason": "v1", "until": "2026-06-01T06:00:00Z"}, "edge-3": {"state": "quarantined", "reason": "v2"}, "edge-4": {"state": "warned"}},
  "revocations": {"edge-5": {"reason": "legal", "export_until": "2026-06-01T06:00:00Z"}},
  "overrides": {"o-1": {"clauses": ["net.latency"], "retention": "90d", "from": "2026-06-01T00:00:00Z", "until": "2026-06-01T06:00:00Z"}}
}`

func questions() []map[string]any {
	var all []map[string]any
	for _, node := range []string{"edge-1", "edge-2", "edge-3", "edge-4", "edge-5"} {
		for _, operation := range []string{"collect", "read", "export"} {
			for _, at := range []string{"", "2026-06-01T00:00:00Z", "2026-06-01T06:00:00Z", "2026-06-02T00:00:00Z"} {
				q := map[string]any{
					"metric": "latency_p50", "node": node, "role": "node_operator", "operation": operation, "purpose": "operations", "claims": []string{"owns_node", "mtls"}, "retention": "60d",
				}
				if at != "" {
					q["time"] = at
				}
				all = append(all, q)
			}
		}
	}
	return all
}

// A stock opa that loads both archives decides like ourselves, whether the charter
// requires state or not.
func TestStockOPADecidesWithTheStateBundle(t *testing.T) {
	for _, state := range []string{"optional", "required"} {
		t.Run(state, func(t *testing.T) {
			text, err := os.ReadFile("../../policies/base/charter.yaml")
			if err != nil {
				t.Fatal(err)
			}
			c, findings := charter.Parse("charter.yaml", bytes.Replace(text, []byte("state: optional"), []byte("state: "+state), 1))
			if findings.HasErrors() || c.Enforcement.State != state {
				t.Fatal(findings)
			}
			dir := t.TempDir()
			policy, err := compile.Build(c)
			if err != nil {
				t.Fatal(err)
			}
			says, err := bundle.ParseObject([]byte(document))
			if err != nil {
				t.Fatal(err)
			}
			s, err := bundle.NewState(1_780_000_000_000, says, []json.RawMessage{[]byte(`{"charter_state":{"standing":{}},"charter":{}}`)})
			if err != nil {
				t.Fatal(err)
			}
			args := []string{"eval", "--format", "raw", "--stdin-input", "[d | some q in input; d := data.charter.decision with input as q]"}
			for name, write := range map[string]func(*os.File) error{
				"policy.tar.gz": func(f *os.File) error { return policy.WriteTar(f) }, "state.tar.gz": func(f *os.File) error { return s.WriteTar(f) },
			} {
				f, err := os.Create(filepath.Join(dir, name))
				if err != nil {
					t.Fatal(err)
				}
				if err := write(f); err != nil {
					t.Fatal(err)
				}
				if err := f.Close(); err != nil {
					t.Fatal(err)
				}
				args = append(args, "--bundle", f.Name())
			}
			input, err := json.Marshal(questions())
			if err != nil {
				t.Fatal(err)
			}
			args[3] = "--input=" + file.Write(t, filepath.Join(dir, "input.json"), string(input))
			var theirs []map[string]any
			if err := json.Unmarshal([]byte(process.Output(t, process.Options{}, judge.Path(t, "opa"), args...)), &theirs); err != nil {
				t.Fatal(err)
			}
			compare(t, policy, s, theirs)
		})
	}
}

// compare holds the decisions of opa against ours, what Go adds to them aside.
func compare(t *testing.T, policy *bundle.Bundle, s *bundle.State, theirs []map[string]any) {
	t.Helper()
	p, err := engine.Prepare(t.Context(), policy, s.Document())
	if err != nil {
		t.Fatal(err)
	}
	outcomes := map[string]int{}
	all := questions()
	if len(theirs) != len(all) {
		t.Fatalf("%d decisions of %d questions", len(theirs), len(all))
	}
	for i, q := range all {
		text, err := json.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		var in decision.Input
		if err := json.Unmarshal(text, &in); err != nil {
			t.Fatal(err)
		}
		d, err := p.Decide(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		text, err = json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		var ours map[string]any
		if err := json.Unmarshal(text, &ours); err != nil {
			t.Fatal(err)
		}
		for name := range theirs[i] {
			if !reflect.DeepEqual(theirs[i][name], ours[name]) {
				t.Errorf("%s: %s is %v for opa, and %v for us", text, name, theirs[i][name], ours[name])
			}
		}
		outcomes[d.Outcome]++
	}
	for _, outcome := range []string{decision.Allowed, decision.Suspended, decision.Quarantined} {
		if outcomes[outcome] == 0 {
			t.Errorf("nothing was %s: the comparison says little (%v)", outcome, outcomes)
		}
	}
}

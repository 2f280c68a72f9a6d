package exportconfig

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/compile"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/engine"
	"github.com/westworld-charter/charter/internal/exportconfig/exporttest"
)

// prepare makes a policy of a charter, nil when the charter is not valid.
func prepare(t testing.TB, c *charter.Charter, state map[string]any) *engine.Policy {
	t.Helper()
	if c == nil || compile.Check(c).HasErrors() {
		return nil
	}
	b, err := compile.Build(c)
	if err != nil {
		t.Fatal(err)
	}
	p, err := engine.Prepare(t.Context(), b, state)
	if err != nil {
		t.Fatal(err)
	}
	if p, err = p.WithCharter(c); err != nil {
		t.Fatal(err)
	}
	return p
}

func parse(t testing.TB, text string, state map[string]any) *engine.Policy {
	t.Helper()
	c, findings := charter.Parse("charter.yaml", []byte(text))
	p := prepare(t, c, state)
	if p == nil {
		t.Fatalf("the charter of the test is not valid: %v\n%s", findings, text)
	}
	return p
}

func shipped(t testing.TB, name string) *engine.Policy {
	t.Helper()
	c, findings := charter.Load(filepath.Join("..", "..", "policies", name, "charter.yaml"))
	p := prepare(t, c, nil)
	if p == nil {
		t.Fatal(findings)
	}
	return p
}

func question(node, role string) decision.Input {
	return decision.Input{
		Node: node, Role: role, Operation: decision.Collect, Time: "2026-06-01T00:00:00Z",
		Claims: []string{"owns_node", "mtls"},
	}
}

// hashed is the clauses that no target can express.
func hashed(c *charter.Charter) []string {
	var ids []string
	for _, clause := range c.AllClauses() {
		if len(clause.Labels.Hash) > 0 {
			ids = append(ids, clause.ID)
		}
	}
	return ids
}

// eachDrawn draws valid charters and hands over their plans.
func eachDrawn(t *testing.T, rounds int, visit func(r *rand.Rand, text string, p *engine.Policy, plan *Plan)) {
	t.Helper()
	r := rand.New(rand.NewPCG(3, 5))
	for done := 0; done < rounds; {
		text := exporttest.Charter(r)
		c, _ := charter.Parse("charter.yaml", []byte(text))
		p := prepare(t, c, nil)
		if p == nil {
			continue
		}
		done++
		plan, err := Build(t.Context(), p, question(exporttest.Node, exporttest.Role), Options{})
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		visit(r, text, p, plan)
		if t.Failed() {
			t.Fatalf("the charter is\n%s", text)
		}
	}
}

// want is what the engine leaves of a series, as text; "" for nothing.
func want(t testing.TB, p *engine.Policy, metric string, labels map[string]string) string {
	t.Helper()
	in := question(exporttest.Node, exporttest.Role)
	in.Metric, in.Labels = metric, labels
	d, err := p.Decide(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if !d.Allow {
		return ""
	}
	left := map[string]string{}
	for name, value := range labels {
		if value != "" && !slices.Contains(d.Obligations.DropLabels, name) {
			left[name] = value
		}
	}
	return fmt.Sprint(left)
}

// rounds is how many charters are drawn: more of them with CHARTER_LONG=1.
func rounds(short int) int {
	if os.Getenv("CHARTER_LONG") == "1" {
		return 120 * short
	}
	return short
}

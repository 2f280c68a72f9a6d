package explain_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/compile"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/engine"
	"github.com/westworld-charter/charter/internal/explain"
)

type object = map[string]any

// active is an engine with the charter of testdata and a state.
func active(t testing.TB, state object) *engine.Engine {
	t.Helper()
	c, findings := charter.Load("testdata/charter.yaml")
	if c != nil {
		findings = append(findings, compile.Check(c)...)
	}
	if c == nil || findings.HasErrors() {
		t.Fatal(findings)
	}
	e := engine.New()
	e.Swap(prepare(t, c, state))
	return e
}

func prepare(t interface {
	Fatal(args ...any)
	Context() context.Context
}, c *charter.Charter, state object,
) *engine.Policy {
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

// ask is a question that is allowed, with a change.
func ask(edit func(*decision.Input)) decision.Input {
	in := decision.Input{
		Metric: "node_network_up", Node: "edge-1", Role: "node_operator", Operation: decision.Collect,
		Claims: []string{"owns_node", "mtls"}, Time: "2026-06-01T00:00:00Z",
	}
	edit(&in)
	return in
}

func explainer(e *engine.Engine) *explain.Explainer {
	return explain.New(func() []*engine.Policy { return []*engine.Policy{nil, e.Current()} })
}

func explained(t testing.TB, e *engine.Engine, in decision.Input, reach *explain.Reach) (decision.Decision, *explain.Explanation) {
	t.Helper()
	d, err := e.Decide(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	x, err := explainer(e).Explain(t.Context(), in, d, reach)
	if err != nil {
		t.Fatal(err)
	}
	return d, x
}

// unmet lists the checks that speak against the question.
func unmet(x *explain.Explanation) string {
	var list []string
	for _, s := range x.Steps {
		if !s.Met {
			list = append(list, s.Check)
		}
	}
	return strings.Join(list, " ")
}

func labels(names ...string) map[string]string {
	m := map[string]string{}
	for _, name := range names {
		m[name] = "v"
	}
	return m
}

func read(in *decision.Input, role, purpose string, claims ...string) {
	in.Operation, in.Role, in.Purpose, in.Claims = decision.Read, role, purpose, claims
}

func TestOutcomes(t *testing.T) {
	e := active(t, object{"standing": object{
		"edge-8": object{"state": "suspended", "reason": "silent collection"}, "edge-9": object{"state": "quarantined"},
	}})
	for _, c := range []struct {
		name           string
		edit           func(*decision.Input)
		outcome, unmet string
		want           string
	}{
		{"allowed", func(*decision.Input) {}, "allowed", "", ""},
		{"a claim", func(in *decision.Input) { in.Claims = []string{"mtls"} }, "denied", "claims", "allowed with claim owns_node"},
		{"both claims", func(in *decision.Input) { in.Claims = nil }, "denied", "claims", "allowed with claims mtls, owns_node"},
		{"label", func(in *decision.Input) { in.Labels = labels("client_ip", "device") }, "denied", "labels", "allowed without label client_ip"},
		{"labels of both kinds", func(in *decision.Input) { in.Labels = labels("client_ip", "geo_lat", "serial") }, "forbidden", "forbidden_labels labels", "allowed without labels client_ip, geo_lat, serial"},
		{"retention", func(in *decision.Input) { in.Retention = "31d" }, "denied", "retention", "allowed with retention 30d or less"},
		{"retention under a waiver", func(in *decision.Input) { in.Node, in.Retention = "edge-7", "61d" }, "denied", "retention", "allowed with retention 60d or less"},
		{"purpose", func(in *decision.Input) { read(in, "auditor", "billing", "seat") }, "denied", "purpose", "allowed for purpose operations"},
		{"no purpose", func(in *decision.Input) { read(in, "auditor", "", "seat") }, "denied", "purpose", "allowed for purpose operations"},
		{"unknown purpose", func(in *decision.Input) { read(in, "public", "spying"); in.Metric = "latency_p50" }, "denied", "purpose", "allowed for purpose billing"},
		{"role", func(in *decision.Input) { read(in, "public", "operations", "seat") }, "denied", "level", "allowed with role auditor"},
		{"role without its claim", func(in *decision.Input) { in.Metric = "latency_p50"; in.Role = "auditor"; in.Claims = nil }, "denied", "claims category", "allowed for operation read with claim seat"},
		{"operation and role", func(in *decision.Input) {
			read(in, "public", "operations")
			in.Operation = decision.Export
			in.Metric = "latency_p50"
		}, "denied", "export_level", "allowed for operation read"},
		{"unknown role", func(in *decision.Input) { in.Role = "guest" }, "denied", "role", "allowed with role node_operator"},
		{"unknown role without claims", func(in *decision.Input) { in.Role = "guest"; in.Claims = nil }, "denied", "role", "allowed with role node_operator and claims mtls, owns_node"},
		{"three fields", func(in *decision.Input) { read(in, "public", ""); in.Operation = decision.Read }, "denied", "level purpose", "allowed with role auditor and claim seat for purpose operations"},
		{"operation", func(in *decision.Input) {
			read(in, "public", "")
			in.Metric = "latency_p50"
			in.Operation = decision.Collect
		}, "denied", "category", "allowed for operation read"},
		{"renewal", func(in *decision.Input) { in.Role = "responder" }, "denied", "renewal", "allowed with role node_operator"},
		{"node", func(in *decision.Input) { in.Node = "lone" }, "denied", "node", ""},
		{"forbidden", func(in *decision.Input) { in.Metric = "gps_fix" }, "forbidden", "forbidden_name clause", "never: protected clause privacy.location"},
		{"forbidden, unprotected", func(in *decision.Input) { in.Metric = "serial_number" }, "forbidden", "forbidden_name clause", "never: forbidden clause privacy.serial"},
		{"unknown", func(in *decision.Input) { in.Metric = "up" }, "unknown_metric", "clause", "never: no clause speaks for the metric"},
		{"suspended", func(in *decision.Input) { in.Node, in.Purpose = "edge-8", "operations" }, "suspended", "standing", "allowed for operation read"},
		{"quarantined", func(in *decision.Input) { in.Node = "edge-9" }, "quarantined", "standing", "allowed for operation read for purpose operations"},
		{"revoked", func(in *decision.Input) { in.Node, in.Metric = "edge-13", "node_cpu" }, "denied", "standing", ""},
		{"stale", func(in *decision.Input) { in.Time, in.Metric = "2028-01-01", "latency_p50" }, "stale_policy", "validity", "allowed for operation read"},
		{"shadow", func(in *decision.Input) { in.Metric, in.Claims = "shadow_x", []string{"mtls"} }, "denied", "claims", "allowed with claim owns_node"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := ask(c.edit)
			d, x := explained(t, e, in, nil)
			if d.Outcome != c.outcome || unmet(x) != c.unmet {
				t.Errorf("outcome %s, not met: %s", d.Outcome, unmet(x))
			}
			if x.Counterfactual != c.want {
				t.Errorf("counterfactual %q, want %q (%+v)", x.Counterfactual, c.want, x.Search)
			}
			if (x.Change != nil) != strings.HasPrefix(c.want, "allowed") {
				t.Errorf("change %+v", x.Change)
			}
			if x.Change == nil {
				return
			}
			if after, err := e.Decide(t.Context(), x.Change.Apply(in)); err != nil || after.Outcome != decision.Allowed {
				t.Errorf("the change is not allowed: %+v", after)
			}
		})
	}
}

func stepOf(t *testing.T, x *explain.Explanation, check string) explain.Step {
	t.Helper()
	i := slices.IndexFunc(x.Steps, func(s explain.Step) bool { return s.Check == check })
	if i < 0 {
		t.Fatalf("no step %s in %+v", check, x.Steps)
	}
	return x.Steps[i]
}

// A reader must learn which clause was taken, why not the others, and where each
// is written, bases included.
func TestSelection(t *testing.T) {
	e := active(t, nil)
	for _, c := range []struct {
		name  string
		edit  func(*decision.Input)
		want  string
		rival []string
	}{
		{"longer prefix", func(*decision.Input) {}, "clause net.node is selected: its pattern node_network_* matches and is the most specific", []string{
			"node_network_* net.node testdata/charter.yaml:9", "node_* node.all testdata/charter.yaml:19 its literal prefix has 5 characters, that of the selected one 13",
		}},
		{"exact", func(in *decision.Input) { in.Metric = "node_load1" }, "clause infra.load is selected: its exact name node_load1 matches and is the most specific", []string{
			"node_load1 infra.load testdata/base.yaml:13", "node_* node.all testdata/charter.yaml:19 an exact name goes before it",
		}},
		{"by node", func(in *decision.Input) { in.Metric, in.Node = "split", "west-1" }, "clause net.west is selected: its exact name split matches and is the most specific", []string{
			"split net.west testdata/charter.yaml:17", "split net.east testdata/charter.yaml:16 it is as specific and does not cover the node",
		}},
		{"alone", func(in *decision.Input) { in.Metric = "latency_p50" }, "clause net.latency is selected: its exact name latency_p50 matches", []string{"latency_p50 net.latency testdata/charter.yaml:8"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, x := explained(t, e, ask(c.edit), nil)
			s := stepOf(t, x, explain.CheckClause)
			var got []string
			for _, m := range s.Matches {
				got = append(got, strings.TrimSpace(strings.Join([]string{m.Match, m.Clause, m.Source, m.Why}, " ")))
			}
			if s.Message != c.want || !slices.Equal(got, c.rival) {
				t.Errorf("%s\n%q", s.Message, got)
			}
		})
	}
}

// What the charter says stands beside what was asked.
func TestValues(t *testing.T) {
	e := active(t, nil)
	in := ask(func(in *decision.Input) {
		read(in, "node_operator", "billing", "mtls")
		in.Labels, in.Retention, in.Node = labels("client_ip", "device"), "61d", "edge-7"
	})
	d, x := explained(t, e, in, nil)
	for _, c := range []struct{ check, charter, asked, message string }{
		{explain.CheckClaims, "mtls owns_node", "mtls", "role node_operator requires owns_node"},
		{explain.CheckOperation, "collect read", "read", "operation read is permitted"},
		{explain.CheckLevel, "operator public", "operator", "role node_operator reads level operator"},
		{explain.CheckNode, "edge-* group:site", "edge-7", "the clause covers the node"},
		{explain.CheckPurpose, "operations", "billing", "purpose billing is permitted"}, // by the waiver
		{explain.CheckRetention, "30d 60d", "61d", "retention 61d is longer than 30d"},
		{explain.CheckLabels, "client_ip user", "client_ip device", "label client_ip is not permitted"},
	} {
		s := stepOf(t, x, c.check)
		if got := strings.Join(s.Charter, " "); got != c.charter || strings.Join(s.Asked, " ") != c.asked || s.Message != c.message {
			t.Errorf("%s: charter %q, asked %q: %s", c.check, got, s.Asked, s.Message)
		}
		if c.check == explain.CheckClaims {
			if s.Clause != "" || s.Source != "testdata/base.yaml:7" {
				t.Errorf("the role is at %s %s", s.Clause, s.Source)
			}
			continue
		}
		if s.Clause != "net.node" || s.Source != "testdata/charter.yaml:9" {
			t.Errorf("%s: %s at %s", c.check, s.Clause, s.Source)
		}
	}
	if s := stepOf(t, x, explain.CheckGrant); s.Clause != "w.long" || s.Message != "waiver w.long applies" || s.Source != "testdata/charter.yaml:22" {
		t.Errorf("%+v", s)
	}
	if d.Source != "testdata/charter.yaml:9" || d.Reasons[0].Source != d.Source && d.Reasons[0].Clause == d.Clause {
		t.Errorf("%+v", d)
	}
	_, x = explained(t, e, ask(func(in *decision.Input) { in.Metric = "my_gps_fix" }), nil)
	if s := stepOf(t, x, explain.CheckForbiddenName); len(s.Matches) != 1 || s.Matches[0].Match != "*gps*" || s.Source != "testdata/base.yaml:15" || s.Codes[0] != decision.CodeForbiddenMetric {
		t.Errorf("%+v", s)
	}
	_, x = explained(t, e, ask(func(in *decision.Input) { in.Metric = "latency_p50" }), nil)
	if s := stepOf(t, x, explain.CheckObligations); s.Message != "who asks must keep the series at most 30d; ask at most 100/1m" {
		t.Errorf("%+v", s)
	}
}

// Who may not assert a role or claim is not told what it would be good for.
func TestReach(t *testing.T) {
	e := active(t, nil)
	in := ask(func(in *decision.Input) { read(in, "public", "operations") })
	for _, c := range []struct {
		reach *explain.Reach
		want  string
	}{
		{nil, "allowed with role auditor and claim seat"},
		{&explain.Reach{Roles: []string{"public", "node_operator"}, Claims: []string{"mtls", "owns_node"}}, "allowed with role node_operator and claims mtls, owns_node"},
		{&explain.Reach{Roles: []string{"public", "auditor"}}, ""},
		{&explain.Reach{}, ""},
	} {
		_, x := explained(t, e, in, c.reach)
		if x.Counterfactual != c.want || x.Search.Restricted != (c.reach != nil) || !x.Search.Complete {
			t.Errorf("%+v: %q, %+v", c.reach, x.Counterfactual, x.Search)
		}
	}
}

// An explanation speaks of the decision it comes with, or there is none.
func TestReplaced(t *testing.T) {
	e := active(t, nil)
	in := ask(func(*decision.Input) {})
	x := explainer(e)
	d, _ := e.Decide(t.Context(), in)
	held := active(t, object{"standing": object{"edge-1": object{"state": "suspended"}}}).Current()
	e.Swap(held)
	if _, err := x.Explain(t.Context(), in, d, nil); !errors.Is(err, explain.ErrReplaced) {
		t.Errorf("after a swap: %v", err)
	}
	e.Swap(nil)
	if _, err := x.Explain(t.Context(), in, d, nil); !errors.Is(err, explain.ErrReplaced) {
		t.Errorf("after unloading: %v", err)
	}
	d, _ = e.Decide(t.Context(), in)
	if got, err := x.Explain(t.Context(), in, d, nil); err != nil || len(got.Steps) != 0 || got.Counterfactual != "" {
		t.Errorf("without a policy: %+v, %v", got, err)
	}
}

// A question that is not valid has one step; a caller that left gets an error.
func TestNoAnswer(t *testing.T) {
	e := active(t, nil)
	d, x := explained(t, e, ask(func(in *decision.Input) { in.Role, in.Retention = "", "ever" }), nil)
	if d.Outcome != decision.InvalidRequest || len(x.Steps) != 1 || x.Steps[0].Met || len(x.Steps[0].Codes) != 2 || x.Search != nil {
		t.Errorf("%+v", x)
	}
	in := ask(func(in *decision.Input) { in.Claims = nil })
	d, _ = e.Decide(t.Context(), in)
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := explainer(e).Explain(ended, in, d, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// The work for one question is bounded, and the explanation says that it was cut.
func TestBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString("apiVersion: charter/v1\nkind: Charter\nmetadata: {name: wide, version: 1.0.0}\naccess_levels: [public, secret]\npurposes: [needed")
	for i := range 40 {
		fmt.Fprintf(&b, ", p%d", i)
	}
	b.WriteString("]\nroles:\n")
	for i := range 40 {
		fmt.Fprintf(&b, "  - {name: r%d, reads: [public], requires: [c%d]}\n", i, i)
	}
	b.WriteString("metrics:\n  net:\n    - {id: a, match: [a], access: secret, purposes: [needed]}\n")
	c, findings := charter.Parse("charter.yaml", []byte(b.String()))
	if c == nil {
		t.Fatal(findings)
	}
	e := engine.New()
	e.Swap(prepare(t, c, nil))
	_, x := explained(t, e, ask(func(in *decision.Input) { in.Metric = "a"; read(in, "r1", "p1") }), nil)
	if x.Search.Complete || x.Search.Evaluations != explain.MaxEvaluations || x.Change != nil || x.Counterfactual != "" {
		t.Errorf("%+v", x.Search)
	}
}

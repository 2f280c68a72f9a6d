package engine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/engine"
)

func TestDecide(t *testing.T) {
	p := mini{}.policy(t, map[string]any{"standing": map[string]any{"edge-9": map[string]any{"state": "suspended"}}})
	suspended := ask("latency_p50")
	suspended.Node = "edge-9"
	export := ask("latency_p50")
	export.Operation = decision.Export
	for _, tc := range []struct {
		in   decision.Input
		want string
	}{
		{ask("latency_p50"), `{"allow":true,"outcome":"allowed","revision":"REV","clause":"net.exact","severity":"none","reasons":[],"obligations":{"retention":"30d"},"mode":"enforce"}`},
		{ask("node_load1"), `{"allow":true,"outcome":"allowed","revision":"REV","clause":"net.node","severity":"none","reasons":[],"obligations":{},"mode":"enforce"}`},
		{ask("speed"), `{"allow":false,"outcome":"unknown_metric","revision":"REV","clause":"default","severity":"low","reasons":[{"code":"unknown_metric","clause":"default","severity":"low","message":"unknown_metric"}],"obligations":{},"mode":"enforce"}`},
		{suspended, `{"allow":false,"outcome":"suspended","revision":"REV","clause":"standing","severity":"low","reasons":[{"code":"node_suspended","clause":"standing","severity":"low","message":"node_suspended"}],"obligations":{},"mode":"enforce"}`},
		{export, `{"allow":true,"outcome":"denied","revision":"REV","clause":"net.exact","severity":"low","reasons":[{"code":"operation_not_permitted","clause":"net.exact","severity":"low","message":"operation_not_permitted"}],"obligations":{},"mode":"shadow","enforced":false,` +
			`"would_deny":{"allow":false,"outcome":"denied","revision":"REV","clause":"net.exact","severity":"low","reasons":[{"code":"operation_not_permitted","clause":"net.exact","severity":"low","message":"operation_not_permitted"}],` +
			`"obligations":{"retention":"1d","drop_labels":["a","b"],"hash_labels":["c"],"forbid_labels":["d"],"rates":["1/1m"]},"mode":"shadow"}}`},
	} {
		got, err := p.Decide(t.Context(), tc.in)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(got)
		if want := strings.ReplaceAll(tc.want, "REV", p.Revision()); err != nil || string(text) != want {
			t.Errorf("%s:\n got %s\nwant %s", tc.in.Metric, text, want)
		}
	}
}

// A question that the contract calls invalid is never allowed, not even by rules
// that forgot to look.
func TestInvalidQuestionsAreNotAllowed(t *testing.T) {
	p := mini{}.policy(t, nil)
	for name, edit := range map[string]func(*decision.Input){
		"metric":    func(in *decision.Input) { in.Metric = "node_\xff" },
		"node":      func(in *decision.Input) { in.Node = "" },
		"retention": func(in *decision.Input) { in.Retention = "for ever" },
		"labels":    func(in *decision.Input) { in.Labels = map[string]string{"a": "\xff"} },
		"claims":    func(in *decision.Input) { in.Claims = []string{"\xff"} },
	} {
		in := ask("latency_p50")
		edit(&in)
		got, err := p.Decide(t.Context(), in)
		if err != nil || got.Allow || got.Outcome != decision.InvalidRequest || got.Reasons[0].Field != name || got.Revision != p.Revision() {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestPrepareRefuses(t *testing.T) {
	set := func(path, text string) mini {
		return mini{edit: func(files map[string][]byte) { files[path] = []byte(text) }}
	}
	drop := func(path string) mini {
		return mini{edit: func(files map[string][]byte) { delete(files, path) }}
	}
	for _, tc := range []struct {
		name string
		m    mini
		code string
		text string // of the error, or of its first finding with its place
	}{
		{"no charter", drop("charter.yaml"), engine.CodeMissingFile, "charter.yaml"},
		{"no data", drop("data.json"), engine.CodeMissingFile, "data.json"},
		{"charter is not one", set("charter.yaml", "kind: Charta\n"), engine.CodeBadCharter, "charter.yaml:"},
		{"another charter", mini{edit: func(files map[string][]byte) {
			files["charter.yaml"] = bytes.Replace(files["charter.yaml"], []byte("30d"), []byte("90d"), 1)
		}}, engine.CodeRevisionMismatch, "mini-1.0.0+"},
		{"data is not JSON", set("data.json", "{"), engine.CodeBadData, ""},
		{"data is null", set("data.json", "null"), engine.CodeBadData, ""},
		{"data twice", set("data.json", `{"charter":{}} {}`), engine.CodeBadData, ""},
		{"data of another root", set("data.json", `{"charter":{},"charter_state":{}}`), engine.CodeBadData, ""},
		{"charter data is no object", set("data.json", `{"charter":[]}`), engine.CodeBadData, ""},
		{"rules for the state", set("charter/x.rego", "package charter_state\n\nsequence := 1\n"), engine.CodeBadPackage, "charter/x.rego:1:1"},
		{"rules elsewhere", set("charter/x.rego", "package system.authz\n\nallow := true\n"), engine.CodeBadPackage, "charter/x.rego:1:1"},
		{"rules over a table", set("charter/x.rego", "package charter.tables\n\nroles := {}\n"), engine.CodeBadRego, "charter/x.rego:"},
		{"syntax", set("charter/x.rego", "package charter.x\n\np if {\n"), engine.CodeBadRego, "charter/x.rego:"},
		{"old syntax", set("charter/x.rego", "package charter.x\n\np { true }\n"), engine.CodeBadRego, "charter/x.rego:3:1"},
		{"unsafe variable", set("charter/x.rego", "package charter.x\n\np if not q == x\n"), engine.CodeBadRego, "charter/x.rego:3:"},
		{"unused variable", set("charter/x.rego", "package charter.x\n\np if y := 1\n"), engine.CodeBadRego, "charter/x.rego:3:6"},
		{"no decision", program("package charter\n\nallow := true\n"), engine.CodeNoEntrypoint, "data.charter.decision"},
		{"empty module", program(""), engine.CodeBadRego, "charter/decision.rego"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := engine.Prepare(t.Context(), tc.m.bundle(t), nil)
			e, ok := errors.AsType[*engine.Error](err)
			if !ok || e.Code != tc.code || !strings.Contains(err.Error(), tc.text) {
				t.Fatalf("want %s %q, got %v", tc.code, tc.text, err)
			}
		})
	}
}

// Whatever goes wrong, nothing may come out that a caller could take for a yes.
func TestFailsClosed(t *testing.T) {
	const doc = `{"allow": true, "outcome": "allowed", "revision": data.charter.tables.charter.revision, "clause": "c", "severity": "none", "reasons": [], "obligations": {}, "mode": "enforce"}`
	with := func(key, value string) string {
		return "package charter\n\ndecision := object.union(" + doc + ", {\"" + key + "\": " + value + "})\n"
	}
	for name, text := range map[string]string{
		"undefined":               "package charter\n\ndecision := true if input.metric == 7\n",
		"conflict":                "package charter\n\ndecision := 1 if input.metric\n\ndecision := 2 if input.role\n",
		"true":                    "package charter\n\ndecision := true\n",
		"set":                     "package charter\n\ndecision contains true\n",
		"empty object":            "package charter\n\ndecision := {}\n",
		"key is a number":         "package charter\n\ndecision := {1: true}\n",
		"allow is text":           with("allow", `"true"`),
		"another revision":        with("revision", `"other-1.0.0+0"`),
		"no clause":               with("clause", `""`),
		"outcome contradicts":     with("outcome", `"forbidden"`),
		"not enforced, no denial": with("outcome", `"denied", "enforced": false`),
		"would allow":             with("outcome", `"denied", "enforced": false, "would_deny": `+doc),
		"unknown obligation":      with("obligations", `{"encrypt": true}`),
		"obligation of number":    with("obligations", `{"drop_labels": [1]}`),
		"obligations are text":    with("obligations", `"none"`),
		"labels are text":         with("obligations", `{"drop_labels": "address"}`),
		"reason of number":        with("reasons", `[1]`),
		"reason without text":     with("reasons", `[{"code": 1}]`),
		"outcome is null":         with("outcome", `null`),
	} {
		t.Run(name, func(t *testing.T) {
			p := program(text).policy(t, nil)
			got, err := p.Decide(t.Context(), ask("latency_p50"))
			if err == nil || got.Allow || got.Outcome != decision.Denied || got.Clause != decision.ClauseDefault ||
				got.Reasons[0].Code != decision.CodeUndetermined || got.Revision != p.Revision() {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
	accepted := program(with("explanation", `{"from": "a later version"}`)).policy(t, nil)
	if got, err := accepted.Decide(t.Context(), ask("latency_p50")); err != nil || !got.Allow {
		t.Errorf("a document with one more field: %+v, %v", got, err)
	}
}

func TestDeadline(t *testing.T) {
	p := program(`package charter

decision := true if {
	some a in numbers.range(1, 1000)
	some b in numbers.range(1, 1000)
	some c in numbers.range(1, 1000)
	a * b * c == -1
}
`).policy(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	for range 2 { // on the way, and before it begins
		got, err := p.Decide(ctx, ask("latency_p50"))
		if !errors.Is(err, context.DeadlineExceeded) || got.Allow || got.Reasons[0].Message != "the evaluation took too long" {
			t.Errorf("got %+v, %v", got, err)
		}
	}
	cancelled, stop := context.WithCancelCause(t.Context())
	gone := errors.New("client is gone")
	time.AfterFunc(10*time.Millisecond, func() { stop(gone) })
	if _, err := p.Decide(cancelled, ask("latency_p50")); !errors.Is(err, gone) {
		t.Errorf("the cause is lost: %v", err)
	}
	// A cancelled question must not spoil the next one.
	q := mini{}.policy(t, nil)
	_, _ = q.Decide(cancelled, ask("latency_p50"))
	if got, err := q.Decide(t.Context(), ask("latency_p50")); err != nil || !got.Allow {
		t.Errorf("after a cancelled question: %+v, %v", got, err)
	}
}

func TestWithState(t *testing.T) {
	standing := map[string]any{"edge-1": map[string]any{"state": "suspended"}}
	bare := mini{}.policy(t, nil)
	state := map[string]any{"standing": standing}
	held, err := bare.WithState(t.Context(), state)
	if err != nil {
		t.Fatal(err)
	}
	delete(standing, "edge-1") // the policy has its own copy
	freed, err := held.WithState(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		p    *engine.Policy
		want string
	}{{bare, decision.Allowed}, {held, decision.Suspended}, {freed, decision.Allowed}} {
		if got, err := tc.p.Decide(t.Context(), ask("latency_p50")); err != nil || got.Outcome != tc.want {
			t.Errorf("outcome %s, want %s: %v", got.Outcome, tc.want, err)
		}
	}
	if held.Revision() != bare.Revision() || held.Charter() != bare.Charter() {
		t.Error("another state made another charter")
	}
	for name, state := range map[string]map[string]any{"not a number": {"a": math.NaN()}, "function": {"a": func() {}}} {
		if _, err := bare.WithState(t.Context(), state); err == nil || !strings.Contains(err.Error(), engine.CodeBadState) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := engine.Prepare(t.Context(), mini{}.bundle(t), state); err == nil {
			t.Errorf("%s was loaded", name)
		}
	}
}

// The rule index must not change an answer.
func TestWithoutIndexing(t *testing.T) {
	p := mini{exact: 20, globs: 20}.policy(t, nil)
	oracle := p.WithoutIndexing()
	for _, metric := range []string{"latency_p50", "m_7", "m_77", "g_7_x", "g_7", "node_", "node", ""} {
		for _, role := range []string{"node_operator", "nobody", ""} {
			in := ask(metric)
			in.Role = role
			got, err := p.Decide(t.Context(), in)
			want, oracleErr := oracle.Decide(t.Context(), in)
			if !reflect.DeepEqual(got, want) || err != nil || oracleErr != nil {
				t.Errorf("%s as %s: %+v, without index %+v", metric, role, got, want)
			}
		}
	}
}

func TestEval(t *testing.T) {
	p := mini{}.policy(t, nil)
	for _, input := range []ast.Value{nil, ast.NewObject(), ast.MustInterfaceToValue([]any{1}), ast.String("x")} {
		v, err := p.Eval(t.Context(), input)
		if err != nil {
			t.Fatal(err)
		}
		if outcome, err := v.Find(ast.MustParseRef("x.outcome")[1:]); err != nil || outcome.Compare(ast.String(decision.UnknownMetric)) != 0 {
			t.Errorf("input %v: %v", input, v)
		}
	}
	undefined := program("package charter\n\ndecision := true if input.metric == 7\n").policy(t, nil)
	if v, err := undefined.Eval(t.Context(), nil); !errors.Is(err, engine.ErrUndefined) || v != nil {
		t.Errorf("undefined: %v, %v", v, err)
	}
}

package exportconfig

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/internal/decision"
)

const head = `apiVersion: charter/v1
kind: Charter
metadata: {name: test, version: 1.0.0, expires: 2027-01-01}
access_levels: [public]
roles: [{name: collector, reads: [public], collects: [one]}]
`

// build makes a plan of a charter that begins with head.
func build(t *testing.T, text string, o Options) *Plan {
	t.Helper()
	plan, err := Build(t.Context(), parse(t, head+text, o.State), question("n1", "collector"), o)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// What a target cannot do is refused where the charter says it, never done half.
func TestRefusals(t *testing.T) {
	const clause = "metrics:\n  one:\n    - {id: c, match: [\"a_*\"], access: public, labels: {%}}\n"
	const entry = "metrics:\n  one:\n    - {id: c, match: [\"a_*\"], access: public}\nforbidden:\n  - {id: f, labels: [\"%\"], severity: low, reason: test}\n"
	for _, tc := range []struct {
		charter, insert, target, code string
		line                          int
	}{
		{clause, "hash: [x]", "prometheus", CodeHash, 8},
		{clause, "hash: [x]", "otel-filter", CodeHash, 8},
		{clause, "hash: [x]", "otel-redaction", CodeHash, 8},
		{clause, "hash: [x]", "otep4738", CodeHash, 8},
		{clause, "drop: [x]", "otel-filter", CodeDrop, 8},
		{clause, "drop: [x]", "otep4738", CodeDrop, 8},
		{clause, "drop: [instance]", "prometheus", CodeTargetLabel, 8},
		{clause, "forbid: [exported_exported_job]", "prometheus", CodeTargetLabel, 8},
		{clause, "drop: [__name__]", "prometheus", CodeReserved, 8},
		{clause, "drop: [__tmp_charter_class]", "prometheus", CodeReserved, 8},
		{entry, "inst*", "prometheus", CodeTargetLabel, 10},
		{entry, "exported_i*", "prometheus", CodeTargetLabel, 10},
		{entry, "x*", "otep4738", CodeLabelPattern, 10},
		{entry, "é*", "otel-filter", CodeLabelPattern, 10},
		{entry, "<*", "otel-redaction", CodeLabelPattern, 10},
	} {
		t.Run(tc.target+" "+tc.insert, func(t *testing.T) {
			plan := build(t, strings.Replace(tc.charter, "%", tc.insert, 1), Options{})
			data, err := targets()[tc.target](plan)
			var refused *Refused
			if !errors.As(err, &refused) || data != nil {
				t.Fatalf("got %q, %v; want a refusal and nothing else", data, err)
			}
			if f := refused.Findings[0]; len(refused.Findings) != 1 || f.Code != tc.code || f.Pos.Line != tc.line {
				t.Errorf("got %v, want one finding with code %s in line %d", refused.Findings, tc.code, tc.line)
			}
			if !slices.Contains(Codes(), refused.Findings[0].Code) {
				t.Error("the code is not in the closed list")
			}
		})
	}
}

// A rule that does not concern the node or role is nobody's obstacle.
func TestOnlyKeptClausesAreObstacles(t *testing.T) {
	plan := build(t, `metrics:
  one:
    - {id: a, match: [a], access: public}
    - {id: elsewhere, match: [b], access: public, nodes: [n2], labels: {hash: [x]}}
  two:
    - {id: uncollected, match: [c], access: public, labels: {drop: [instance], hash: [y]}}
`, Options{})
	if _, err := plan.Prometheus(nil); err != nil {
		t.Error(err)
	}
	if got := plan.Clauses(); !slices.Equal(got, []string{"a"}) {
		t.Errorf("kept are %q", got)
	}
}

func TestTargetLabelsOfTheOperator(t *testing.T) {
	plan := build(t, "metrics:\n  one:\n    - {id: a, match: [a], access: public, labels: {drop: [site]}}\n", Options{})
	if _, err := plan.Prometheus(nil); err != nil {
		t.Error(err)
	}
	if _, err := plan.Prometheus([]string{"site"}); err == nil {
		t.Error("a dropped label that every target carries was not refused")
	}
}

// Leaving out tightens; a mistyped id must not leave the operator believing in it.
func TestLeaveOut(t *testing.T) {
	const text = "metrics:\n  one:\n    - {id: all, match: [\"a_*\"], access: public, labels: {hash: [x]}}\n    - {id: some, match: [\"a_b*\"], access: public}\n"
	plan := build(t, text, Options{LeaveOut: []string{"all"}})
	for name, want := range map[string]bool{"a_b1": true, "a_c": false, "x": false} {
		if _, keep := plan.Decide(name, nil); keep != want {
			t.Errorf("%s is kept: %v, want %v", name, keep, want)
		}
	}
	_, err := Build(t.Context(), parse(t, head+text, nil), question("n1", "collector"), Options{LeaveOut: []string{"al"}})
	var unknown *UnknownClauseError
	if !errors.As(err, &unknown) || unknown.DidYouMean != "all" {
		t.Errorf("got %v", err)
	}
}

func TestQuestionsThatCannotBeAsked(t *testing.T) {
	policy := parse(t, head+"metrics: {one: [{id: a, match: [a], access: public}]}\n", nil)
	_, err := Build(t.Context(), policy, decision.Input{Role: "collector", Operation: decision.Collect}, Options{})
	var field *decision.FieldError
	if !errors.As(err, &field) {
		t.Errorf("got %v, want a complaint about the field node", err)
	}
}

// A node that may collect nothing gets a configuration that keeps nothing.
func TestSuspendedNodeKeepsNothing(t *testing.T) {
	state := map[string]any{"standing": map[string]any{"n1": map[string]any{"state": "suspended", "until": "2026-07-01T00:00:00Z"}}}
	plan := build(t, "metrics: {one: [{id: a, match: [\"*\"], access: public}]}\n", Options{State: state})
	if !plan.Empty() {
		t.Fatal("a suspended node may keep something")
	}
	if got := relabelSeries(plan.relabeling(), "a", nil); got != "" {
		t.Errorf("relabeling keeps %q", got)
	}
	data, err := plan.OTelFilter()
	if err != nil || !strings.Contains(string(data), "metric.name != nil") {
		t.Errorf("%v\n%s", err, data)
	}
	if data, err = plan.OTEP4738(); err != nil || applyPolicies(t, data, "a", nil) != "" {
		t.Errorf("%v\n%s", err, data)
	}
}

// The label of a node in the state document selects between clauses of one pattern.
func TestNodesByGroupAndState(t *testing.T) {
	text := `nodes: {groups: [{name: g, labels: {tier: storage}}, {name: h, match: ["m*"]}]}
metrics:
  one:
    - {id: a, match: ["a_*"], access: public, nodes: ["group:g"], labels: {drop: [x]}}
    - {id: b, match: ["b_*"], access: public, nodes: ["group:h"]}
`
	state := map[string]any{"nodes": map[string]any{"n1": map[string]any{"labels": map[string]any{"tier": "storage"}}}}
	if got := build(t, text, Options{State: state}).Clauses(); !slices.Equal(got, []string{"a"}) {
		t.Errorf("with the label of the state kept are %q", got)
	}
	if got := build(t, text, Options{}).Clauses(); len(got) != 0 {
		t.Errorf("without state kept are %q", got)
	}
}

func TestNextChange(t *testing.T) {
	text := head + `roles: [{name: collector, reads: [public], collects: [one], renew: 10d}]
metrics: {one: [{id: a, match: [a], access: public}]}
waivers: [{id: w, clause: a, nodes: [n1], grants: {retention: 60d}, owner: o, ticket: t, from: 2026-09-01, until: 2026-10-01}]
nodes: {entries: [{node: n1, status: suspended, until: 2026-08-01, reason: r}, {node: n2, status: suspended, until: 2026-07-01, reason: r}]}
`
	text = strings.Replace(text, "roles: [{name: collector, reads: [public], collects: [one]}]\n", "", 1)
	c := parse(t, text, nil).Charter()
	for at, want := range map[string]string{
		"2026-06-01":           "2026-06-06T00:00:00Z", // the role's renewal
		"2026-06-10T00:00:00Z": "2026-08-01T00:00:00Z",
		"2026-08-01T00:00:00Z": "2026-09-01T00:00:00Z",
		"2026-09-15":           "2026-10-01T00:00:00Z",
		"2026-11-01":           "2026-12-31T12:00:00Z", // the end of the state document
		"2026-12-31T13:00:00Z": "2027-01-02T00:00:00Z", // the end of the charter and its grace
		"2028-01-01":           "",
		"":                     "",
	} {
		state := map[string]any{
			"expires": "2026-12-31T12:00:00Z",
			"grants":  map[string]any{"collector": map[string]any{"n1": map[string]any{"granted": "2026-05-27T00:00:00Z"}}},
			"other":   []any{"no time"},
		}
		in := question("n1", "collector")
		in.Time = at
		if got := nextChange(c, state, in); got != want {
			t.Errorf("at %q the next change is %q, want %q", at, got, want)
		}
	}
}

func TestTargets(t *testing.T) {
	text := head + `nodes:
  groups: [{name: g, match: [n1, "m*"]}, {name: lab, labels: {site.id: b}}]
  entries: [{node: bad, status: revoked, reason: r}]
metrics: {one: [{id: a, match: [a], access: public, nodes: ["group:g", n5]}]}
`
	state := map[string]any{
		"nodes":    map[string]any{"m1": map[string]any{"labels": map[string]any{"site.id": "b", "n": 1}}, "m2": map[string]any{}},
		"standing": map[string]any{"m2": map[string]any{"state": "quarantined"}, "m3": map[string]any{"state": "warned"}},
	}
	policy := parse(t, text, state)
	groups, err := Targets(t.Context(), policy, question("", "collector"), Options{State: state}, "{node}:9100")
	if err != nil {
		t.Fatal(err)
	}
	var addresses []string
	for _, g := range groups {
		addresses = append(addresses, g.Targets...)
	}
	if want := []string{"m1:9100", "m3:9100", "n1:9100", "n5:9100"}; !slices.Equal(addresses, want) {
		t.Fatalf("targets are %q, want %q: m2 is quarantined and bad revoked", addresses, want)
	}
	c := policy.Charter()
	want := map[string]string{
		"__meta_charter_name": "test", "__meta_charter_revision": c.Revision(), "__meta_charter_digest": c.Digest(),
		"__meta_charter_node": "m1", "__meta_charter_role": "collector", "__meta_charter_standing": "good",
		"__meta_charter_groups": ",g,lab,", "__meta_charter_label_site_id": "b",
	}
	if !maps.Equal(groups[0].Labels, want) {
		t.Errorf("labels are %v, want %v", groups[0].Labels, want)
	}
	if groups[1].Labels["__meta_charter_standing"] != "warned" {
		t.Errorf("labels are %v", groups[1].Labels)
	}
	if _, err := Targets(t.Context(), policy, question("", "collector"), Options{}, "host:9100"); !errors.Is(err, ErrAddress) {
		t.Errorf("got %v", err)
	}
	if data, err := EncodeTargets([]TargetGroup{}); err != nil || string(data) != "[]\n" {
		t.Errorf("no targets are %q, %v: service discovery wants a list", data, err)
	}
}

// Text of others can neither end a comment nor a scalar.
func TestTextOfOthersStaysText(t *testing.T) {
	for text, want := range map[string]string{
		"a'b":         "'a''b'",
		"a\nb: \"c\"": `"a\u000ab: \"c\""`,
		"\u2028":      `"\u2028"`,
		"\U000e0001":  `"\U000e0001"`,
	} {
		if got := scalar(text); got != want {
			t.Errorf("%q is written %s, want %s", text, got, want)
		}
	}
	var y page
	y.comment(0, "a\nb\u2028c")
	if y.String() != "# a?b?c\n" {
		t.Errorf("%q", y.String())
	}
	if got, want := collectorScalar("a$b"), "'a$$b'"; got != want {
		t.Errorf("%s", got)
	}
}

// The flag s must reach every dot, also the ones within labels.
func TestUnusualLabelNames(t *testing.T) {
	plan := build(t, `metrics:
  one:
    - {id: a, match: ["a*"], access: public, labels: {drop: [host.name]}}
    - {id: b, match: ["b*"], access: public, labels: {forbid: ["a:b/c-d"]}}
`, Options{})
	labels := map[string]string{"host.name": "h", "a:b/c-d": "v"}
	if got, want := relabelSeries(plan.relabeling(), "a\nb", labels), "map[a:b/c-d:v]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := relabelSeries(plan.relabeling(), "b", labels); got != "" {
		t.Errorf("got %s, want nothing", got)
	}
	if kept, keep := plan.Decide("a\nb", labels); !keep || !reflect.DeepEqual(kept, map[string]string{"a:b/c-d": "v"}) {
		t.Errorf("got %v %v", kept, keep)
	}
}

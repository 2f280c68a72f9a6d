package policytest

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseCases(t *testing.T) {
	const text = `# what edge nodes may collect
charter: ../base/charter.yaml
defaults: {node: edge-1, role: node_operator, claims: [owns_node], time: 2026-06-01T00:00:00Z}
state: &good {sequence: 1, standing: {edge-9: {state: suspended}}}
cases:
  - name: latency is collected
    input: {metric: latency_p50, labels: {zone: eu, empty: ""}}
    expect: {allow: true, outcome: allowed, clause: net.latency, codes: [], obligations: {retention: 30d, drop_labels: [address]}}
  - name: nobody asks
    input: {metric: latency_p50, role: null, extra: 1.5, time: null}
    state: null
    expect: {outcome: invalid_request, codes: [unknown_field, missing_field], severity: none, mode: enforce}
  - name: many
    each:
      metric: [a, b]
      claims: [[], [mtls, owns_node]]
    state: *good
    expect: {allow: false}
`
	table, err := ParseCases("policies/edge/edge_cases.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join("policies", "base", "charter.yaml"); table.Charter != want {
		t.Errorf("charter is %s, want %s", table.Charter, want)
	}
	defaults := map[string]any{
		"node": "edge-1", "role": "node_operator", "claims": []any{"owns_node"}, "time": "2026-06-01T00:00:00Z",
	}
	with := func(fields map[string]any, without ...string) map[string]any {
		m := maps.Clone(defaults)
		maps.Copy(m, fields)
		for _, name := range without {
			delete(m, name)
		}
		return m
	}
	want := []struct {
		name  string
		line  int
		input map[string]any
		state bool
	}{
		{"latency is collected", 6, with(map[string]any{"metric": "latency_p50", "labels": map[string]any{"zone": "eu", "empty": ""}}), true},
		{"nobody asks", 9, with(map[string]any{"metric": "latency_p50", "extra": 1.5}, "role", "time"), false},
		{"many/metric=a,claims=[]", 13, with(map[string]any{"metric": "a", "claims": []any{}}), true},
		{`many/metric=a,claims=["mtls","owns_node"]`, 13, with(map[string]any{"metric": "a", "claims": []any{"mtls", "owns_node"}}), true},
		{"many/metric=b,claims=[]", 13, with(map[string]any{"metric": "b", "claims": []any{}}), true},
		{`many/metric=b,claims=["mtls","owns_node"]`, 13, with(map[string]any{"metric": "b", "claims": []any{"mtls", "owns_node"}}), true},
	}
	if len(table.Cases) != len(want) {
		t.Fatalf("got %d cases, want %d: %v", len(table.Cases), len(want), table.Cases)
	}
	for i, w := range want {
		c := table.Cases[i]
		if c.Name != w.name || c.Pos.Line != w.line || !reflect.DeepEqual(c.Input, w.input) || (c.State != nil) != w.state {
			t.Errorf("case %d:\n got %q line %d %v state %v\nwant %q line %d %v state %v",
				i, c.Name, c.Pos.Line, c.Input, c.State, w.name, w.line, w.input, w.state)
		}
	}
	e := table.Cases[0].Expect
	if e.Allow == nil || !*e.Allow || *e.Clause != "net.latency" || e.Codes == nil || len(e.Codes) != 0 || e.Obligations.Retention != "30d" {
		t.Errorf("the expectation is read as %+v", e)
	}
}

func TestParseCasesDefaultCharter(t *testing.T) {
	table, err := ParseCases("edge_cases.yaml", []byte("cases: [{name: a, expect: {allow: true}}]"))
	if err != nil || table.Charter != "charter.yaml" {
		t.Errorf("got %v, %v; want the charter beside the table", table, err)
	}
	abs := filepath.Join(t.TempDir(), "charter.yaml")
	table, err = ParseCases("edge_cases.yaml", fmt.Appendf(nil, "charter: %q\ncases: []", abs))
	if err != nil || table.Charter != abs {
		t.Errorf("got %v, %v; want %s", table, err, abs)
	}
}

// A table that is read wrongly is a test that does not test: each mistake must
// be named at its place.
func TestParseCasesRefuses(t *testing.T) {
	deep := strings.Repeat("[", 40) + strings.Repeat("]", 40)
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for i := range 8 {
		bomb += fmt.Sprintf("%c: &%c [%s]\n", 'b'+i, 'b'+i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c,", 'a'+i), 10), ","))
	}
	bomb = "state:\n  " + strings.ReplaceAll(strings.TrimSpace(bomb), "\n", "\n  ") + "\ncases: []\n"
	wide := "{"
	for i := range 65 {
		wide += fmt.Sprintf("f%d: 1, ", i)
	}
	wide += "}"
	for name, tc := range map[string]struct{ text, want string }{
		"empty":              {"", "t_cases.yaml: error[table_syntax]: the table is empty"},
		"only a comment":     {"# nothing", "t_cases.yaml: error[table_syntax]: the table is empty"},
		"not YAML":           {"cases:\n  - {name: a\n", "error[table_syntax]"},
		"two documents":      {"cases: []\n---\ncases: []\n", "t_cases.yaml:2:1: error[table_syntax]: a second YAML document begins here"},
		"list":               {"[]", "t_cases.yaml:1:1: error[table_wrong_type]: the table must be a mapping, not a list"},
		"no cases":           {"charter: a.yaml", "t_cases.yaml:1:1: error[table_missing_field]: the table has no cases"},
		"unknown field":      {"cases: []\ndefault: {}", "t_cases.yaml:2:1: error[table_unknown_field]: the table has no field \"default\" (did you mean defaults?)"},
		"misspelt expect":    {"cases:\n- {name: a, expects: {allow: true}}", "t_cases.yaml:2:13: error[table_unknown_field]"},
		"twice":              {"cases: []\ncases: []", "t_cases.yaml:2:1: error[table_duplicate]"},
		"no name":            {"cases:\n- {expect: {allow: true}}", "t_cases.yaml:2:3: error[table_missing_field]: a case needs a name"},
		"name of two lines":  {"cases:\n- {name: \"a\\nb\", expect: {allow: true}}", "error[table_unknown_value]: a name must be one line"},
		"no expectation":     {"cases:\n- {name: a}", "t_cases.yaml:2:3: error[table_no_expectation]"},
		"empty expectation":  {"cases:\n- {name: a, expect: {}}", "error[table_no_expectation]"},
		"empty charter":      {"charter: ''\ncases: []", "error[table_missing_field]: charter is empty"},
		"allow as text":      {"cases:\n- {name: a, expect: {allow: 'true'}}", "error[table_wrong_type]: allow must be true or false, not a text"},
		"unknown outcome":    {"cases:\n- {name: a, expect: {outcome: alowed}}", "error[table_unknown_value]: outcome \"alowed\" does not exist (did you mean allowed?)"},
		"unknown code":       {"cases:\n- {name: a, expect: {codes: [xyzzy]}}", "error[table_unknown_value]: codes \"xyzzy\" does not exist (there are unknown_field,"},
		"codes as text":      {"cases:\n- {name: a, expect: {codes: stale_policy}}", "codes must be a list, not a text"},
		"codes of mappings":  {"cases:\n- {name: a, expect: {codes: [{}]}}", "an entry of codes must be a text, not a mapping"},
		"unknown obligation": {"cases:\n- {name: a, expect: {obligations: {drop: [a]}}}", "obligations has no field \"drop\""},
		"clause of nothing":  {"cases:\n- {name: a, expect: {clause: }}", "clause must be a text, not nothing"},
		"input as list":      {"cases:\n- {name: a, input: [1], expect: {allow: true}}", "input must be a mapping, not a list"},
		"number as field":    {"cases:\n- {name: a, input: {1: x}, expect: {allow: true}}", "a field name in input must be a text"},
		"merge key":          {"cases:\n- {name: a, input: {<<: {a: b}}, expect: {allow: true}}", "a field name in input must be a text"},
		"infinity":           {"cases:\n- {name: a, input: {x: .inf}, expect: {allow: true}}", "JSON has no value for \".inf\""},
		"broken scalar":      {"cases:\n- {name: a, input: {x: !!int abc}, expect: {allow: true}}", "error[table_wrong_type]"},
		"same name":          {"cases:\n- {name: a, expect: {allow: true}}\n- {name: a, expect: {allow: true}}", "t_cases.yaml:3:3: error[table_duplicate]: the case \"a\" has the name of the case in line 2"},
		"same value twice":   {"cases:\n- {name: a, each: {metric: [x, x]}, expect: {allow: true}}", "error[table_duplicate]"},
		"each of nothing":    {"cases:\n- {name: a, each: {metric: []}, expect: {allow: true}}", "each metric has no values"},
		"each of a text":     {"cases:\n- {name: a, each: {metric: x}, expect: {allow: true}}", "each metric must be a list, not a text"},
		"each too many": {
			"cases:\n- {name: a, each: {" + repeat("m%d: [1,2,3,4,5,6,7,8,9,0], ", 5) + "}, expect: {allow: true}}",
			"t_cases.yaml:2:", // of the field that goes beyond
		},
		"deep":        {"state: {a: " + deep + "}\ncases: []", "values are nested more than 32 deep"},
		"bomb":        {bomb, "error[table_limit]: the table has more than 1000000 values"},
		"own anchor":  {"state: {a: &a [*a]}\ncases: []", "error[table_"},
		"wide":        {"defaults: " + wide + "\ncases: []", "defaults has more than 64 fields"},
		"many cases":  {"cases:\n" + repeat("- {name: a%d, each: {m: "+numbers(10000)+"}, expect: {allow: true}}\n", 11), "the table has more than 100000 cases"},
		"large":       {strings.Repeat("#", MaxTableBytes+1), "the table has more than 4194304 bytes"},
		"many faults": {"cases:\n" + repeat("- {nam%d: a}\n", 500), "error[table_unknown_field]"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseCases("t_cases.yaml", []byte(tc.text))
			var te *TableError
			if !errors.As(err, &te) {
				t.Fatalf("got %v, want a *TableError", err)
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %s\nwant %s", err, tc.want)
			}
			if len(te.Findings) > 2*maxFindings {
				t.Errorf("%d findings flood the reader", len(te.Findings))
			}
		})
	}
}

func repeat(format string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

func numbers(n int) string {
	return "[" + strings.TrimSuffix(repeat("%d,", n), ",") + "]"
}

func TestLoadCasesMissing(t *testing.T) {
	if _, err := LoadCases(filepath.Join(t.TempDir(), "none_cases.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want the error of the file system", err)
	}
}

// Names tell the expanded cases apart, and every combination is there once.
func TestEachIsTheProduct(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sizes := rapid.SliceOfN(rapid.IntRange(1, 4), 1, 4).Draw(t, "sizes")
		text, want := "cases:\n- name: a\n  expect: {allow: true}\n  each:\n", 1
		for i, n := range sizes {
			text += fmt.Sprintf("    f%d: %s\n", i, numbers(n))
			want *= n
		}
		table, err := ParseCases("t_cases.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		inputs := map[string]bool{}
		for _, c := range table.Cases {
			inputs[fmt.Sprint(c.Input)] = true
		}
		if len(table.Cases) != want || len(inputs) != want {
			t.Fatalf("%d cases with %d inputs, want %d", len(table.Cases), len(inputs), want)
		}
	})
}

func TestShortNames(t *testing.T) {
	for value, want := range map[string]string{
		"plain":                  "plain",
		"two\nlines":             `"two\nlines"`,
		strings.Repeat("ä", 100): strings.Repeat("ä", 40) + "… (7)",
	} {
		if got := short(value, 7); got != want {
			t.Errorf("short(%q) = %s, want %s", value, got, want)
		}
	}
}

func FuzzParseCases(f *testing.F) {
	f.Add([]byte("charter: c.yaml\ndefaults: {role: r}\ncases:\n- {name: a, input: {metric: m}, each: {x: [1, null]}, expect: {allow: true}}\n"))
	f.Add([]byte("state: &s {a: [*s]}\ncases: [*s]\n"))
	f.Add([]byte("cases:\n- name: !!binary aGk=\n  expect: {codes: [stale_policy], obligations: {rates: [1/s]}}\n"))
	f.Add([]byte("? {a: b}\n: c\n--- \n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		table, err := ParseCases("t_cases.yaml", data)
		if err != nil {
			var te *TableError
			if !errors.As(err, &te) || !te.Findings.HasErrors() || table != nil {
				t.Fatalf("refused without a finding: %v, %v", table, err)
			}
			return
		}
		seen := map[string]bool{}
		for _, c := range table.Cases {
			if c.Name == "" || seen[c.Name] || c.Expect.empty() || c.Pos.Line == 0 {
				t.Fatalf("impossible case %+v", c)
			}
			seen[c.Name] = true
		}
	})
}

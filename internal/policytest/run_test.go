package policytest

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite golden files")

const edgeCharter = `apiVersion: charter/v1
kind: Charter
metadata: {name: edge, version: 1.0.0}
access_levels: [public, operator]
roles:
  - {name: node_operator, reads: ["*"], collects: [network], requires: [owns_node]}
metrics:
  network:
    - {id: net.latency, match: [latency_p50], access: public, retention: 30d}
    - {id: net.node, match: ["node_network_*"], access: operator, labels: {drop: [address]}}
forbidden:
  - {id: privacy.gps, match: ["*gps*"], severity: critical, reason: location can endanger people}
`

const edgeCases = `defaults: {node: edge-1, role: node_operator, operation: collect, claims: [owns_node], time: 2026-06-01T00:00:00Z}
cases:
  - name: latency
    input: {metric: latency_p50}
    expect: {allow: true, clause: net.latency, codes: [], obligations: {retention: 30d}}
  - name: gps
    each: {metric: [gps_fix, my_gps]}
    expect: {allow: false, outcome: forbidden, severity: critical, mode: enforce}
`

const edgeTest = `package edge_test

test_latency if {
	data.charter.decision.allow with input as {"metric": "latency_p50", "node": "n", "role": "node_operator", "operation": "collect", "claims": ["owns_node"]}
}

todo_test_later if false
`

const library = `package lib

default allow := false

allow if {
	input.level > 3
	trusted
}

trusted if input.role == "admin"

never if input.role == "nobody"
`

const libraryTest = `package lib_test

import data.lib

test_admin if lib.allow with input as {"level": 4, "role": "admin"}

test_limits[level] if {
	some level in [1, 2, 3]
	not lib.allow with input as {"level": level, "role": "admin"}
}
`

// tree writes files into a new directory, which becomes the working directory:
// paths in reports are then the same everywhere.
func tree(t *testing.T, files map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
}

func run(t *testing.T, opts Options) *Report {
	t.Helper()
	rep, err := Run(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

func names(rep *Report, outcome Outcome) []string {
	var names []string
	for _, s := range rep.Suites {
		for _, res := range s.Results {
			if res.Outcome == outcome {
				names = append(names, res.Name)
			}
		}
	}
	return names
}

func TestRunCharterAndRego(t *testing.T) {
	tree(t, map[string]string{
		"edge/charter.yaml":           edgeCharter,
		"edge/edge_cases.yaml":        edgeCases,
		"edge/edge_test.rego":         edgeTest,
		"lib/lib.rego":                library,
		"lib/lib_test.rego":           libraryTest,
		"lib/data.json":               `{"fixture": 1}`,
		"lib/data_test.rego":          "package fixture_test\n\ntest_data if data.lib.fixture == 1\n",
		"bundles/edge/.manifest":      "{}",
		"bundles/edge/charter.yaml":   "not a charter",
		"bundles/edge/x_test.rego":    "broken",
		".hidden/x_test.rego":         "broken",
		"pkg/testdata/x_test.rego":    "broken",
		"node_modules/m/x_cases.yaml": "broken",
	})
	rep := run(t, Options{Coverage: true})
	if !rep.OK() {
		t.Fatalf("the run fails: %+v %v", rep.Counts, rep.Problems)
	}
	want := []string{
		"data.lib_test.test_admin", "data.lib_test.test_limits", "data.fixture_test.test_data", "data.edge_test.test_latency",
		"edge/edge_cases/latency", "edge/edge_cases/gps/metric=gps_fix", "edge/edge_cases/gps/metric=my_gps",
	}
	got := names(rep, Pass)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("passed\n got %v\nwant %v", got, want)
	}
	if skipped := names(rep, Skip); !slices.Equal(skipped, []string{"data.edge_test.todo_test_later"}) {
		t.Errorf("skipped %v", skipped)
	}
	rego, edge := rep.Suites[0], rep.Suites[1]
	if rego.Name != "." || edge.Name != "edge" || !strings.HasPrefix(edge.Revision, "edge-1.0.0+") {
		t.Fatalf("suites are %q and %q %s", rego.Name, edge.Name, edge.Revision)
	}
	if c := edge.Coverage; c.Percent != 66.6 || len(c.Clauses) != 1 || c.Clauses[0].ID != "net.node" || c.Clauses[0].Pos.Line != 10 {
		t.Errorf("clause coverage is %+v, want net.node of line 10 uncovered", c)
	}
	if c := rego.Coverage; len(c.Files) != 1 || c.Files[0].File != "lib/lib.rego" ||
		!slices.Equal(c.Files[0].Uncovered, []LineRange{{12, 12}}) || c.Percent >= 100 {
		t.Errorf("line coverage is %+v, want line 12 of lib.rego uncovered", c)
	}
}

// Two suites in one process must not see each other's rules or data.
func TestRunSeveralCharters(t *testing.T) {
	other := strings.ReplaceAll(edgeCharter, "30d", "10d")
	tree(t, map[string]string{
		"a/charter.yaml":       edgeCharter,
		"a/edge_cases.yaml":    edgeCases,
		"b/charter.yaml":       other,
		"b/edge_cases.yaml":    edgeCases,
		"far/more_cases.yaml":  "charter: ../a/charter.yaml\n" + edgeCases,
		"far2/more_cases.yaml": "charter: ../c/none.yaml\n" + edgeCases,
	})
	rep := run(t, Options{Paths: []string{"a", "b", "a", "a/edge_cases.yaml"}})
	if failed := names(rep, Fail); !slices.Equal(failed, []string{"b/edge_cases/latency"}) || rep.Counts.Total != 6 {
		t.Errorf("failed %v of %d, want the retention of b only", failed, rep.Counts.Total)
	}
	rep = run(t, Options{Paths: []string{"far"}})
	if !rep.OK() || rep.Counts.Total != 3 || rep.Suites[0].Charter != filepath.Join("a", "charter.yaml") {
		t.Errorf("a table beside no charter: %+v %+v", rep.Counts, rep.Suites)
	}
	rep = run(t, Options{Paths: []string{"far2"}})
	if !rep.Invalid() || len(rep.Problems) > 0 {
		t.Errorf("a table of a charter that does not exist: %+v %v", rep.Suites[0], rep.Problems)
	}
}

func TestRunState(t *testing.T) {
	tree(t, map[string]string{
		"charter.yaml": edgeCharter,
		"state_cases.yaml": `defaults: {metric: latency_p50, node: edge-1, role: node_operator, operation: collect, claims: [owns_node], time: 2026-06-01T00:00:00Z}
state: {standing: {edge-1: {state: suspended}}}
cases:
  - {name: suspended, expect: {outcome: suspended}}
  - {name: again, expect: {outcome: suspended}}
  - {name: none, state: null, expect: {outcome: allowed}}
  - {name: other, state: {standing: {edge-1: {state: quarantined}}}, expect: {outcome: quarantined}}
`,
	})
	if rep := run(t, Options{}); !rep.OK() || rep.Counts.Passed != 4 {
		t.Errorf("%+v %v", rep.Counts, names(rep, Fail))
	}
}

func TestRunFilter(t *testing.T) {
	files := map[string]string{
		"edge/charter.yaml": edgeCharter, "edge/edge_cases.yaml": edgeCases, "edge/edge_test.rego": edgeTest,
		"lib/lib.rego": library, "lib/lib_test.rego": libraryTest,
	}
	tree(t, files)
	for filter, want := range map[string]int{"gps": 2, "test_l": 3, "edge/": 3, "^data[.]": 4, "latency": 2} {
		rep := run(t, Options{Filter: regexp.MustCompile(filter)})
		if rep.Counts.Total != want || !rep.OK() {
			t.Errorf("the filter %s ran %d tests, want %d: %v", filter, rep.Counts.Total, want, rep.Problems)
		}
	}
	rep := run(t, Options{Filter: regexp.MustCompile("test_nothing_of_that_name")})
	if rep.OK() || len(rep.Problems) != 1 || !strings.Contains(rep.Problems[0], "matches none of 7 tests") {
		t.Errorf("a filter that matches nothing passes: %v", rep.Problems)
	}
}

func TestRunNothing(t *testing.T) {
	tree(t, map[string]string{"charter.yaml": edgeCharter, "lib/lib.rego": library})
	rep := run(t, Options{})
	if rep.OK() || len(rep.Problems) != 1 || !strings.HasPrefix(rep.Problems[0], "no tests in .") {
		t.Errorf("a run without tests passes: %v", rep.Problems)
	}
}

func TestRunThreshold(t *testing.T) {
	tree(t, map[string]string{"edge/charter.yaml": edgeCharter, "edge/edge_cases.yaml": edgeCases})
	if rep := run(t, Options{Threshold: 66.6}); !rep.OK() || rep.Suites[0].Coverage == nil {
		t.Errorf("66.6%% is below 66.6%%: %v", rep.Problems)
	}
	rep := run(t, Options{Threshold: 66.7})
	if rep.OK() || !slices.Equal(rep.Problems, []string{"coverage of edge is 66.6% of clauses, below the threshold of 66.7%"}) {
		t.Errorf("two of three clauses are enough for 66.7%%: %v", rep.Problems)
	}
}

// A charter without tests has no coverage, except one that others extend: its
// clauses are tested where they are used.
func TestRunThresholdOfUntestedCharters(t *testing.T) {
	files := map[string]string{
		"base/charter.yaml":  edgeCharter,
		"leaf/charter.yaml":  "apiVersion: charter/v1\nkind: Charter\nmetadata: {name: leaf, version: 1.0.0}\nextends: ../base/charter.yaml\n",
		"leaf/x_cases.yaml":  edgeCases,
		"other/charter.yaml": edgeCharter,
	}
	tree(t, files)
	rep := run(t, Options{Threshold: 50})
	if want := []string{"coverage of other is 0.0% of clauses, below the threshold of 50%"}; !slices.Equal(rep.Problems, want) {
		t.Errorf("got %q\nwant %q", rep.Problems, want)
	}
}

func TestRunReportsInvalid(t *testing.T) {
	for name, tc := range map[string]struct {
		files map[string]string
		want  string
	}{
		"charter": {map[string]string{
			"charter.yaml": strings.Replace(edgeCharter, "retention:", "retenton:", 1), "edge_cases.yaml": edgeCases,
		}, "charter.yaml:9:"},
		"table": {map[string]string{
			"charter.yaml": edgeCharter, "edge_cases.yaml": "cases: [{nam: x}]",
		}, "edge_cases.yaml:1:10"},
		"rego test that does not parse": {map[string]string{
			"charter.yaml": edgeCharter, "edge_test.rego": "package x\n\ntest_a if {",
		}, "edge_test.rego:3:"},
		"rego test that does not compile": {map[string]string{
			"charter.yaml": edgeCharter, "edge_test.rego": "package x\n\ntest_a if nothing_of_the_kind",
		}, "edge_test.rego:3:"},
		"rego test that reads the clock": {map[string]string{
			"charter.yaml": edgeCharter, "edge_test.rego": "package x\n\ntest_a if time.now_ns() > 0",
		}, "edge_test.rego:3:"},
		"library that does not parse": {map[string]string{
			"lib.rego": "package lib\n\na if {", "lib_test.rego": libraryTest,
		}, "lib.rego:3:"},
		"library that does not compile": {map[string]string{
			"lib.rego": "package lib\n\na if unknown_thing", "lib_test.rego": libraryTest,
		}, "lib.rego:3:"},
		"data that is not JSON": {map[string]string{
			"data.json": "{", "lib.rego": library, "lib_test.rego": libraryTest,
		}, "."},
	} {
		t.Run(name, func(t *testing.T) {
			tree(t, tc.files)
			rep := run(t, Options{Coverage: true})
			if !rep.Invalid() || rep.OK() {
				t.Fatalf("the run passes: %+v", rep)
			}
			for _, s := range rep.Suites {
				for _, d := range s.Findings {
					if strings.HasPrefix(d.Pos.String(), tc.want) {
						return
					}
				}
			}
			t.Errorf("no finding at %s: %v", tc.want, rep.Suites[0].Findings)
		})
	}
}

// failing has one test for each way to fail.
func failing() map[string]string {
	return map[string]string{
		"edge/charter.yaml": edgeCharter,
		"edge/edge_cases.yaml": `defaults: {node: edge-1, role: node_operator, operation: collect, claims: [owns_node], time: 2026-06-01T00:00:00Z}
cases:
  - name: everything is wrong
    input: {metric: node_network_info, claims: []}
    expect: {allow: true, outcome: allowed, clause: net.latency, codes: [], severity: none, mode: shadow, obligations: {retention: 30d, drop_labels: [address, b], rates: ["10/1s"]}}
  - name: the reasons are right
    input: {metric: gps_fix}
    expect: {codes: [forbidden_metric, unknown_metric]}
  - name: allowed although it should not be
    input: {metric: latency_p50}
    expect: {allow: false}
`,
		"lib/lib.rego": library,
		"lib/lib_test.rego": `package lib_test

import data.lib

test_fails if {
	level := 2
	print("level is", level)
	lib.allow with input as {"level": level, "role": "admin"}
}

test_cases[name] if {
	some name, role in {"good": "admin", "bad": "guest"}
	lib.allow with input as {"level": 4, "role": role}
}

test_errs if {
	conflict == 1
}

conflict := 1 if true

conflict := 2 if true

test_every if {
	every x in [1, 2] {
		x < 2
	}
}

todo_test_skipped if false

test_passes if lib.trusted with input as {"role": "admin"}
`,
	}
}

func TestRunFailuresAreExplained(t *testing.T) {
	tree(t, failing())
	rep := run(t, Options{Coverage: true})
	if want := (Counts{Total: 9, Passed: 2, Failed: 5, Errors: 1, Skipped: 1}); rep.Counts != want {
		t.Fatalf("counts are %+v, want %+v", rep.Counts, want)
	}
	for _, s := range rep.Suites {
		if s.Coverage == nil || s.Coverage.Covered == 0 {
			t.Errorf("failing tests hide the coverage of %s", s.Name)
		}
		for i := range s.Results {
			s.Results[i].Duration = 0
		}
		s.Revision = ""
	}
	rep.Seconds = 0
	for format, opts := range map[Format]WriteOptions{
		Pretty:  {Verbose: true, Read: os.ReadFile},
		"color": {Color: true},
		JSON:    {},
		JUnit:   {},
	} {
		var buf bytes.Buffer
		if err := Write(&buf, format, rep, opts); err != nil {
			t.Fatal(err)
		}
		golden(t, string(format), buf.Bytes())
	}
}

var origin, _ = os.Getwd()

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join(origin, "testdata", "report."+name)
	got = regexp.MustCompile(`edge-1\.0\.0\+[0-9a-f]{12}`).ReplaceAll(got, []byte("REVISION"))
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (run with -update):\n%s", path, got)
	}
}

func TestJUnitCanBeRead(t *testing.T) {
	tree(t, map[string]string{
		"charter.yaml":    edgeCharter,
		"edge_cases.yaml": strings.Replace(edgeCases, "name: latency", `name: "a <b> & \u2028 ]]>"`, 1),
		"x_test.rego":     "package x\n\ntest_a if {\n\tprint(\"\\u0007<&>\")\n\tfalse\n}\n",
		"lib/bad.rego":    "package lib\n",
		"z/charter.yaml":  "{}",
		"z/z_cases.yaml":  edgeCases,
	})
	rep := run(t, Options{Threshold: 100})
	var buf bytes.Buffer
	if err := Write(&buf, JUnit, rep, WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	var doc junitSuites
	if err := xml.Unmarshal(buf.Bytes(), &doc); err != nil {
		t.Fatalf("the report is not XML: %v\n%s", err, buf.Bytes())
	}
	if doc.Errors == 0 || doc.Failures != 2 || len(doc.Suites) != 3 {
		t.Errorf("a CI system sees %d errors, %d failures in %d suites; want the invalid charter, the test and the coverage\n%s",
			doc.Errors, doc.Failures, len(doc.Suites), buf.Bytes())
	}
	tests := 0
	for _, s := range doc.Suites {
		tests += s.Tests
		if s.Tests != len(s.Cases) {
			t.Errorf("suite %s counts %d tests and has %d", s.Name, s.Tests, len(s.Cases))
		}
	}
	if tests != doc.Tests {
		t.Errorf("%d tests in suites, %d in sum", tests, doc.Tests)
	}
}

func TestJSONCanBeRead(t *testing.T) {
	tree(t, failing())
	var buf bytes.Buffer
	if err := Write(&buf, JSON, run(t, Options{}), WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Counts Counts
		Suites []struct {
			Results []struct{ Seconds *float64 }
		}
	}
	if err := json.Unmarshal(buf.Bytes(), &doc); err != nil || doc.Counts.Total != 9 || doc.Suites[0].Results[0].Seconds == nil {
		t.Errorf("got %v %+v", err, doc)
	}
}

func TestRunErrors(t *testing.T) {
	tree(t, map[string]string{"a.txt": "", "edge/charter.yaml": edgeCharter, "edge/edge_cases.yaml": edgeCases, "edge/edge_test.rego": edgeTest})
	if _, err := Run(t.Context(), Options{Paths: []string{"none"}}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a path that does not exist: %v", err)
	}
	if _, err := Run(t.Context(), Options{Paths: []string{"a.txt"}}); err == nil || !strings.Contains(err.Error(), "neither a directory nor a case table") {
		t.Errorf("a path that holds no tests: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled run: %v", err)
	}
}

func TestPercentNeverRoundsUp(t *testing.T) {
	for _, tc := range []struct {
		covered, total int
		want           string
	}{{0, 0, "100.0%"}, {1999, 2000, "99.9%"}, {2000, 2000, "100.0%"}, {2, 3, "66.6%"}, {0, 1, "0.0%"}} {
		if got := percent(tc.covered, tc.total).String(); got != tc.want {
			t.Errorf("%d of %d is %s, want %s", tc.covered, tc.total, got, tc.want)
		}
	}
}

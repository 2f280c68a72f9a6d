package exports

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/tests/internal/judge"
	"github.com/westworld-charter/charter/tests/internal/process"
	"github.com/westworld-charter/charter/tests/internal/program"
)

// admin runs charter-admin in the root of the repository.
func admin(t testing.TB, args ...string) process.Result {
	t.Helper()
	return process.Run(t, process.Options{Dir: judge.Root(t)}, program.Path(t, "charter-admin"), args...)
}

// result is what check says of one series.
type result struct {
	Metric      string            `json:"metric"`
	Labels      map[string]string `json:"labels"`
	Allow       bool              `json:"allow"`
	Clause      string            `json:"clause"`
	Obligations struct {
		Drop []string `json:"drop_labels"`
	} `json:"obligations"`
}

// question is the flags that both commands are given.
type question struct{ node, role string }

func (q question) flags(timeFlag string) []string {
	return []string{"--node", q.node, "--role", q.role, timeFlag, "2026-06-01"}
}

// check is what the charter says of every series of an exposition.
func check(t testing.TB, q question, expositionPath, charterPath string) []result {
	t.Helper()
	args := append([]string{"check", "--exposition", expositionPath, "--format", "json"}, q.flags("--time")...)
	r := admin(t, append(args, charterPath)...)
	if r.Code != 0 {
		t.Fatalf("check exits %d: %s", r.Code, r.Stderr)
	}
	var doc struct {
		Results []result `json:"results"`
	}
	if err := json.Unmarshal([]byte(r.Stdout), &doc); err != nil {
		t.Fatal(err)
	}
	return doc.Results
}

// export writes a configuration. Clauses that the target cannot express are left out, as
// the refusal suggests; they are returned.
func export(t testing.TB, q question, target, charterPath string) (config []byte, leftOut []string) {
	t.Helper()
	args := append([]string{"export-config", "--target", target}, q.flags("--at")...)
	for range 2 {
		all := args
		if len(leftOut) > 0 {
			all = append(slices.Clone(args), "--leave-out", strings.Join(leftOut, ","))
		}
		r := admin(t, append(all, charterPath)...)
		switch r.Code {
		case 0:
			return []byte(r.Stdout), leftOut
		case 5:
			for _, m := range regexp.MustCompile(`_not_expressible\]: clause (\S+) `).FindAllStringSubmatch(r.Stderr, -1) {
				if !slices.Contains(leftOut, m[1]) {
					leftOut = append(leftOut, m[1])
				}
			}
			if len(leftOut) == 0 {
				t.Fatalf("export-config refuses for another reason than a clause: %s", r.Stderr)
			}
		default:
			t.Fatalf("export-config exits %d: %s", r.Code, r.Stderr)
		}
	}
	t.Fatalf("export-config refuses although %q are left out", leftOut)
	return nil, nil
}

// left is the labels of a series that the charter leaves, false for nothing.
func (r *result) left(leftOut []string) (map[string]string, bool) {
	if !r.Allow || slices.Contains(leftOut, r.Clause) {
		return nil, false
	}
	labels := maps.Clone(r.Labels)
	maps.DeleteFunc(labels, func(name, value string) bool { return value == "" || slices.Contains(r.Obligations.Drop, name) })
	return labels, true
}

// compareAll expects of every series what check says. It returns how many are kept.
func compareAll(t *testing.T, results []result, leftOut []string, got func(i int) (map[string]string, bool)) int {
	t.Helper()
	kept, different := 0, 0
	for i := range results {
		r := &results[i]
		wantLabels, wantKept := r.left(leftOut)
		gotLabels, gotKept := got(i)
		if wantKept {
			kept++
		}
		if wantKept != gotKept || !maps.Equal(wantLabels, gotLabels) {
			if different++; different <= 10 {
				t.Errorf("%s%v: the charter leaves %v %v, the target %v %v", r.Metric, r.Labels, wantKept, wantLabels, gotKept, gotLabels)
			}
		}
	}
	t.Logf("%d of %d series are kept, %d differ, left out %q", kept, len(results), different, leftOut)
	return kept
}

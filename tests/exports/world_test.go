package exports

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/tests/internal/judge"
)

const binaryEnv = "CHARTER_ADMIN_BINARY" // set by TestMain for the tests

// TestMain builds the program that is tested.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "charter-exports-")
	if err == nil {
		binary := filepath.Join(dir, "charter-admin")
		build := exec.Command("go", "build", "-o", binary, "./cmd/charter-admin")
		build.Dir, build.Stderr = filepath.Join("..", ".."), os.Stderr
		err = errors.Join(build.Run(), os.Setenv(binaryEnv, binary))
	}
	code := 1
	if err == nil {
		code = m.Run()
	} else {
		fmt.Fprintln(os.Stderr, err)
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// admin runs charter-admin in the root of the repository.
func admin(t testing.TB, args ...string) (stdout, stderr []byte, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Getenv(binaryEnv), args...)
	cmd.Dir = judge.Root(t)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.Bytes(), complaint.Bytes(), cmd.ProcessState.ExitCode()
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
	out, complaint, code := admin(t, append(args, charterPath)...)
	if code != 0 {
		t.Fatalf("check exits %d: %s", code, complaint)
	}
	var doc struct {
		Results []result `json:"results"`
	}
	if err := json.Unmarshal(out, &doc); err != nil {
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
		out, complaint, code := admin(t, append(all, charterPath)...)
		switch code {
		case 0:
			return out, leftOut
		case 5:
			for _, m := range regexp.MustCompile(`_not_expressible\]: clause (\S+) `).FindAllSubmatch(complaint, -1) {
				if !slices.Contains(leftOut, string(m[1])) {
					leftOut = append(leftOut, string(m[1]))
				}
			}
			if len(leftOut) == 0 {
				t.Fatalf("export-config refuses for another reason than a clause: %s", complaint)
			}
		default:
			t.Fatalf("export-config exits %d: %s", code, complaint)
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

package conformance

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/test/cases"

	"github.com/westworld-charter/charter/internal/engine"
)

// skipped holds the cases that Charter does not pass, with why. The second text
// is how they fail: a case that fails otherwise, or passes, must leave the list.
var skipped = map[string][2]string{
	"baseandvirtualdocs/base/virtual: conflicts": {
		"rules over paths that data fills: OPA merges them here; Charter refuses such a bundle, as OPA does when it activates one, because either could hide the other",
		"rego_compile_error: conflicting rule for data path",
	},
	"time/time caching": {
		"calls test.sleep, a builtin that exists only inside OPA's own tests",
		"undefined function test.sleep",
	},
}

// TestConformance runs OPA's own cases for Rego v1 through the evaluation path
// of decisions, with and without the rule index, under the capabilities of
// bundles. What cannot be done so is written to report.md, which is committed:
// a change of what OPA or Charter does shows as a diff.
func TestConformance(t *testing.T) {
	r := report{fellBack: map[string]fallback{}}
	known := map[string]bool{}
	for _, tc := range load(t, "v1") {
		known[tc.Note] = true
		r.v1++
		t.Run("v1/"+tc.Note, func(t *testing.T) { r.run(t, tc) })
	}
	for _, tc := range load(t, "v0") {
		if known[tc.Note] {
			r.converted++ // OPA has made the v1 case of the same name from it
			continue
		}
		if _, err := engine.NewQuery(t.Context(), source(tc, ast.CapabilitiesForThisVersion())); err != nil {
			if !strings.Contains(err.Error(), "rego_parse_error") {
				t.Errorf("v0/%s: %v", tc.Note, err)
			}
			r.v0only = append(r.v0only, tc.Note)
			continue
		}
		r.v0++
		t.Run("v0/"+tc.Note, func(t *testing.T) { r.run(t, tc) })
	}
	if !t.Failed() && r.v1 < 2000 {
		t.Errorf("only %d cases: the set is not complete", r.v1)
	}
	r.compare(t)
}

// load reads the cases that lie inside the OPA module that go.mod pins.
func load(t *testing.T, version string) []cases.TestCase {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/open-policy-agent/opa").Output()
	if err != nil {
		t.Fatalf("find the OPA module: %v", err)
	}
	set, err := cases.Load(filepath.Join(strings.TrimSpace(string(out)), "v1/test/cases/testdata", version))
	if err != nil {
		t.Fatal(err)
	}
	return set.Sorted().Cases
}

func (r *report) run(t *testing.T, tc cases.TestCase) {
	r.ran++
	for k, v := range tc.Env {
		t.Setenv(k, v)
	}
	query, err := engine.NewQuery(t.Context(), source(tc, engine.Capabilities()))
	if err != nil {
		if names := removedBuiltins(tc); len(names) > 0 {
			r.unrestricted = append(r.unrestricted, strings.Join(names, ", ")+": "+tc.Note)
			query, err = engine.NewQuery(t.Context(), source(tc, ast.CapabilitiesForThisVersion()))
		}
	}
	if why, skip := skipped[tc.Note]; skip {
		if err == nil || !strings.Contains(err.Error(), why[1]) {
			t.Fatalf("want the error %q, got %v: mend the list of skipped cases", why[1], err)
		}
		r.skipped = append(r.skipped, tc.Note)
		t.Skip(why[0])
	}
	if err != nil {
		t.Fatal(err)
	}
	results, err := query.Eval(t.Context(), input(tc))
	compare(t, tc, results, err)
	results, err = query.WithoutIndexing().Eval(t.Context(), input(tc))
	compare(t, tc, results, err)
	r.planned(t, tc, query)
}

// removedBuiltins names the builtins in a case that bundles cannot use.
func removedBuiltins(tc cases.TestCase) []string {
	restricted := engine.Capabilities()
	text := tc.Query + "\n" + strings.Join(tc.Modules, "\n")
	var names []string
	for _, b := range ast.CapabilitiesForThisVersion().Builtins {
		if strings.Contains(text, b.Name) && !restricted.ContainsBuiltin(b.Name) {
			names = append(names, b.Name)
		}
	}
	return names
}

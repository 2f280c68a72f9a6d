package cases_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/tests/internal/judge"
)

// TestStockOPATools runs `opa check --strict` and `opa test` of an unmodified opa over the
// bundles of the shipped charters with the tests their authors wrote. The YAML beside the
// rules is for people and for charter-admin: opa would load it as data.
func TestStockOPATools(t *testing.T) {
	opa := judge.Path(t, "opa")
	for _, tb := range mustLoad(t, shipped) {
		policies := filepath.Dir(tb.Path)
		t.Run(filepath.Base(policies), func(t *testing.T) {
			t.Parallel()
			unpacked := filepath.Join(t.TempDir(), "bundle")
			if err := tb.bundle.WriteDir(unpacked); err != nil {
				t.Fatal(err)
			}
			run(t, opa, "check", "--strict", "--bundle", unpacked)
			run(t, opa, "check", "--strict", "--ignore", "*.yaml", unpacked, policies)
			out := run(t, opa, "test", "--ignore", "*.yaml", unpacked, policies)
			if !strings.Contains(out, "PASS: ") {
				t.Errorf("opa test ran nothing:\n%s", out)
			}
		})
	}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Errorf("opa %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

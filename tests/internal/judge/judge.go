// Package judge finds the independent programs and data that tests compare
// Charter with: a stock opa, staticcheck, a real exposition of node_exporter.
//
// Tests ask for a judge with [Path] or [NodeExporterExposition]. What is not
// installed skips the test with a line that names it; where
// CHARTER_JUDGES_REQUIRED is set, as in CI, it fails the test instead, so that
// a comparison never silently stops being made. `make judges` installs all but
// those of Sigstore, which take minutes to build: `make judges-sigstore` does,
// and they are required where CHARTER_JUDGES_REQUIRED is "all".
package judge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// RequiredEnv names the environment variable that turns a missing judge from a
// skip into a failure when it is set to anything but "" or "0"; those that are
// slow to build only when it is "all".
const RequiredEnv = "CHARTER_JUDGES_REQUIRED"

// slow tells the judges that `make judges-sigstore` builds.
func slow(name string) bool {
	return slices.Contains([]string{"cosign", "fulcio", "rekor-server", "timestamp-server"}, name)
}

// opaModule is the module whose version an opa binary must have: another
// version would disagree for reasons that are not ours.
const opaModule = "github.com/open-policy-agent/opa"

// Path returns the absolute path of the named judge: the one that `make judges`
// built into .judges/bin, else the one on PATH. An opa on PATH counts only when
// its version is the one that tests/judges/go.mod pins. A missing judge skips
// or fails the test, see [RequiredEnv].
func Path(t testing.TB, name string) string {
	t.Helper()
	root := Root(t)
	path, err := find(root, name)
	if err != nil {
		missing(t, name, err)
	}
	return path
}

// NodeExporterExposition returns the path of the exposition that node_exporter
// 1.12.1 produces from its own fixtures: 3,026 series in the text format. It
// comes from the module cache and is downloaded there when need be; without it
// the test skips or fails, see [RequiredEnv].
func NodeExporterExposition(t testing.TB) string {
	t.Helper()
	dir, err := moduleDir(filepath.Join(Root(t), "tests", "judges"), "github.com/prometheus/node_exporter")
	path := filepath.Join(dir, "collector", "fixtures", "e2e-output.txt")
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		missing(t, "node_exporter fixtures", err)
	}
	return path
}

// Root returns the root directory of this repository, found upward from the
// working directory of the test.
func Root(t testing.TB) string {
	t.Helper()
	root, err := FindRoot()
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// FindRoot is [Root] for who is no test.
func FindRoot() (string, error) {
	wd, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := wd; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "tests", "judges", "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("no tests/judges/go.mod above %s: run the tests inside the repository", wd)
		}
	}
}

func missing(t testing.TB, name string, err error) {
	t.Helper()
	required, target := os.Getenv(RequiredEnv), "judges"
	if slow(name) {
		target = "judges-sigstore"
	}
	if required == "all" || required != "" && required != "0" && !slow(name) {
		t.Fatalf("judge %s is missing and %s is %s: %v", name, RequiredEnv, required, err)
	}
	t.Skipf("judge %s is missing (make %s, or a package of the system, installs it): %v", name, target, err)
}

func find(root, name string) (string, error) {
	pinned := filepath.Join(root, ".judges", "bin", name)
	if path, err := exec.LookPath(pinned); err == nil {
		return path, nil
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", err
	}
	if name == "opa" {
		err = rightOPA(path, root)
	}
	if err != nil {
		return "", err
	}
	return filepath.Abs(path)
}

// rightOPA tells whether the opa at path has the version that the judges' module pins.
func rightOPA(path, root string) error {
	gomod, err := os.ReadFile(filepath.Join(root, "tests", "judges", "go.mod"))
	if err != nil {
		return err
	}
	want := requiredVersion(string(gomod), opaModule)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "version").Output()
	if err != nil {
		return fmt.Errorf("ask %s for its version: %w", path, err)
	}
	if first, _, _ := strings.Cut(string(out), "\n"); strings.TrimSpace(first) != "Version: "+strings.TrimPrefix(want, "v") {
		return fmt.Errorf("%s says %q, tests need %s", path, first, want)
	}
	return nil
}

// requiredVersion returns the version at which the text of a go.mod requires
// module, "" when it does not.
func requiredVersion(gomod, module string) string {
	for line := range strings.Lines(gomod) {
		fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(fields) >= 2 && fields[0] == module {
			return fields[1]
		}
	}
	return ""
}

// moduleDir returns the directory of a module that the module in workdir
// requires, and downloads it when it is not in the module cache.
func moduleDir(workdir, module string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", module)
	cmd.Dir = workdir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=readonly")
	out, err := cmd.Output()
	var answer struct{ Dir, Error string }
	if jsonErr := json.Unmarshal(out, &answer); jsonErr != nil {
		return "", errors.Join(err, jsonErr)
	}
	if answer.Error != "" {
		return "", errors.New(answer.Error)
	}
	return answer.Dir, err
}

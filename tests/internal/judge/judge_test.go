package judge

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// recorder stands in for a test to see whether it would have been skipped or
// failed; both end the calling goroutine, as in the real one.
type recorder struct {
	testing.TB
	skipped, failed string
}

func (r *recorder) Helper() {}

func (r *recorder) run(f func()) {
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	<-done
}

func (r *recorder) Skipf(format string, _ ...any) {
	r.skipped = format
	runtime.Goexit()
}

func (r *recorder) Fatalf(format string, _ ...any) {
	r.failed = format
	runtime.Goexit()
}

func TestMissingJudgeSkipsAtHomeAndFailsInCI(t *testing.T) {
	for _, tc := range []struct {
		env, judge string
		skip, fail bool
	}{
		{env: "", judge: "no-such-judge", skip: true},
		{env: "0", judge: "no-such-judge", skip: true},
		{env: "1", judge: "no-such-judge", fail: true},
		{env: "1", judge: "cosign", skip: true},
		{env: "all", judge: "no-such-judge", fail: true},
		{env: "all", judge: "cosign", fail: true},
	} {
		t.Run("env="+tc.env+" "+tc.judge, func(t *testing.T) {
			t.Setenv(RequiredEnv, tc.env)
			r := &recorder{TB: t}
			r.run(func() { missing(r, tc.judge, os.ErrNotExist) })
			if (r.skipped != "") != tc.skip || (r.failed != "") != tc.fail {
				t.Errorf("skipped %q, failed %q; want skip %t, fail %t", r.skipped, r.failed, tc.skip, tc.fail)
			}
		})
	}
}

func TestPinnedJudgeComesBeforePATH(t *testing.T) {
	root := t.TempDir()
	write := func(rel, text string, mode os.FileMode) string {
		path := filepath.Join(root, rel)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("tests/judges/go.mod", "module m\n\nrequire (\n\t"+opaModule+" v1.2.3 // indirect\n)\n", 0o644)
	onPath := write("path/opa", "#!/bin/sh\necho 'Version: 1.2.3'\n", 0o755)
	t.Setenv("PATH", filepath.Dir(onPath)+string(os.PathListSeparator)+os.Getenv("PATH"))

	if got, err := find(root, "opa"); err != nil || got != onPath {
		t.Errorf("opa of the pinned version on PATH: got %q, %v", got, err)
	}
	write("path/opa", "#!/bin/sh\necho 'Version: 1.2.4'\n", 0o755)
	if got, err := find(root, "opa"); err == nil || !strings.Contains(err.Error(), "1.2.4") {
		t.Errorf("opa of another version on PATH: got %q, %v; want an error that names the version", got, err)
	}
	pinned := write(".judges/bin/opa", "#!/bin/sh\n", 0o755)
	if got, err := find(root, "opa"); err != nil || got != pinned {
		t.Errorf("opa in .judges/bin: got %q, %v", got, err)
	}
}

// A judge of another version would disagree for reasons that are not ours.
func TestJudgeOPAIsTheEmbeddedOPA(t *testing.T) {
	root := Root(t)
	read := func(rel string) string {
		data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(rel)))
		if err != nil {
			t.Fatal(err)
		}
		return requiredVersion(string(data), opaModule)
	}
	product, judges := read("go.mod"), read("tests/judges/go.mod")
	if product == "" || product != judges {
		t.Errorf("go.mod requires opa %q, tests/judges/go.mod %q; want the same version in both", product, judges)
	}
}

func TestNodeExporterExposition(t *testing.T) {
	data, err := os.ReadFile(NodeExporterExposition(t))
	if err != nil {
		t.Fatal(err)
	}
	series := 0
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			series++
		}
	}
	if series != 3026 {
		t.Errorf("the exposition has %d series, want 3026: a judge must not change unnoticed", series)
	}
}

package app

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/internal/bundle"
)

// altered is the bundle of the example with one file changed.
func altered(t *testing.T, change func(files map[string][]byte)) *bundle.Bundle {
	t.Helper()
	b := bundled(t, example1)
	files := map[string][]byte{}
	for _, path := range b.Paths() {
		data, _ := b.File(path)
		files[path] = bytes.Clone(data)
	}
	change(files)
	bad, err := bundle.New(files)
	if err != nil {
		t.Fatal(err)
	}
	return bad
}

// A rule that was altered by hand must not hide behind an unaltered table.
func TestBundleIsItsCharter(t *testing.T) {
	for name, c := range map[string]struct {
		change func(map[string][]byte)
		want   string
	}{
		"rule added": {func(f map[string][]byte) {
			f["charter/extra.rego"] = []byte("package charter.extra\n\nallow := true\n")
		}, "charter/extra.rego is in no bundle"},
		"rule altered": {func(f map[string][]byte) {
			for path := range f {
				if strings.HasSuffix(path, ".rego") {
					f[path] = append(f[path], "\n# harmless\n"...)
				}
			}
		}, "is not what charter.yaml compiles to"},
		"table altered": {func(f map[string][]byte) {
			f["data.json"] = bytes.Replace(f["data.json"], []byte("30d"), []byte("90d"), 1)
		}, "data.json is not what charter.yaml compiles to"},
		"rule removed": {func(f map[string][]byte) {
			delete(f, "charter/patterns/patterns.rego")
		}, "charter/patterns/patterns.rego is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "bundle")
			if err := altered(t, c.change).WriteDir(dir); err != nil {
				t.Fatal(err)
			}
			code, _, stderr := end(t, "--bundle", dir)
			if code != exitPolicy || !strings.Contains(stderr, CodeBundleNotReproducible) || !strings.Contains(stderr, c.want) {
				t.Errorf("exit code %d: %s", code, stderr)
			}
		})
	}
	none := altered(t, func(f map[string][]byte) { delete(f, bundle.CharterFile) })
	if _, err := server().compiler.verify("x", none); err == nil || !strings.Contains(err.Error(), "has no charter.yaml") {
		t.Errorf("without a charter: %v", err)
	}
	broken := altered(t, func(f map[string][]byte) { f[bundle.CharterFile] = []byte("kind: Charter\n") })
	if _, err := server().compiler.verify("x", broken); err == nil || len(findingsOf(err)) == 0 {
		t.Errorf("with a broken charter: %v", err)
	}
}

func TestReplacedBundle(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "bundle")
	if err := bundled(t, example1).WriteDir(dir); err != nil {
		t.Fatal(err)
	}
	o := selfAsserted("")
	o.Bundle = dir
	s := offered(t, o)
	put(t, filepath.Join(dir, "charter", "extra.rego"), "package charter.extra\n\nallow := true\n")
	s.twice(t)
	if status, code, _ := s.health(t); status != http.StatusOK || code != CodeBundleNotReproducible {
		t.Errorf("%d %q", status, code)
	}
	if err := bundled(t, "testdata/narrower.yaml").WriteDir(dir); err != nil {
		t.Fatal(err)
	}
	_ = os.Remove(filepath.Join(dir, "charter", "extra.rego"))
	s.twice(t)
	if _, code, revision := s.health(t); code != "" || !strings.HasPrefix(revision, "example-2.0.0+") {
		t.Errorf("%q %s", code, revision)
	}
}

package bundle_test

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/bundle"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// A regenerated bundle must show exactly the changed files to a reviewer and to
// tools that watch modification times.
func TestWriteDirReplacesAnEarlierBundle(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "bundles", "mini")
	first := sample()
	first["charter/gone/gone.rego"] = []byte("package charter.gone\n")
	if err := newBundle(t, first).WriteDir(dir); err != nil {
		t.Fatal(err)
	}
	long := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	for p := range first {
		if err := os.Chtimes(filepath.Join(dir, p), long, long); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(dir, "data.json.charter-tmp"), "left behind by an interrupted write")
	second := sample()
	second["data.json"] = []byte(`{"charter":{}}`)
	b := newBundle(t, second)
	if err := b.WriteDir(dir); err != nil {
		t.Fatal(err)
	}
	for p := range first {
		info, err := os.Lstat(filepath.Join(dir, p))
		switch p {
		case "charter/gone/gone.rego":
			if err == nil {
				t.Errorf("%s of the earlier bundle is still there", p)
			}
		case "data.json":
			if err != nil || info.ModTime().Equal(long) {
				t.Errorf("%s was not replaced", p)
			}
		default:
			if err != nil || !info.ModTime().Equal(long) {
				t.Errorf("%s did not change and was touched", p)
			}
		}
	}
	if exists(filepath.Join(dir, "charter/gone")) || exists(filepath.Join(dir, "data.json.charter-tmp")) {
		t.Error("remains of the earlier bundle")
	}
	back, err := bundle.Open(dir)
	if err != nil || !maps.Equal(contents(b), contents(back)) {
		t.Errorf("the directory is not the bundle: %v", err)
	}
}

func TestWriteDirTurnsAFileIntoADirectory(t *testing.T) {
	dir := t.TempDir()
	files := sample()
	files["x.rego"] = nil
	if err := newBundle(t, files).WriteDir(dir); err != nil {
		t.Fatal(err)
	}
	delete(files, "x.rego")
	files["x.rego/y.rego"] = nil
	if err := newBundle(t, files).WriteDir(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := bundle.Open(dir); err != nil {
		t.Error(err)
	}
}

// A mistyped output directory must cost nobody their files.
func TestWriteDirLeavesOtherDirectoriesAlone(t *testing.T) {
	for _, tc := range []struct {
		name, path, text, want string
		bundle                 bool
	}{
		{"source tree", "main.go", "package main", bundle.CodeNotABundle, false},
		{"other policies", "policy.rego", "package x", bundle.CodeNotABundle, false},
		{"another kind of bundle", ".manifest", `{"revision":"x","roots":["x"]}`, bundle.CodeNotABundle, false},
		{"a note in a bundle", "charter/NOTES.md", "mine", bundle.CodeUnexpectedFile, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			if tc.bundle {
				if err := newBundle(t, sample()).WriteDir(dir); err != nil {
					t.Fatal(err)
				}
			}
			write(t, filepath.Join(dir, tc.path), tc.text)
			files := sample()
			files["new.rego"] = nil
			if got := code(t, newBundle(t, files).WriteDir(dir)); got != tc.want {
				t.Errorf("code %q, want %q", got, tc.want)
			}
			text, err := os.ReadFile(filepath.Join(dir, tc.path))
			if err != nil || string(text) != tc.text || exists(filepath.Join(dir, "new.rego")) {
				t.Error("the directory was changed")
			}
		})
	}
}

func TestDirectoriesWithLinks(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	if err := newBundle(t, sample()).WriteDir(dir); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(outside, "secret.rego"), "package secret")
	if err := os.Symlink(filepath.Join(outside, "secret.rego"), filepath.Join(dir, "secret.rego")); err != nil {
		t.Fatal(err)
	}
	if _, err := bundle.Open(dir); code(t, err) != bundle.CodeBadEntry {
		t.Errorf("a link was followed: %v", err)
	}
	if err := newBundle(t, sample()).WriteDir(dir); code(t, err) != bundle.CodeBadEntry {
		t.Errorf("a link was written through: %v", err)
	}
}

func TestWriteDirReportsErrors(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "file"), "")
	b := newBundle(t, sample())
	if err := b.WriteDir(filepath.Join(dir, "file")); code(t, err) != bundle.CodeIO {
		t.Errorf("a file for a directory: %v", err)
	}
	if err := b.WriteDir(filepath.Join(dir, "file", "below")); code(t, err) != bundle.CodeIO {
		t.Errorf("below a file: %v", err)
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	b := newBundle(t, sample())
	packed := filepath.Join(dir, "bundle.tar.gz")
	var buf bytes.Buffer
	if err := b.WriteTar(&buf); err != nil {
		t.Fatal(err)
	}
	write(t, packed, buf.String())
	back, err := bundle.Open(packed)
	if err != nil || !maps.Equal(contents(b), contents(back)) {
		t.Errorf("archive: %v", err)
	}
	write(t, filepath.Join(dir, "dir", "README.md"), "")
	for path, want := range map[string]string{
		"absent": bundle.CodeIO, "dir": bundle.CodeUnexpectedFile, "dir/README.md": bundle.CodeBadArchive,
	} {
		if _, err := bundle.Open(filepath.Join(dir, path)); code(t, err) != want {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
}

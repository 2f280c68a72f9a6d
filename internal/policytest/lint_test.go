package policytest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/compile"
)

// with builds the bundle of the edge charter with one more module.
func with(t *testing.T, module string) *bundle.Bundle {
	t.Helper()
	c, found := charter.Parse("edge.yaml", []byte(edgeCharter))
	if c == nil {
		t.Fatal(found)
	}
	b, err := compile.Build(c)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"charter/extra.rego": []byte(module)}
	for _, path := range b.Paths() {
		files[path], _ = b.File(path)
	}
	if b, err = bundle.New(files); err != nil {
		t.Fatal(err)
	}
	return b
}

// A bundle is only written when its Rego cannot fall open.
func TestLint(t *testing.T) {
	if found, err := Lint(with(t, "package charter.extra\n\nfine := true\n")); err != nil || len(found) > 0 {
		t.Errorf("the compiled charter does not pass: %v %v", found, err)
	}
	found, err := Lint(with(t, "package charter.extra\n\nopen if not data.charter.tables.nothing\n"))
	if err != nil || !found.HasErrors() || found[0].Pos.File != "charter/extra.rego" || found[0].Pos.Line != 3 {
		t.Errorf("a negation over something undefined passes: %v %v", found, err)
	}
	for name, module := range map[string]string{
		"syntax":  "package charter.extra\n\nx if {",
		"unknown": "package charter.extra\n\nx if nothing_of_the_kind",
		"clock":   "package charter.extra\n\nx := time.now_ns()",
	} {
		if _, err := Lint(with(t, module)); err == nil || !strings.Contains(err.Error(), "charter/extra.rego:3") {
			t.Errorf("%s: got %v, want an error in line 3", name, err)
		}
	}
}

func TestLoadState(t *testing.T) {
	dir := t.TempDir()
	load := func(text string) (map[string]any, error) {
		path := filepath.Join(dir, "state.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return LoadState(path)
	}
	want := map[string]any{"sequence": 7, "expires": "2026-06-01T00:00:00Z", "standing": map[string]any{}}
	for _, text := range []string{
		"sequence: 7\nexpires: 2026-06-01T00:00:00Z\nstanding: {}\n",
		`{"sequence": 7, "expires": "2026-06-01T00:00:00Z", "standing": {}}`,
	} {
		if state, err := load(text); err != nil || !reflect.DeepEqual(state, want) {
			t.Errorf("%s\nis read as %v, %v", text, state, err)
		}
	}
	for text, message := range map[string]string{
		"":               "the state document is empty",
		"[]":             "the state document must be a mapping, not a list",
		"a: 1\na: 2\n":   "twice",
		"a: 1\n---\nb: ": "a second YAML document begins here",
	} {
		var te *TableError
		if _, err := load(text); !errors.As(err, &te) || !strings.Contains(err.Error(), message) {
			t.Errorf("%q: got %v, want %s", text, err, message)
		}
	}
	if _, err := LoadState(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want the error of the file system", err)
	}
}

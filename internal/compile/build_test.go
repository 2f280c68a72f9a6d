package compile_test

import (
	"bytes"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/format"
	"github.com/rogpeppe/go-internal/txtar"
	"pgregory.net/rapid"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/compile"
	"github.com/westworld-charter/charter/internal/diag"
)

var update = flag.Bool("update", false, "rewrite golden files")

// generated is what differs between bundles and is therefore worth reading.
var generated = []string{".manifest", compile.DataPath, compile.PatternsPath}

func TestBuildGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/build/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]string{}
			for _, f := range archive.Files {
				want[f.Name] = string(f.Data)
			}
			b := build(t, []byte(want["charter.yaml"]))
			if *update {
				archive.Files = archive.Files[:1]
				for _, path := range generated {
					data, _ := b.File(path)
					archive.Files = append(archive.Files, txtar.File{Name: path, Data: data})
				}
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			for _, path := range generated {
				if got, _ := b.File(path); string(got) != want[path] {
					t.Errorf("%s differs from the golden file; run with -update and read the diff\ngot:\n%s", path, got)
				}
			}
		})
	}
}

// A reviewer reads generated Rego with the tools of OPA, so it has to be as opa
// fmt writes it and pass opa check --strict.
func TestGeneratedRegoIsFormattedAndStrict(t *testing.T) {
	for name, source := range charters(t) {
		t.Run(name, func(t *testing.T) {
			b := build(t, source)
			modules := map[string]*ast.Module{}
			for _, path := range b.Modules() {
				text, _ := b.File(path)
				formatted, err := format.SourceWithOpts(path, text, format.Opts{RegoVersion: ast.RegoV1})
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(formatted, text) {
					t.Errorf("%s is not formatted; opa fmt writes:\n%s", path, formatted)
				}
				module, err := ast.ParseModuleWithOpts(path, string(text), ast.ParserOptions{RegoVersion: ast.RegoV1, ProcessAnnotation: true})
				if err != nil {
					t.Fatal(err)
				}
				modules[path] = module
			}
			compiler := ast.NewCompiler().WithStrict(true)
			if compiler.Compile(modules); compiler.Failed() {
				t.Fatal(compiler.Errors)
			}
			if findings := compile.Lint(compiler); findings.HasErrors() {
				t.Errorf("the library's own lint objects: %v", findings)
			}
		})
	}
}

// Whoever holds a bundle can rebuild it from the charter inside.
func TestBundleIsRebuiltFromItsOwnCharter(t *testing.T) {
	for name, source := range charters(t) {
		t.Run(name, func(t *testing.T) {
			first := build(t, source)
			embedded, _ := first.File(compile.CharterPath)
			second := build(t, embedded)
			if first.LayerDigest() != second.LayerDigest() {
				t.Errorf("digest %s became %s", first.LayerDigest(), second.LayerDigest())
			}
		})
	}
}

// The order in which an author writes clauses must never decide anything.
func TestOrderOfClausesDoesNotMatter(t *testing.T) {
	const head = "apiVersion: charter/v1\nkind: Charter\nmetadata: {name: o, version: 1.0.0}\naccess_levels: [public]\nroles: [{name: r, reads: [public], collects: [c]}]\nmetrics:\n  c:\n"
	lines := []string{
		"    - {id: a, match: [m_a, \"x_*\"], access: public}\n",
		"    - {id: b, match: [m_b, \"y_*_z\"], access: public}\n",
		"    - {id: c, match: [m_c], access: public, operations: [read, collect]}\n",
		"    - {id: d, match: [\"*_suffix\"], access: public}\n",
	}
	want := build(t, []byte(head+strings.Join(lines, ""))).LayerDigest()
	rapid.Check(t, func(rt *rapid.T) {
		shuffled := rapid.Permutation(lines).Draw(rt, "lines")
		if got := build(t, []byte(head+strings.Join(shuffled, ""))).LayerDigest(); got != want {
			rt.Fatalf("digest %s became %s", want, got)
		}
	})
}

// charters returns every charter the tests know, flattened where it extends.
func charters(t *testing.T) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	files, err := filepath.Glob("testdata/build/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(file)] = archive.Files[0].Data
	}
	shipped, err := fs.Glob(os.DirFS("../.."), "policies/*/charter.yaml")
	if err != nil || len(shipped) == 0 {
		t.Fatalf("no shipped charters: %v", err)
	}
	for _, path := range shipped {
		c, list := charter.Load("../../" + path)
		noErrors(t, list)
		all[path] = c.Canonical()
	}
	return all
}

func build(t *testing.T, source []byte) *bundle.Bundle {
	t.Helper()
	c, list := charter.Parse("charter.yaml", source)
	noErrors(t, list)
	noErrors(t, compile.Check(c))
	b, err := compile.Build(c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func noErrors(t *testing.T, list diag.List) {
	t.Helper()
	for _, d := range list {
		if d.Severity == diag.Error {
			t.Fatalf("%s: %s[%s]: %s", d.Pos, d.Severity, d.Code, d.Message)
		}
	}
}

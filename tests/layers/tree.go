// Package layers checks the rules about the shape of this repository: imports
// point strictly downward, each third-party module has one home, a binary does
// not link what it must not know, and files stay small, documented and free of
// mutable globals.
//
// [Load] reads the tree; [Rules] and [Limits] hold what is demanded and return
// a [Finding] for each place that does not comply. The table of this repository
// is in layers_test.go. The package reads source text, so files of every
// platform and build tag are seen; only [Rules.Links] asks the go command.
package layers

import (
	"bytes"
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Tree is the Go source of one module.
type Tree struct {
	Module   string // the module path
	Packages []Package
	fset     *token.FileSet
}

// Package is a directory with Go files. External tests (package x_test) count
// to the directory they are in.
type Package struct {
	Path  string // directory from the root of the module, "." for the root
	Files []File
}

// File is one parsed Go file.
type File struct {
	Name  string // path from the root of the module
	Lines int
	AST   *ast.File
}

// Test tells whether the file belongs to the tests of its package.
func (f File) Test() bool { return strings.HasSuffix(f.Name, "_test.go") }

// Load parses the module in directory root. It leaves out what the go command
// leaves out: testdata, directories that begin with "." or "_", and directories
// with a go.mod of their own.
func Load(module, root string) (*Tree, error) {
	files := make(map[string][]byte)
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name != "." && foreign(root, name) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		files[name], err = os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		return err
	})
	if err != nil {
		return nil, err
	}
	return Parse(module, files)
}

func foreign(root, dir string) bool {
	base := path.Base(dir)
	if base == "testdata" || base == "vendor" || base[0] == '.' || base[0] == '_' {
		return true
	}
	_, err := os.Stat(filepath.Join(root, filepath.FromSlash(dir), "go.mod"))
	return err == nil
}

// Parse makes a tree of files, given by their slash-separated path from the
// root of the module.
func Parse(module string, files map[string][]byte) (*Tree, error) {
	t := &Tree{Module: module, fset: token.NewFileSet()}
	byDir := make(map[string][]File)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		parsed, err := parser.ParseFile(t.fset, name, files[name], parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		dir := path.Dir(name)
		lines := bytes.Count(files[name], []byte("\n"))
		if !bytes.HasSuffix(files[name], []byte("\n")) {
			lines++
		}
		byDir[dir] = append(byDir[dir], File{Name: name, Lines: lines, AST: parsed})
	}
	for _, dir := range slices.Sorted(maps.Keys(byDir)) {
		t.Packages = append(t.Packages, Package{Path: dir, Files: byDir[dir]})
	}
	return t, nil
}

// Finding is one place that breaks a rule, and how to mend it.
type Finding struct {
	Pos     token.Position
	Problem string
	Fix     string
}

// String renders "file:line:col: problem; fix".
func (f Finding) String() string {
	place := f.Pos.Filename
	if f.Pos.Line > 0 {
		place = f.Pos.String()
	}
	return fmt.Sprintf("%s: %s; %s", place, f.Problem, f.Fix)
}

func sorted(findings []Finding) []Finding {
	slices.SortStableFunc(findings, func(a, b Finding) int {
		return cmp.Or(
			cmp.Compare(a.Pos.Filename, b.Pos.Filename),
			cmp.Compare(a.Pos.Line, b.Pos.Line),
			cmp.Compare(a.Pos.Column, b.Pos.Column),
		)
	})
	return findings
}

// imported calls visit for each import of the file.
func (t *Tree) imported(f File, visit func(pos token.Position, importPath string)) {
	for _, spec := range f.AST.Imports {
		if importPath, err := strconv.Unquote(spec.Path.Value); err == nil {
			visit(t.fset.Position(spec.Pos()), importPath)
		}
	}
}

// local returns the directory of a package of this module, false for any other import.
func (t *Tree) local(importPath string) (string, bool) {
	if importPath == t.Module {
		return ".", true
	}
	return strings.CutPrefix(importPath, t.Module+"/")
}

// within tells whether dir is prefix or below it.
func within(dir, prefix string) bool {
	return dir == prefix || strings.HasPrefix(dir, prefix+"/")
}

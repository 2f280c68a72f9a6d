package layers

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"slices"
	"strings"
)

// Limits bounds sizes, in lines.
type Limits struct {
	File     int // any Go file
	Function int // any function outside tests
	Main     int // main.go of a command
}

// Hygiene returns what makes a package harder to read than need be: files and
// functions beyond the limits, packages and exports without a comment, work in
// init, mutable globals, tests that sleep.
func (l Limits) Hygiene(t *Tree) []Finding {
	var findings []Finding
	report := func(pos token.Pos, fix, format string, args ...any) {
		findings = append(findings, Finding{t.fset.Position(pos), fmt.Sprintf(format, args...), fix})
	}
	for _, pkg := range t.Packages {
		for _, file := range pkg.Files {
			l.sizes(t, file, report)
			if file.Test() {
				sleeps(file, report)
				continue
			}
			inits(file, report)
			if !within(pkg.Path, "tests") {
				undescribed(file, report)
			}
		}
		if undocumented(pkg) {
			report(pkg.Files[0].AST.Package, "say what it is for, what it guarantees and which function comes first",
				"package %s has no package comment", pkg.Path)
		}
		globals(t.fset, pkg, report)
	}
	return sorted(findings)
}

type reporter func(pos token.Pos, fix, format string, args ...any)

func (l Limits) sizes(t *Tree, file File, report reporter) {
	if file.Lines > l.File {
		report(file.AST.Package, "split it by subject", "file has %d lines, more than %d", file.Lines, l.File)
	}
	if path.Base(file.Name) == "main.go" && within(file.Name, "cmd") && file.Lines > l.Main {
		report(file.AST.Package, "move the work into internal/cli or internal/app", "main.go has %d lines, more than %d", file.Lines, l.Main)
	}
	if file.Test() {
		return
	}
	for _, decl := range file.AST.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		if n := t.fset.Position(fn.End()).Line - t.fset.Position(fn.Pos()).Line + 1; n > l.Function {
			report(fn.Pos(), "take steps out of it that have a name", "function %s has %d lines, more than %d", fn.Name.Name, n, l.Function)
		}
	}
}

func undocumented(pkg Package) bool {
	built := false
	for _, file := range pkg.Files {
		if file.Test() {
			continue
		}
		built = true
		if doc := file.AST.Doc; doc != nil && strings.TrimSpace(doc.Text()) != "" {
			return false
		}
	}
	return built
}

func inits(file File, report reporter) {
	for _, decl := range file.AST.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			report(fn.Pos(), "make it a function that someone calls, or a value that someone passes", "func init runs before main, unasked")
		}
	}
}

// undescribed finds exported declarations without a comment. A comment on a
// group of constants, variables or types counts for each of them. Methods that
// implement a well-known interface need none.
func undescribed(file File, report reporter) {
	const fix = "say what it is or does: shape, units, errors"
	for _, decl := range file.AST.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && d.Doc == nil && !obviousMethod(d) {
				report(d.Pos(), fix, "exported %s has no comment", d.Name.Name)
			}
		case *ast.GenDecl:
			if d.Doc != nil {
				continue
			}
			for _, spec := range d.Specs {
				if name := undescribedSpec(spec); name != "" {
					report(spec.Pos(), fix, "exported %s has no comment", name)
				}
			}
		}
	}
}

// obviousMethod tells whether a method belongs to an unexported type or has a
// name whose contract the standard library documents.
func obviousMethod(fn *ast.FuncDecl) bool {
	if fn.Recv == nil {
		return false
	}
	typ := fn.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	if generic, ok := typ.(*ast.IndexExpr); ok {
		typ = generic.X
	}
	if id, ok := typ.(*ast.Ident); ok && !id.IsExported() {
		return true
	}
	return slices.Contains([]string{
		"Error", "Unwrap", "Is", "As", "String", "Len", "Less", "Swap", "Close",
		"MarshalJSON", "UnmarshalJSON", "MarshalText", "UnmarshalText", "MarshalYAML", "UnmarshalYAML",
	}, fn.Name.Name)
}

func undescribedSpec(spec ast.Spec) string {
	switch s := spec.(type) {
	case *ast.TypeSpec:
		if s.Name.IsExported() && s.Doc == nil && s.Comment == nil {
			return s.Name.Name
		}
	case *ast.ValueSpec:
		if s.Names[0].IsExported() && s.Doc == nil && s.Comment == nil {
			return s.Names[0].Name
		}
	}
	return ""
}

// sleeps finds calls of time.Sleep, under whatever name time is imported.
func sleeps(file File, report reporter) {
	name := importName(file.AST, "time")
	if name == "" {
		return
	}
	ast.Inspect(file.AST, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == "Sleep" {
			if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Name == name {
				report(sel.Pos(), "wait for the event itself, or use testing/synctest", "test sleeps")
			}
		}
		return true
	})
}

// importName returns the name by which a file knows an import, "" when it does
// not have it.
func importName(file *ast.File, importPath string) string {
	i := slices.IndexFunc(file.Imports, func(s *ast.ImportSpec) bool { return s.Path.Value == `"`+importPath+`"` })
	switch {
	case i < 0:
		return ""
	case file.Imports[i].Name != nil:
		return file.Imports[i].Name.Name
	default:
		return path.Base(importPath)
	}
}

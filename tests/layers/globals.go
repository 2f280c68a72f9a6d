package layers

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strconv"
	"strings"
)

// globals finds package-level variables that hold mutable state. A table that
// is written down once and never changed is fine; so are sentinel errors,
// compiled patterns and embedded files. What is not: a variable that starts
// empty, one that is assigned or whose address is taken anywhere in its
// package (its tests included), and one whose value comes out of a call that does work before main.
func globals(fset *token.FileSet, pkg Package, report reporter) {
	built, all := sources(pkg)
	info := resolve(fset, pkg.Path, all)
	tables := make(map[types.Object]bool)
	for _, file := range built {
		for _, spec := range packageVars(file) {
			for i, name := range spec.names() {
				if name.Name == "_" {
					continue
				}
				if why := spec.suspicious(i, info); why != "" {
					report(name.Pos(), globalFix, "global variable %s %s", name.Name, why)
				} else {
					tables[info.Defs[name]] = true
				}
			}
		}
	}
	for _, file := range all {
		changes(file, func(id *ast.Ident, how string) {
			if object := info.Uses[id]; object != nil && tables[object] {
				report(id.Pos(), globalFix, "global variable %s is %s", id.Name, how)
			}
		})
	}
}

// sources returns the files of a package that are built, and these with the
// tests inside the package, which could change its variables as well.
func sources(pkg Package) (built, all []*ast.File) {
	for _, f := range pkg.Files {
		if !f.Test() {
			built = append(built, f.AST)
		}
	}
	for _, f := range pkg.Files {
		if len(built) > 0 && f.AST.Name.Name == built[0].Name.Name {
			all = append(all, f.AST)
		}
	}
	return built, all
}

const globalFix = "make it a constant or a table that never changes, or a field of a value that is passed around"

// resolve finds out which identifier means which object of the package. What is
// imported stays unknown: that is enough for the variables of the package.
func resolve(fset *token.FileSet, name string, files []*ast.File) *types.Info {
	info := &types.Info{
		Defs:  make(map[*ast.Ident]types.Object),
		Uses:  make(map[*ast.Ident]types.Object),
		Types: make(map[ast.Expr]types.TypeAndValue),
	}
	conf := types.Config{Importer: noImports{}, Error: func(error) {}}
	_, _ = conf.Check(name, fset, files, info) // errors are expected: nothing is imported
	return info
}

type noImports struct{}

func (noImports) Import(importPath string) (*types.Package, error) {
	pkg := types.NewPackage(importPath, importPath[strings.LastIndexByte(importPath, '/')+1:])
	pkg.MarkComplete()
	return pkg, nil
}

// varSpec is a declaration of package-level variables.
type varSpec struct {
	file     *ast.File
	spec     *ast.ValueSpec
	embedded bool
}

func (s varSpec) names() []*ast.Ident { return s.spec.Names }

func packageVars(file *ast.File) []varSpec {
	var specs []varSpec
	for _, decl := range file.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok || gen.Tok != token.VAR {
			continue
		}
		for _, spec := range gen.Specs {
			value := spec.(*ast.ValueSpec)
			specs = append(specs, varSpec{file, value, embeds(gen.Doc) || embeds(value.Doc)})
		}
	}
	return specs
}

func embeds(doc *ast.CommentGroup) bool {
	return doc != nil && slices.ContainsFunc(doc.List, func(c *ast.Comment) bool {
		return strings.HasPrefix(c.Text, "//go:embed ")
	})
}

// suspicious says what is wrong with the declaration of the i-th name.
func (s varSpec) suspicious(i int, info *types.Info) string {
	if s.embedded {
		return ""
	}
	if len(s.spec.Values) != len(s.spec.Names) {
		if len(s.spec.Values) == 0 {
			return "starts without a value, so something must change it"
		}
		return "is set by a call with several results before main"
	}
	if synchronised(s.file, s.spec.Type) {
		return "holds state that is shared and synchronised"
	}
	return s.mutableValue(s.spec.Values[i], info)
}

// pure lists the calls of the standard library whose results do not change and
// whose work before main is small.
func pure() []string {
	return []string{
		"errors.New", "fmt.Errorf", "regexp.MustCompile", "strings.NewReplacer",
		"sync.OnceFunc", "sync.OnceValue", "sync.OnceValues",
		"big.NewInt", "netip.MustParsePrefix", "netip.MustParseAddr", "reflect.TypeFor",
	}
}

func (s varSpec) mutableValue(value ast.Expr, info *types.Info) string {
	switch v := ast.Unparen(value).(type) {
	case *ast.UnaryExpr:
		return s.mutableValue(v.X, info)
	case *ast.CompositeLit:
		if synchronised(s.file, v.Type) {
			return "holds state that is shared and synchronised"
		}
		for _, element := range v.Elts {
			if pair, ok := element.(*ast.KeyValueExpr); ok {
				element = pair.Value
			}
			if why := s.mutableValue(element, info); why != "" {
				return why
			}
		}
	case *ast.CallExpr:
		return s.impureCall(v, info)
	}
	return ""
}

func (s varSpec) impureCall(call *ast.CallExpr, info *types.Info) string {
	function := ast.Unparen(call.Fun)
	if instance, ok := function.(*ast.IndexExpr); ok {
		function = instance.X
	}
	switch fun := function.(type) {
	case *ast.ArrayType, *ast.MapType, *ast.InterfaceType:
		return "" // a conversion
	case *ast.Ident:
		if info.Types[fun].IsType() {
			return ""
		}
		if fun.Name == "make" || fun.Name == "new" {
			return "starts empty, so something must fill it"
		}
		return "is made by calling " + fun.Name + " before main"
	case *ast.SelectorExpr:
		name := types.ExprString(fun)
		if slices.Contains(pure(), name) {
			return ""
		}
		return "is made by calling " + name + " before main"
	}
	return "is made by a call before main"
}

// synchronised tells whether a type is one of sync or sync/atomic.
func synchronised(file *ast.File, typ ast.Expr) bool {
	switch t := typ.(type) {
	case *ast.IndexExpr:
		return synchronised(file, t.X)
	case *ast.StarExpr:
		return synchronised(file, t.X)
	case *ast.SelectorExpr:
		pkg, ok := t.X.(*ast.Ident)
		return ok && slices.ContainsFunc(file.Imports, func(spec *ast.ImportSpec) bool {
			importPath, err := strconv.Unquote(spec.Path.Value)
			return err == nil && (importPath == "sync" || importPath == "sync/atomic") && importName(file, importPath) == pkg.Name
		})
	}
	return false
}

// changes calls visit for the variable at the root of everything that is
// assigned, counted, deleted from, or whose address is taken.
func changes(file *ast.File, visit func(id *ast.Ident, how string)) {
	at := func(expr ast.Expr, how string) {
		if id := rootOf(expr); id != nil {
			visit(id, how)
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			if n.Tok != token.DEFINE {
				for _, left := range n.Lhs {
					at(left, "assigned")
				}
			}
		case *ast.RangeStmt:
			if n.Tok == token.ASSIGN {
				at(n.Key, "assigned")
				at(n.Value, "assigned")
			}
		case *ast.IncDecStmt:
			at(n.X, "counted")
		case *ast.UnaryExpr:
			if n.Op == token.AND {
				at(n.X, "handed out by its address")
			}
		case *ast.CallExpr:
			if fun, ok := n.Fun.(*ast.Ident); ok && len(n.Args) > 0 && (fun.Name == "delete" || fun.Name == "clear") {
				at(n.Args[0], "emptied")
			}
		}
		return true
	})
}

// rootOf returns the variable that an expression such as x.f[i] is a part of. It
// does not look through a method or function call.
func rootOf(expr ast.Expr) *ast.Ident {
	switch e := expr.(type) {
	case *ast.Ident:
		return e
	case *ast.ParenExpr:
		return rootOf(e.X)
	case *ast.IndexExpr:
		return rootOf(e.X)
	case *ast.SelectorExpr:
		return rootOf(e.X)
	case *ast.StarExpr:
		return rootOf(e.X)
	}
	return nil
}

package layers

import (
	"go/ast"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A package that `make test` keeps from the race detector must have nothing to race:
// no goroutines, nothing of sync, no channels.
func TestSequentialPackagesShareNothing(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	_, list, found := strings.Cut(string(makefile), "\nSEQUENTIAL := ")
	list, _, _ = strings.Cut(list, "\n")
	names := strings.Fields(list)
	if !found || len(names) == 0 {
		t.Fatal("the Makefile names no sequential packages")
	}
	seen := 0
	for _, p := range tree(t).Packages {
		if !slices.Contains(names, p.Path) {
			continue
		}
		seen++
		for _, f := range p.Files {
			if f.Test() {
				continue
			}
			ast.Inspect(f.AST, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.GoStmt, *ast.ChanType, *ast.SelectStmt:
					t.Errorf("%s is listed as sequential in the Makefile, and has goroutines or channels", f.Name)
				case *ast.ImportSpec:
					if path := strings.Trim(n.Path.Value, `"`); path == "sync" || path == "sync/atomic" {
						t.Errorf("%s is listed as sequential in the Makefile, and imports %s", f.Name, path)
					}
				}
				return true
			})
		}
	}
	if seen != len(names) {
		t.Errorf("%d of the packages %v exist", seen, names)
	}
}

package policytest

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/westworld-charter/charter/internal/diag"
)

// Names that mark tests and charters.
const (
	regoExt     = ".rego"
	testSuffix  = "_test.rego"
	tableSuffix = "_cases.yaml"
)

// plan is a suite before it runs.
type plan struct {
	name    string
	charter string   // path of the charter; empty for a tree of Rego
	root    string   // where a tree of Rego begins
	rego    []string // Rego files
	tables  []*Table
	found   diag.List // what is wrong with the tables
}

func (p *plan) tested() bool {
	return len(p.tables) > 0 || len(p.found) > 0 || slices.ContainsFunc(p.rego, isTest)
}

func isTest(file string) bool { return strings.HasSuffix(file, testSuffix) }

// finder collects plans over all paths of a run, each charter once.
type finder struct {
	plans map[string]*plan // by charter path, or by root for Rego
}

// find returns the plans below paths, by name.
func find(paths []string) ([]*plan, error) {
	f := finder{plans: map[string]*plan{}}
	for _, path := range paths {
		if err := f.path(filepath.Clean(path)); err != nil {
			return nil, err
		}
	}
	plans := make([]*plan, 0, len(f.plans))
	for _, p := range f.plans {
		plans = append(plans, p)
	}
	slices.SortFunc(plans, func(a, b *plan) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.charter, b.charter))
	})
	return plans, nil
}

func (f *finder) path(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return f.tree(path)
	case IsTable(path):
		return f.table(path)
	default:
		return fmt.Errorf("%s is neither a directory nor a case table", path)
	}
}

// IsTable reports whether the name of a file lets [Run] take it for a case
// table when it is named by itself: any YAML but a charter. In directories only
// *_cases.yaml are tables.
func IsTable(path string) bool {
	return strings.HasSuffix(path, ".yaml") && filepath.Base(path) != DefaultCharter
}

// tree walks the directory root. Hidden directories, testdata, vendored code
// and unpacked bundles hold no tests of their own.
func (f *finder) tree(root string) error {
	var rego, tables []string
	charters := map[string]bool{} // directories
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch name := entry.Name(); {
		case err != nil:
			return err
		case entry.IsDir() && path != root && notSearched(path, name):
			return filepath.SkipDir
		case entry.IsDir():
		case name == DefaultCharter:
			charters[filepath.Dir(path)] = true
		case strings.HasSuffix(name, regoExt):
			rego = append(rego, path)
		case strings.HasSuffix(name, tableSuffix):
			tables = append(tables, path)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for dir := range charters {
		f.charter(filepath.Join(dir, DefaultCharter), dir)
	}
	for _, file := range rego {
		p := f.owner(file, root, charters)
		if !slices.Contains(p.rego, file) {
			p.rego = append(p.rego, file)
		}
	}
	for _, file := range tables {
		if err := f.table(file); err != nil {
			return err
		}
	}
	return nil
}

func notSearched(path, name string) bool {
	if strings.HasPrefix(name, ".") || slices.Contains([]string{"testdata", "vendor", "node_modules"}, name) {
		return true
	}
	_, err := os.Lstat(filepath.Join(path, ".manifest"))
	return err == nil
}

// owner is the plan of the nearest charter above file, or else the Rego of root.
func (f *finder) owner(file, root string, charters map[string]bool) *plan {
	for dir := filepath.Dir(file); ; dir = filepath.Dir(dir) {
		if charters[dir] {
			return f.charter(filepath.Join(dir, DefaultCharter), dir)
		}
		if dir == root || dir == filepath.Dir(dir) {
			break
		}
	}
	p, ok := f.plans[root]
	if !ok {
		p = &plan{name: root, root: root}
		f.plans[root] = p
	}
	return p
}

func (f *finder) charter(path, name string) *plan {
	p, ok := f.plans[path]
	if !ok {
		p = &plan{name: name, charter: path}
		f.plans[path] = p
	}
	return p
}

// table adds one case table to the plan of its charter. A table that cannot be
// read belongs to the charter beside it.
func (f *finder) table(path string) error {
	dir := filepath.Dir(path)
	t, err := LoadCases(path)
	if err != nil {
		var te *TableError
		if !errors.As(err, &te) {
			return err
		}
		p := f.charter(filepath.Join(dir, DefaultCharter), dir)
		p.found = append(p.found, te.Findings...)
		return nil
	}
	p := f.charter(t.Charter, dir)
	if !slices.ContainsFunc(p.tables, func(o *Table) bool { return o.Path == path }) {
		p.tables = append(p.tables, t)
	}
	return nil
}

package layers

import (
	"fmt"
	"go/token"
	"os/exec"
	"slices"
	"strings"
)

// Rules is the table that a repository is held against.
type Rules struct {
	Layers []Layer // from the top down
	Homes  []Home
	Links  []Link
}

// Layer is a row of packages that may import the layers below it and not each
// other. A package is named by its directory and stands for what is below it,
// unless a longer name in the table claims that.
type Layer struct {
	Name     string
	Packages []string
}

// Home says which packages may import a third-party module, or any part of it
// given as an import path: the longest matching path decides. Tests may import
// anything.
type Home struct {
	Import   string
	Packages []string
}

// Link says what the command in a directory must not link, given as import
// paths or directories of this module that stand for all below them. A command
// that does not exist yet is skipped.
type Link struct {
	Command string
	MustNot []string
	Why     string
}

// Direction returns the imports that do not point strictly downward, and the
// packages that the table does not know. Tests are exempt, but nothing that is
// built may import tests/.
func (r Rules) Direction(t *Tree) []Finding {
	var findings []Finding
	for _, pkg := range t.Packages {
		if within(pkg.Path, "tests") {
			continue
		}
		from, fromRank := r.unit(pkg.Path)
		if from == "" {
			if slices.ContainsFunc(pkg.Files, func(f File) bool { return !f.Test() }) {
				findings = append(findings, Finding{
					token.Position{Filename: pkg.Path},
					"package has no layer",
					"add it to the table in tests/layers/layers_test.go, in the lowest layer above all that it imports",
				})
			}
			continue
		}
		for _, file := range pkg.Files {
			if file.Test() {
				continue
			}
			t.imported(file, func(pos token.Position, importPath string) {
				to, ok := t.local(importPath)
				if !ok {
					return
				}
				if problem := r.judge(from, fromRank, to); problem != "" {
					findings = append(findings, Finding{
						pos, problem,
						"move what is shared into a lower layer, or declare the interface that you need and let the layer above pass the value in",
					})
				}
			})
		}
	}
	return sorted(findings)
}

// judge says what is wrong with an import of directory to, "" when nothing is.
func (r Rules) judge(from string, fromRank int, to string) string {
	if within(to, "tests") {
		return fmt.Sprintf("%s imports %s: only tests may", from, to)
	}
	unit, rank := r.unit(to)
	switch {
	case unit == "" || unit == from: // an unknown package is reported for itself
		return ""
	case rank == fromRank:
		return fmt.Sprintf("%s imports %s: both are of layer %s and siblings do not know each other", from, unit, r.Layers[rank].Name)
	case rank < fromRank:
		return fmt.Sprintf("%s (%s) imports %s (%s): imports point downward only", from, r.Layers[fromRank].Name, unit, r.Layers[rank].Name)
	}
	return ""
}

// unit returns the entry of the table that covers a directory, and the index
// of its layer counted from the top; "" when there is none.
func (r Rules) unit(dir string) (name string, rank int) {
	for i, layer := range r.Layers {
		for _, entry := range layer.Packages {
			if within(dir, entry) && len(entry) > len(name) {
				name, rank = entry, i
			}
		}
	}
	return name, rank
}

// Strangers returns the imports of third-party modules outside their home.
// Modules without a home in the table may be imported anywhere.
func (r Rules) Strangers(t *Tree) []Finding {
	var findings []Finding
	for _, pkg := range t.Packages {
		for _, file := range pkg.Files {
			if file.Test() || within(pkg.Path, "tests") {
				continue
			}
			t.imported(file, func(pos token.Position, importPath string) {
				home, ok := r.home(importPath)
				if !ok || slices.ContainsFunc(home.Packages, func(p string) bool { return within(pkg.Path, p) }) {
					return
				}
				findings = append(findings, Finding{
					pos, fmt.Sprintf("%s imports %s, whose home is %s", pkg.Path, importPath, strings.Join(home.Packages, ", ")),
					"use what its home offers, or widen that home in tests/layers/layers_test.go and say why",
				})
			})
		}
	}
	return sorted(findings)
}

func (r Rules) home(importPath string) (found Home, ok bool) {
	for _, h := range r.Homes {
		if within(importPath, h.Import) && len(h.Import) > len(found.Import) {
			found, ok = h, true
		}
	}
	return found, ok
}

// Linked returns what the commands of the tree link although they must not.
// deps answers the import paths that a command links, as [Deps] does.
func (r Rules) Linked(t *Tree, deps func(command string) ([]string, error)) ([]Finding, error) {
	var findings []Finding
	for _, link := range r.Links {
		if !slices.ContainsFunc(t.Packages, func(p Package) bool { return p.Path == link.Command }) {
			continue
		}
		linked, err := deps(link.Command)
		if err != nil {
			return nil, err
		}
		for _, importPath := range linked {
			for _, banned := range link.MustNot {
				dir, isLocal := t.local(importPath)
				if within(importPath, banned) || isLocal && within(dir, banned) {
					findings = append(findings, Finding{
						token.Position{Filename: link.Command},
						fmt.Sprintf("links %s: %s", importPath, link.Why),
						fmt.Sprintf("find the import with `go mod why %s` or `go list -deps ./%s` and cut it", importPath, link.Command),
					})
				}
			}
		}
	}
	return sorted(findings), nil
}

// Deps asks the go command for the import paths that the command in directory
// dir of the module at root links.
func Deps(root, dir string) ([]string, error) {
	cmd := exec.Command("go", "list", "-deps", "./"+dir)
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list what %s links: %w", dir, err)
	}
	return strings.Fields(string(out)), nil
}

package layers

import (
	"errors"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// fake is a table for a module of three layers.
func fake() Rules {
	return Rules{
		Layers: []Layer{
			{"top", []string{"cmd"}},
			{"middle", []string{"internal/left", "internal/right", "internal/left/free"}},
			{"bottom", []string{"internal/base"}},
		},
		Homes: []Home{
			{"example.org/web", []string{"internal/left"}},
			{"example.org/web/types", []string{"internal/left", "internal/right"}},
			{"example.org/nowhere", nil},
		},
		Links: []Link{
			{"cmd/tool", []string{"internal/right", "example.org/web"}, "tools do not serve"},
			{"cmd/later", []string{"internal/base"}, "not written yet"},
		},
	}
}

// parse makes a tree of the module "m" out of a txtar archive.
func parse(t *testing.T, archive string) *Tree {
	t.Helper()
	files := make(map[string][]byte)
	for _, f := range txtar.Parse([]byte(archive)).Files {
		files[f.Name] = f.Data
	}
	tree, err := Parse("m", files)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// expect compares findings with one "place: part of the text" per line.
func expect(t *testing.T, findings []Finding, want ...string) {
	t.Helper()
	for i, f := range findings {
		if f.Problem == "" || f.Fix == "" {
			t.Errorf("finding without problem or fix: %q", f)
		}
		if i >= len(want) {
			t.Errorf("unexpected finding: %s", f)
			continue
		}
		place, text, _ := strings.Cut(want[i], ": ")
		if !strings.HasPrefix(f.String(), place+":") || !strings.Contains(f.String(), text) {
			t.Errorf("finding %d is %q, want %q", i, f, want[i])
		}
	}
	for _, w := range want[min(len(findings), len(want)):] {
		t.Errorf("not found: %s", w)
	}
}

func TestDirection(t *testing.T) {
	for _, tc := range []struct{ name, archive, want string }{
		{name: "downward is fine", archive: `
-- cmd/tool/main.go --
package main
import _ "m/internal/left"
-- internal/left/a.go --
package left
import _ "m/internal/base"
import _ "fmt"
-- internal/base/a.go --
package base
`},
		{name: "upward", want: "internal/base/a.go:2:8: internal/base (bottom) imports internal/left (middle): imports point downward only", archive: `
-- internal/base/a.go --
package base
import _ "m/internal/left/deeper"
`},
		{name: "siblings", want: "internal/left/a.go:2:8: both are of layer middle", archive: `
-- internal/left/a.go --
package left
import _ "m/internal/right"
`},
		{name: "parts of one unit know each other", archive: `
-- internal/left/a.go --
package left
import _ "m/internal/left/part"
-- internal/left/part/a.go --
package part
`},
		{name: "a longer entry is a unit of its own", want: "internal/left/a.go:2:8: imports internal/left/free", archive: `
-- internal/left/a.go --
package left
import _ "m/internal/left/free"
`},
		{name: "a similar name is another package", want: "internal/leftover: package has no layer", archive: `
-- internal/leftover/a.go --
package leftover
`},
		{name: "files of other platforms count", want: "internal/base/a_windows.go:2:8: imports point downward", archive: `
-- internal/base/a_windows.go --
package base
import _ "m/internal/left"
`},
		{name: "tests may look up", archive: `
-- internal/base/a_test.go --
package base_test
import _ "m/internal/left"
-- tests/x/x.go --
package x
import _ "m/internal/base"
`},
		{name: "nothing that is built imports tests", want: "internal/base/a.go:2:8: only tests may", archive: `
-- internal/base/a.go --
package base
import _ "m/tests/x"
`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			expect(t, fake().Direction(parse(t, tc.archive)), wanted(tc.want)...)
		})
	}
}

func wanted(want string) []string {
	if want == "" {
		return nil
	}
	return strings.Split(want, "\n")
}

func TestStrangers(t *testing.T) {
	tree := parse(t, `
-- internal/left/a.go --
package left
import _ "example.org/web"
import _ "example.org/web/router"
-- internal/right/a.go --
package right
import _ "example.org/web/types"
import _ "example.org/web/router"
import _ "example.org/website"
-- internal/right/a_test.go --
package right
import _ "example.org/web"
-- internal/base/a.go --
package base
import _ "example.org/nowhere"
`)
	expect(t, fake().Strangers(tree),
		"internal/base/a.go:2:8: internal/base imports example.org/nowhere",
		"internal/right/a.go:3:8: internal/right imports example.org/web/router, whose home is internal/left;",
	)
}

func TestLinked(t *testing.T) {
	tree := parse(t, "-- cmd/tool/main.go --\npackage main\n")
	links := map[string][]string{"cmd/tool": {"fmt", "example.org/website", "m/internal/base", "m/internal/right/deep", "example.org/web"}}
	findings, err := fake().Linked(tree, func(command string) ([]string, error) { return links[command], nil })
	if err != nil {
		t.Fatal(err)
	}
	expect(t, findings,
		"cmd/tool: links m/internal/right/deep: tools do not serve",
		"cmd/tool: links example.org/web: tools do not serve",
	)
	broken := errors.New("no go command")
	if _, err := fake().Linked(tree, func(string) ([]string, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("error %v, want %v: rules that cannot be checked do not hold", err, broken)
	}
}

func TestLoadLeavesOutWhatGoLeavesOut(t *testing.T) {
	tree, err := Load(module, root)
	if err != nil {
		t.Fatal(err)
	}
	var here bool
	for _, pkg := range tree.Packages {
		here = here || pkg.Path == "tests/layers"
		if strings.Contains(pkg.Path, "testdata") || within(pkg.Path, "tests/judges") || strings.HasPrefix(pkg.Path, ".") {
			t.Errorf("%s is not part of the module", pkg.Path)
		}
	}
	if !here {
		t.Error("this package is missing from the tree")
	}
	if _, err := Load(module, "no such directory"); err == nil {
		t.Error("a tree that cannot be read was accepted")
	}
}

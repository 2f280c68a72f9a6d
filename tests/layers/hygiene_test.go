package layers

import (
	"strings"
	"testing"
)

func TestHygieneFindings(t *testing.T) {
	for _, tc := range []struct{ name, archive, want string }{
		{name: "clean", archive: `
-- internal/a/a.go --
// Package a is documented.
package a

// F does nothing.
func F() {}
-- internal/a/a_test.go --
package a
`},
		{name: "sizes", want: "cmd/x/main.go:2:1: main.go has 5 lines, more than 3\ninternal/a/a.go:2:1: file has 10 lines, more than 9\ninternal/a/a.go:6:1: function f has 4 lines, more than 3", archive: `
-- cmd/x/main.go --
// Command x.
package main

func main() {
}
-- internal/a/a.go --
// Package a is documented.
package a

func g() {}

func f() {

	g()
}

-- internal/a/main.go --
package a




-- internal/a/a_test.go --
package a
func TestX() {



}
`},
		{name: "no package comment", want: "internal/a/a.go:1:1: package internal/a has no package comment", archive: `
-- internal/a/a.go --
package a
-- internal/a/a_test.go --
// Package a has a comment where nobody looks.
package a
`},
		{name: "init", want: "internal/a/a.go:3:1: func init", archive: `
-- internal/a/a.go --
// Package a.
package a
func init() {}
func (t t) init() {}
type t int
`},
		{name: "exports without comments", archive: `
-- internal/a/a.go --
// Package a.
package a
func F() {}
type T int
func (T) M() {}
func (*T) Error() string { return "" }
func (u) M() {}
type u int
-- internal/b/b.go --
// Package b.
package b
const (
	A = 1
	B = 2 // the second
)
// Explained together.
const C, D = 3, 4
`, want: `internal/a/a.go:3:1: exported F has no comment
internal/a/a.go:4:6: exported T
internal/a/a.go:5:1: exported M
internal/b/b.go:4:2: exported A`},
		{name: "sleeping tests", want: "internal/a/a_test.go:3:16: test sleeps\ninternal/a/b_test.go:3:16: test sleeps", archive: `
-- internal/a/a_test.go --
package a
import "time"
func TestA() { time.Sleep(1) }
-- internal/a/b_test.go --
package a
import clock "time"
func TestB() { clock.Sleep(1) }
-- internal/a/c_test.go --
package a
import "example.org/time2"
func TestC() { time.Sleep(1) }
`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			limits := Limits{File: 9, Function: 3, Main: 3}
			expect(t, limits.Hygiene(parse(t, tc.archive)), wanted(tc.want)...)
		})
	}
}

// Each declaration stands alone in a package with the functions below it.
func TestGlobals(t *testing.T) {
	for _, tc := range []struct{ name, source, want string }{
		{"a table that is only read", `var t = map[string]int{"a": 1}; func f() int { return t["a"] }`, ""},
		{"sentinels and patterns", `import ("errors"; "fmt"; "regexp"); var (e = errors.New("x"); w = fmt.Errorf("y: %w", e); p = regexp.MustCompile("z"))`, ""},
		{"computed once on demand", `import "sync"; var f = sync.OnceValue(func() int { return 1 })`, ""},
		{"embedded files", "import \"embed\"\n//go:embed a.txt\nvar files embed.FS\n", ""},
		{"an interface check", `var _ error = (*t)(nil); type t struct{}; func (*t) Error() string { return "" }`, ""},
		{"conversions", `type t string; var a, b = t("x"), []byte("y")`, ""},
		{"a local variable of the same name", `var t = 1; func f() { t := 2; t++; _ = t }`, ""},
		{"a field of the same name", `var t = 1; type s struct{ t int }; func (x *s) f() { x.t = 2 }`, ""},

		{"starts empty", `var t int`, "starts without a value"},
		{"made to be filled", `var t = make(map[string]int)`, "starts empty"},
		{"a lock", `import "sync"; var mu = sync.Mutex{}`, "shared and synchronised"},
		{"an atomic under another name", `import at "sync/atomic"; var n = &at.Int64{}`, "shared and synchronised"},
		{"work before main", `import "os"; var home = os.Getenv("HOME")`, "made by calling os.Getenv before main"},
		{"own work before main", `func load() int { return 1 }; var t = load()`, "made by calling load before main"},
		{"work inside a table", `func load() int { return 1 }; var t = []int{load()}`, "made by calling load before main"},
		{"work with two results", `func load() (int, error) { return 1, nil }; var t, err = load()`, "several results"},
		{"assigned", `var t = 1; func f() { t = 2 }`, "variable t is assigned"},
		{"an element is assigned", `var t = map[string]int{}; func f() { t["a"] = 1 }`, "variable t is assigned"},
		{"a field is assigned", `var t = struct{ a []int }{}; func f() { t.a[0] = 1 }`, "variable t is assigned"},
		{"counted", `var t = 1; func f() { t++ }`, "variable t is counted"},
		{"emptied", `var t = map[string]int{"a": 1}; func f() { delete(t, "a") }`, "variable t is emptied"},
		{"by its address", `var t = 1; func f() *int { return &t }`, "variable t is handed out"},
		{"by a loop", `var t = 1; func f() { for t = range 3 { } }`, "variable t is assigned"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			source := "// Package a is documented.\npackage a\n" + tc.source + "\n"
			tree, err := Parse("m", map[string][]byte{"internal/a/a.go": []byte(source)})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range (Limits{File: 99, Function: 99}).Hygiene(tree) {
				got = append(got, f.String())
			}
			switch all := strings.Join(got, "\n"); {
			case tc.want == "" && all != "":
				t.Errorf("found %s", all)
			case !strings.Contains(all, tc.want):
				t.Errorf("found %q, want %q", all, tc.want)
			}
		})
	}
}

// A test that swaps a variable of its package makes it mutable just the same.
func TestGlobalsChangedByTests(t *testing.T) {
	tree := parse(t, `
-- internal/a/a.go --
// Package a is documented.
package a
var clock = 1
-- internal/a/a_test.go --
package a
func TestX() { clock = 2 }
`)
	expect(t, Limits{File: 99, Function: 99}.Hygiene(tree), "internal/a/a_test.go:2:16: variable clock is assigned")
}

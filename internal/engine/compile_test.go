package engine

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"pgregory.net/rapid"
)

// Modules compile, or are refused at the same places, as OPA has it. Its words name
// any one of the ways in which a rule needs itself.
func TestCompilingIsThatOfOPA(t *testing.T) {
	const rules = 5
	refused, compiled := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		texts := []*strings.Builder{{}, {}}
		for i, text := range texts {
			fmt.Fprintf(text, "package p%d\n", i)
		}
		unusual := func() string {
			return rapid.SampledFrom([]string{
				"data.p0.r%d", "data.p1.r%d", "data.p0.f%d(1)", "data.p1.f%d(input.x)", "data.p0[input.x].r%d", "data[input.x].r%d", "input.r%d", "unsafe%d",
			}).Draw(t, "reference")
		}
		edge := func() string {
			if rapid.IntRange(0, 9).Draw(t, "rare") > 1 {
				return fmt.Sprintf(rapid.SampledFrom([]string{"data.p0.r%d", "data.p1.r%d", "input.r%d"}).Draw(t, "usual"), rapid.IntRange(0, rules-1).Draw(t, "to"))
			}
			return fmt.Sprintf(unusual(), rapid.IntRange(0, rules-1).Draw(t, "to"))
		}
		for _, text := range texts {
			for i := range rules {
				switch rapid.IntRange(0, 3).Draw(t, "rule") {
				case 0:
					fmt.Fprintf(text, "r%d := 1 if %s\n", i, edge())
				case 1:
					fmt.Fprintf(text, "r%d contains x if x := %s\n", i, edge())
				case 2:
					fmt.Fprintf(text, "r%d := 1 if { input.a } else := 2 if { %s }\n", i, edge())
				default:
					fmt.Fprintf(text, "r%d := 1\nf%d(x) := y if { x > 0; y := %s }\n", i, i, edge())
				}
			}
		}
		modules := map[string]*ast.Module{}
		for i, text := range texts {
			name := fmt.Sprint("p", i)
			module, err := ast.ParseModule(name, text.String())
			if err != nil {
				t.Fatal(err)
			}
			modules[name] = module
		}
		all := func() *ast.Compiler {
			c := ast.NewCompiler()
			c.SetErrorLimit(0) // none
			return c
		}
		plain := all()
		plain.Compile(modules)
		c, err := compileModules(modules, all)
		if got, want := placesOf(err), placesOf(plain.Errors); !slices.Equal(got, want) {
			t.Fatalf("%s\n%s\ngot  %v\nwant %v", texts[0], texts[1], got, want)
		}
		if err != nil {
			refused++
			return
		}
		compiled++
		for name := range modules {
			if got, want := c.Modules[name].String(), plain.Modules[name].String(); got != want {
				t.Fatalf("compiled to\n%s\nwant\n%s", got, want)
			}
		}
	})
	if refused == 0 || compiled == 0 {
		t.Errorf("%d refused and %d compiled: nothing was compared", refused, compiled)
	}
}

func placesOf(err error) (places []string) {
	list, _ := errors.AsType[ast.Errors](err)
	for _, e := range list {
		places = append(places, fmt.Sprint(e.Location, e.Code))
	}
	slices.Sort(places)
	return places
}

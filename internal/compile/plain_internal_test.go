package compile

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/westworld-charter/charter/internal/space"
)

// A label that the expression misses would be let through by the short way without
// anybody having asked whether it is forbidden.
func TestSpokenFindsEveryLabel(t *testing.T) {
	label := rapid.StringMatching(`[ab.\n]{1,6}`)
	rapid.Check(t, func(t *rapid.T) {
		tables := &tables{Labels: labelTable{Exact: map[string]set{}, Prefixes: map[string]map[string]set{}, Lengths: map[string]int{}}, Clauses: map[string]clauseRow{}}
		var globs []space.Glob
		for _, pattern := range rapid.SliceOfN(rapid.StringMatching(`[ab.*]{1,5}`), 0, 3).Draw(t, "forbidden") {
			glob, err := space.ParseGlob(pattern)
			if err != nil {
				continue
			}
			if err := tables.Labels.add(pattern, "f"); err != nil {
				t.Fatal(err)
			}
			globs = append(globs, glob)
		}
		for _, name := range rapid.SliceOfN(rapid.StringMatching(`[ab.]{1,5}`), 0, 2).Draw(t, "forbid") {
			glob, err := space.ParseGlob(name)
			if err != nil {
				t.Fatal(err)
			}
			tables.Clauses["c."+name] = clauseRow{Forbid: set{name: true}}
			globs = append(globs, glob)
		}
		text, err := tables.spoken()
		if err != nil {
			t.Fatal(err)
		}
		expression, err := regexp.Compile(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		sent := rapid.SliceOfN(label, 0, 3).Draw(t, "sent")
		found := expression.MatchString(strings.Join(sent, "\n"))
		for _, glob := range globs {
			for _, name := range sent {
				if glob.Match(name) && !found {
					t.Fatalf("%s does not find %q, which %s matches", text, name, glob)
				}
			}
		}
		if len(globs) == 0 && found {
			t.Fatalf("%s finds something in %q though nothing is spoken of", text, sent)
		}
	})
}

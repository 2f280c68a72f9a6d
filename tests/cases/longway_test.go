package cases_test

import (
	"reflect"
	"testing"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/engine"
)

// nothingIsPlain stands in for the short way.
const nothingIsPlain = `package charter.plain

clause := input if unknown

id := "none" if unknown

unknown if input == "nobody asks this"
`

// TestCorpusTheLongWay asks all of it with the short way closed. The
// short way is there for speed alone; a difference is a decision that speed changed.
func TestCorpusTheLongWay(t *testing.T) {
	for _, tb := range allTables(t) {
		t.Run(tb.Path, func(t *testing.T) {
			t.Parallel()
			long := withoutShortWay(t, tb.bundle)
			for _, c := range tb.Cases {
				want := eval(t, withState(t, long, c.State), c.Input)
				got := eval(t, withState(t, tb.policy, c.State), c.Input)
				if !reflect.DeepEqual(got, want) {
					t.Errorf("%s: %s:\n got %v\nwant %v", c.Pos, c.Name, got, want)
				}
			}
		})
	}
}

func withoutShortWay(t *testing.T, b *bundle.Bundle) *engine.Policy {
	t.Helper()
	const path = "charter/plain/plain.rego"
	files := map[string][]byte{}
	for _, name := range b.Paths() {
		files[name], _ = b.File(name)
	}
	if _, ok := files[path]; !ok {
		t.Fatalf("the bundle has no %s", path)
	}
	files[path] = []byte(nothingIsPlain)
	changed, err := bundle.New(files)
	if err != nil {
		t.Fatal(err)
	}
	policy, err := engine.Prepare(t.Context(), changed, nil)
	if err != nil {
		t.Fatal(err)
	}
	return policy
}

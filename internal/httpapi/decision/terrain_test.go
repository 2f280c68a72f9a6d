package decisionapi

import (
	"fmt"
	"testing"

	"github.com/westworld-charter/charter/internal/charter"
)

func terrainOf(t *testing.T, patterns ...string) *terrain {
	t.Helper()
	c := &charter.Charter{}
	c.Metrics = []charter.Category{{Name: "net"}}
	for i, p := range patterns {
		c.Metrics[0].Clauses = append(c.Metrics[0].Clauses, charter.Clause{ID: fmt.Sprint("c", i), Match: []string{p}})
	}
	got, err := survey(c)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// A witness that is an exact name would be decided by the clause of that name.
func TestWitnessIsNoExactName(t *testing.T) {
	first := terrainOf(t, "a_*").globs[0].witness
	second := terrainOf(t, "a_*", first).globs[0]
	if second.witness == first || second.witness == "" || !second.exact {
		t.Errorf("%+v after %q", second, first)
	}
	names := []string{"a_*"}
	for range maxTries {
		names = append(names, terrainOf(t, names...).globs[0].witness)
	}
	if last := terrainOf(t, names...).globs[0]; last.exact || last.witness != "" {
		t.Errorf("after %d names: %+v", maxTries, last)
	}
}

func TestRegions(t *testing.T) {
	got := terrainOf(t, "a*", "*", "ab*", "*b")
	for i, want := range []region{{match: "ab*"}, {match: "a*"}, {match: "*b"}, {match: "*"}} {
		r := got.globs[i]
		if r.match != want.match || r.witness == "" || !r.exact {
			t.Errorf("%d: %+v", i, r)
		}
	}
	if got.outside.witness != "" || !got.outside.exact {
		t.Errorf("nothing is outside of *: %+v", got.outside)
	}
	// Equally specific, and they meet: the node decides which of them selects.
	tie := terrainOf(t, "a*b*", "a*c*")
	if tie.globs[0].exact || tie.globs[1].exact {
		t.Errorf("%+v", tie.globs)
	}
}

// One terrain serves all requests until the charter is another one.
func TestSurveyor(t *testing.T) {
	s, c := &surveyor{}, &charter.Charter{}
	first, err := s.terrain(c)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := s.terrain(c); again != first {
		t.Error("surveyed twice")
	}
	if other, _ := s.terrain(&charter.Charter{}); other == first {
		t.Error("the terrain of another charter")
	}
	bad := &charter.Charter{Forbidden: []charter.Forbidden{{Match: []string{"a?"}}}}
	if _, err := s.terrain(bad); err == nil {
		t.Error("a pattern that is none")
	}
	bad = &charter.Charter{Metrics: []charter.Category{{Clauses: []charter.Clause{{Match: []string{"[a]"}}}}}}
	if _, err := s.terrain(bad); err == nil {
		t.Error("a pattern that is none")
	}
}

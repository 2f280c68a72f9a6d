package compile

import (
	"fmt"
	"testing"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/diag"
	"github.com/westworld-charter/charter/internal/space"
)

func parsed(t *testing.T, patterns ...string) []space.Glob {
	t.Helper()
	var globs []space.Glob
	for _, pattern := range patterns {
		g, err := space.ParseGlob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		globs = append(globs, g)
	}
	return globs
}

// Patterns that take away one name after the other must not keep a comparison
// going for ever, and giving up must not look like success.
func TestWitnessGivesUp(t *testing.T) {
	c := &charter.Charter{}
	clause := charter.Clause{ID: "m", Protected: true, Match: []string{"a*"}}
	c.Metrics = []charter.Category{{Name: "net", Clauses: []charter.Clause{clause}}}
	var list diag.List
	p := &protection{derived: newTerrain(c, &list), base: newTerrain(c, &list), list: &list, seen: map[string]bool{}}
	cuts := 0
	metric, verdict := p.witness(parsed(t, "a*"), nil, func(name string) (space.Glob, bool) {
		cuts++
		return parsed(t, name)[0], true
	})
	if verdict != space.Unknown || metric != "" || cuts != maxCuts {
		t.Fatalf("%q %v after %d cuts", metric, verdict, cuts)
	}
	for i := range maxUnproved {
		again := p.settle(0, metric, verdict, nil)
		if again != (i+1 < maxUnproved) {
			t.Fatalf("after %d failures go on is %v", i+1, again)
		}
	}
	if len(list) != maxUnproved || list[0].Code != codeNotProved || !list.HasErrors() {
		t.Fatal(list)
	}
}

// Whatever cannot be read is never taken for narrower than it may be.
func TestNodeSetsOfUnreadableParts(t *testing.T) {
	c := &charter.Charter{}
	c.Nodes.Groups = []charter.Group{{Name: "bad", Match: []string{"a?"}}}
	var list diag.List
	tr := newTerrain(c, &list)
	if !list.HasErrors() {
		t.Error("a pattern that cannot be read was accepted")
	}
	any := nodeSet{open: true}
	one := tr.nodeSet(c.Source, []string{"n1"}, &list)
	for _, node := range []string{"group:bad", "group:none", "n?"} {
		s := tr.nodeSet(c.Source, []string{node}, &list)
		if s.disjoint(one) || one.disjoint(s) || s.within(one) || one.within(s) || !s.within(any) || any.within(s) {
			t.Errorf("%s: %+v", node, s)
		}
	}
}

// A charter built by a program may hold what the language would refuse; Check
// then reports it instead of comparing nonsense.
func TestCheckReportsUnreadablePatterns(t *testing.T) {
	c := &charter.Charter{}
	c.Metrics = []charter.Category{{Name: "net", Clauses: []charter.Clause{{ID: "m", Match: []string{"a", "a[b]"}, Nodes: []string{"n{1}"}}}}}
	c.Forbidden = []charter.Forbidden{{ID: "f", Match: []string{"**"}, Labels: []string{""}}}
	c.Waivers = []charter.Waiver{{ID: "w", Nodes: []string{"!n"}}}
	c.Limits = []charter.Limit{{ID: "l", Nodes: []string{`\`}}}
	list := Check(c)
	if len(list) == 0 {
		t.Fatal("nothing reported")
	}
	messages := map[string]bool{}
	for _, d := range list {
		if d.Code != codeBadGlob || d.Severity != diag.Error {
			t.Errorf("%+v", d)
		}
		messages[d.Message] = true
	}
	if len(messages) != 6 {
		t.Error(fmt.Sprint(len(messages), " findings: ", list))
	}
}

package space

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func collect(visit func(func(int) bool)) []int {
	var all []int
	visit(func(i int) bool { all = append(all, i); return true })
	slices.Sort(all)
	return all
}

// The index must answer as a scan does: a glob that it missed would be a rule
// that does not hold.
func TestIndexAgreesWithScan(t *testing.T) {
	short := names(5)
	rapid.Check(t, func(t *rapid.T) {
		var set []Glob
		for range rapid.IntRange(0, 30).Draw(t, "size") {
			set = append(set, drawGlob(t, "glob"))
		}
		x := NewIndex(set)
		g := drawGlob(t, "question")
		name := rapid.SampledFrom(short).Draw(t, "name")
		var matching, meeting []int
		covered := false
		for i, h := range set {
			if h.Match(name) {
				matching = append(matching, i)
			}
			if Intersects(g, h) {
				meeting = append(meeting, i)
			}
			covered = covered || g.Within(h)
		}
		if got := collect(func(y func(int) bool) { x.Match(name, y) }); !slices.Equal(got, matching) {
			t.Fatalf("%v on %q: %v, want %v", set, name, got, matching)
		}
		if got := collect(func(y func(int) bool) { x.Intersecting(g, y) }); !slices.Equal(got, meeting) {
			t.Fatalf("%v meeting %s: %v, want %v", set, g, got, meeting)
		}
		if x.Covers(g) != covered {
			t.Fatalf("%v covers %s: %v", set, g, x.Covers(g))
		}
	})
}

func TestIndexStopsWhenTold(t *testing.T) {
	x := NewIndex(globs(t, "a", "a", "a*", "a*", "*", "*", "*a*", "*a*", "*a"))
	total := len(collect(func(y func(int) bool) { x.Match("a", y) }))
	if total != 9 {
		t.Fatalf("%d matches", total)
	}
	for _, visit := range []func(func(int) bool){
		func(y func(int) bool) { x.Match("a", y) },
		func(y func(int) bool) { x.Intersecting(x.Glob(2), y) },
		func(y func(int) bool) { x.Intersecting(x.Glob(4), y) },
		func(y func(int) bool) { x.Intersecting(x.Glob(0), y) },
	} {
		for stop := 1; stop <= total; stop++ {
			n := 0
			visit(func(int) bool { n++; return n < stop })
			if n != stop {
				t.Errorf("asked to stop after %d, went on to %d", stop, n)
			}
		}
	}
}

func BenchmarkIndexMatch(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		var set []Glob
		for i := range n {
			set = append(set, glob(b, fmt.Sprintf("exact_%d", i)), glob(b, fmt.Sprintf("prefix_%d_*", i)))
		}
		for i := range 50 {
			set = append(set, glob(b, fmt.Sprintf("*%d_suffix", i)))
		}
		x := NewIndex(set)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				x.Covers(set[1])
				x.Match("prefix_7_bytes_total", func(int) bool { return true })
			}
		})
	}
}

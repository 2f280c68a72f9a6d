package space

import (
	"slices"
	"strings"
)

// Verdict is the answer to "is there such a name".
type Verdict int

// The verdicts. Unknown means that the search budget was spent: callers must
// treat it as the worse of the two.
const (
	Empty Verdict = iota
	Found
	Unknown
)

func (v Verdict) String() string {
	switch v {
	case Empty:
		return "empty"
	case Found:
		return "found"
	default:
		return "unknown"
	}
}

// Witness looks for a non-empty name that every glob of all matches and none of
// none matches. The name is valid UTF-8, usually short, and the same for the
// same arguments. With an empty all every name qualifies that none leaves over.
//
// Nearly all questions are settled without a search, because a single glob is
// only ever covered by another single glob (see [Glob.Within]), and because an
// intersection is empty only if prefixes or suffixes contradict. What remains
// is a breadth-first search over the product of the globs' automata.
func Witness(all, none []Glob) (string, Verdict) {
	all = essential(all)
	for i, g := range all {
		if g.Exact() {
			return exactWitness(g.pattern, all, none)
		}
		for _, h := range all[:i] {
			if !compatible(g, h) {
				return "", Empty
			}
		}
	}
	none = relevant(all, none)
	for _, g := range all {
		if slices.ContainsFunc(none, g.Within) {
			return "", Empty
		}
	}
	other := freshRune(all, none)
	for _, name := range candidates(all, other) {
		if admits(all, none, name) {
			return name, Found
		}
	}
	if len(none) > maxNone {
		return "", Unknown
	}
	return newSearch(all, maximal(none), other).run()
}

// admits reports whether name answers the question.
func admits(all, none []Glob, name string) bool {
	matches := func(g Glob) bool { return g.Match(name) }
	if name == "" || slices.ContainsFunc(none, matches) {
		return false
	}
	return !slices.ContainsFunc(all, func(g Glob) bool { return !g.Match(name) })
}

func exactWitness(name string, all, none []Glob) (string, Verdict) {
	if admits(all, none, name) {
		return name, Found
	}
	return "", Empty
}

// essential drops the globs that others of the list imply.
func essential(all []Glob) []Glob {
	var kept []Glob
	for i, g := range all {
		implied := false
		for j, h := range all {
			// Of two equal globs the first stays.
			implied = implied || i != j && h.Within(g) && (j < i || !g.Within(h))
		}
		if !implied {
			kept = append(kept, g)
		}
	}
	if len(kept) == 0 {
		return []Glob{{pattern: "*", parts: []string{"", ""}}}
	}
	return kept
}

// relevant drops the globs of none that miss some glob of all.
func relevant(all, none []Glob) []Glob {
	var kept []Glob
	for _, g := range none {
		if !slices.ContainsFunc(all, func(h Glob) bool { return !Intersects(g, h) }) {
			kept = append(kept, g)
		}
	}
	return kept
}

// maximal drops the globs that lie within others of the list.
func maximal(none []Glob) []Glob {
	var kept []Glob
	for i, g := range none {
		covered := false
		for j := 0; j < len(none) && !covered; j++ {
			h := none[j]
			covered = i != j && g.Within(h) && (j < i || !h.Within(g))
		}
		if !covered {
			kept = append(kept, g)
		}
	}
	return kept
}

// candidates makes names that all globs match: the longest prefix, the inner
// runs of each glob, the longest suffix, with the gaps filled in several ways.
// The last one of a single glob settles its question: with a character of its
// own in every gap, only a glob that covers the whole can match it.
func candidates(all []Glob, other rune) []string {
	prefix, suffix := "", ""
	var runs, reversed []string
	for _, g := range all {
		if len(g.Prefix()) > len(prefix) {
			prefix = g.Prefix()
		}
		if len(g.suffix()) > len(suffix) {
			suffix = g.suffix()
		}
		runs = append(runs, g.middle()...)
		reversed = append(slices.Clone(g.middle()), reversed...)
	}
	lay := func(middle []string) []string {
		return append(append([]string{prefix}, middle...), suffix)
	}
	gap := string(other)
	names := []string{natural(lay(runs)), strings.Join(lay(runs), ""), strings.Join(lay(runs), gap)}
	if len(all) > 1 {
		names = append(names, natural(lay(reversed)), strings.Join(lay(reversed), gap))
	}
	return names
}

// natural joins runs with an x only where a name would otherwise begin or end
// in a separator, or have two in a row: "node_" and "_total" become
// "node_x_total", "" and "gps" and "" become "gps".
func natural(runs []string) string {
	separator := func(s string, at int) bool {
		return s == "" || strings.IndexByte("_.:-/", s[at]) >= 0
	}
	var b strings.Builder
	for i, run := range runs {
		if i > 0 {
			before := runs[i-1]
			if separator(before, max(len(before)-1, 0)) && separator(run, 0) {
				b.WriteByte('x')
			}
		}
		b.WriteString(run)
	}
	return b.String()
}

// freshRune chooses a character that no glob mentions, one that looks sensible
// in a metric name if there is any left.
func freshRune(lists ...[]Glob) rune {
	used := map[rune]bool{'*': true}
	for _, globs := range lists {
		for _, g := range globs {
			for _, r := range g.pattern {
				used[r] = true
			}
		}
	}
	for _, r := range "xyzqwkvjmnabcdefghiloprstu0123456789XYZQWKVJMNABCDEFGHILOPRSTU" {
		if !used[r] {
			return r
		}
	}
	r := 'à' // lower-case Latin letters, then Greek and so on
	for used[r] {
		r++
	}
	return r
}

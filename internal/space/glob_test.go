package space

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func glob(t testing.TB, pattern string) Glob {
	t.Helper()
	g, err := ParseGlob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func globs(t testing.TB, patterns ...string) []Glob {
	t.Helper()
	var all []Glob
	for _, p := range patterns {
		all = append(all, glob(t, p))
	}
	return all
}

// A pattern that means something else in another glob language must not pass:
// its author would believe in a rule that does not exist.
func TestParseGlobRefuses(t *testing.T) {
	for pattern, want := range map[string]error{
		"":                              ErrEmpty,
		"a?":                            ErrCharacter,
		"[ab]*":                         ErrCharacter,
		"a]":                            ErrCharacter,
		"{a,b}":                         ErrCharacter,
		"a}":                            ErrCharacter,
		"!a":                            ErrCharacter,
		`a\*`:                           ErrCharacter,
		"a\nb":                          ErrCharacter,
		"a\u0085b":                      ErrCharacter,
		"a**b":                          ErrDoubleStar,
		"a\xff":                         ErrEncoding,
		strings.Repeat("a", 513):        ErrTooLong,
		strings.Repeat("a*", 8) + "b*":  ErrStars,
		"*" + strings.Repeat("b*", 8):   ErrStars,
		strings.Repeat("**", MaxStars):  ErrDoubleStar,
		strings.Repeat("é", 256) + "é*": ErrTooLong,
	} {
		if _, err := ParseGlob(pattern); !errors.Is(err, want) {
			t.Errorf("ParseGlob(%q) = %v, want %v", pattern, err, want)
		}
	}
}

func TestGlobParts(t *testing.T) {
	for _, c := range []struct {
		pattern, prefix, longest string
		exact                    bool
		literals, rank           int
	}{
		{"cpu", "cpu", "cpu", true, 3, 3*4096 + 3},
		{"node_*", "node_", "node_", false, 5, 5*4096 + 5},
		{"node_*_total", "node_", "_total", false, 11, 5*4096 + 11},
		{"*gps*", "", "gps", false, 3, 3},
		{"*", "", "", false, 0, 0},
		{"a*bb*cc", "a", "bb", false, 5, 4096 + 5},
		{"é*", "é", "é", false, 2, 2*4096 + 2},
	} {
		g := glob(t, c.pattern)
		if g.String() != c.pattern || g.Prefix() != c.prefix || g.Longest() != c.longest ||
			g.Exact() != c.exact || g.Literals() != c.literals || g.Rank() != c.rank {
			t.Errorf("%s: prefix %q longest %q exact %v literals %d rank %d", g, g.Prefix(), g.Longest(), g.Exact(), g.Literals(), g.Rank())
		}
	}
	if long := glob(t, "a*"); long.Rank() <= glob(t, "*"+strings.Repeat("b", 511)).Rank() {
		t.Error("one byte of prefix must outweigh any number of other literals")
	}
	var zero Glob
	if zero.Match("a") || !zero.Exact() || zero.Prefix() != "" || zero.suffix() != "" || zero.Rank() != 0 {
		t.Error("the zero Glob must match no name")
	}
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern string
		yes, no []string
	}{
		{"a", []string{"a"}, []string{"", "aa", "b", "*"}},
		{"a*", []string{"a", "ab", "a.b/c"}, []string{"", "ba"}},
		{"*a", []string{"a", "ba"}, []string{"ab"}},
		{"ab*ba", []string{"abba", "abxba"}, []string{"aba"}},
		{"*ab*ab*", []string{"abab", "xabxabx"}, []string{"ab", "aba"}},
		{"a*b*c", []string{"abc", "aXbXc", "abbc"}, []string{"acb", "ac"}},
		{"*_location*", []string{"gps_location", "x_location_y"}, []string{"location"}},
		{"*", []string{"a", "é", "."}, nil},
		{"*é", []string{"é", "aé"}, []string{"e"}},
	} {
		g := glob(t, c.pattern)
		for _, s := range c.yes {
			if !g.Match(s) {
				t.Errorf("%s must match %q", g, s)
			}
		}
		for _, s := range c.no {
			if g.Match(s) {
				t.Errorf("%s must not match %q", g, s)
			}
		}
	}
}

// naive is the definition of matching, by backtracking.
func naive(pattern, s string) bool {
	if pattern == "" {
		return s == ""
	}
	if pattern[0] == '*' {
		return naive(pattern[1:], s) || s != "" && naive(pattern, s[1:])
	}
	return s != "" && s[0] == pattern[0] && naive(pattern[1:], s[1:])
}

// drawGlob draws a glob over a two-letter alphabet, where overlaps abound.
func drawGlob(t *rapid.T, label string) Glob {
	pattern := rapid.StringMatching(`[ab]{0,2}(\*[ab]{1,2}){0,2}\*?`).Filter(func(s string) bool { return s != "" }).Draw(t, label)
	g, err := ParseGlob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// names are all names of up to n characters over a, b and a character that no
// pattern mentions.
func names(n int) []string {
	all, last := []string(nil), []string{""}
	for range n {
		var next []string
		for _, s := range last {
			next = append(next, s+"a", s+"b", s+"x")
		}
		all, last = append(all, next...), next
	}
	return all
}

func TestMatchAgreesWithDefinition(t *testing.T) {
	all := names(6)
	rapid.Check(t, func(t *rapid.T) {
		g := drawGlob(t, "glob")
		for _, s := range all {
			if g.Match(s) != naive(g.String(), s) {
				t.Fatalf("%s on %q: %v", g, s, g.Match(s))
			}
		}
	})
}

func TestWithinAndIntersectsAgreeWithBruteForce(t *testing.T) {
	all := names(7)
	rapid.Check(t, func(t *rapid.T) {
		g, h := drawGlob(t, "g"), drawGlob(t, "h")
		within, meet := true, false
		for _, s := range all {
			within = within && (!g.Match(s) || h.Match(s))
			meet = meet || g.Match(s) && h.Match(s)
		}
		// Short names refute; what only a longer one shows, that name has to show.
		if name, _ := Witness([]Glob{g}, []Glob{h}); within && naive(g.String(), name) && !naive(h.String(), name) {
			within = false
		}
		if name, _ := Witness([]Glob{g, h}, nil); !meet && naive(g.String(), name) && naive(h.String(), name) {
			meet = true
		}
		if g.Within(h) != within {
			t.Fatalf("%s within %s: %v", g, h, g.Within(h))
		}
		if Intersects(g, h) != meet || Intersects(h, g) != meet {
			t.Fatalf("%s meets %s: %v", g, h, Intersects(g, h))
		}
	})
}

func FuzzParseGlob(f *testing.F) {
	for _, s := range []string{"node_*_total", "*gps*", "a", "*", "é*", "a**", "?", "a*b*c*d*e*f*g*h*i"} {
		f.Add(s, "node_cpu_total")
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		g, err := ParseGlob(pattern)
		if err != nil {
			return
		}
		if g.String() != pattern || !g.Match(strings.ReplaceAll(pattern, "*", "")) || !g.Match(pattern) {
			t.Fatalf("%q does not match its own text", pattern)
		}
		if len(name) < 64 && g.Match(name) != naive(pattern, name) {
			t.Fatalf("%q on %q", pattern, name)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	for _, c := range [][2]string{
		{"node_*", "node_network_receive_bytes_total"},
		{"*_location*", "node_network_receive_bytes_total"},
		{"*a*a*a*a*a*a*a*b", strings.Repeat("a", 500)},
	} {
		g := glob(b, c[0])
		b.Run(c[0], func(b *testing.B) {
			for b.Loop() {
				g.Match(c[1])
			}
		})
	}
}

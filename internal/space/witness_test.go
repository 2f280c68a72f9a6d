package space

import (
	"fmt"
	"math/rand"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestWitness(t *testing.T) {
	for _, c := range []struct {
		all, none []string
		want      string
		verdict   Verdict
	}{
		{nil, nil, "x", Found},
		{nil, []string{"*"}, "", Empty},
		{[]string{"node_*"}, nil, "node_x", Found},
		{[]string{"node_*"}, []string{"node_x", "node_"}, "node_y", Found},
		{[]string{"*gps*"}, nil, "gps", Found},
		{[]string{"*_location*"}, nil, "x_location", Found},
		{[]string{"node_*_total"}, nil, "node_x_total", Found},
		{[]string{"node_*"}, []string{"no*"}, "", Empty},
		{[]string{"cpu"}, []string{"c*"}, "", Empty},
		{[]string{"cpu", "c*"}, []string{"*x"}, "cpu", Found},
		{[]string{"cpu", "mem"}, nil, "", Empty},
		{[]string{"a*", "b*"}, nil, "", Empty},
		{[]string{"*a", "*b"}, nil, "", Empty},
		{[]string{"a*", "*b", "ab*"}, nil, "abb", Found},
		// A union never covers a single glob, but it can cover an intersection.
		{[]string{"*a*", "*b*"}, []string{"*a*b*"}, "ba", Found},
		{[]string{"*a*", "*b*"}, []string{"*a*b*", "*b*a*"}, "", Empty},
		{[]string{"a*", "*a"}, []string{"a*a"}, "a", Found},
		{[]string{"a*", "*a"}, []string{"a*a", "a"}, "", Empty},
		{[]string{"aba*", "*aba"}, []string{"aba*aba", "aba"}, "ababa", Found},
		{[]string{"aba*", "*aba"}, []string{"aba*aba", "aba", "ababa"}, "", Empty},
		{[]string{"é*", "*é"}, []string{"é*é"}, "é", Found},
		{[]string{"*"}, []string{"a*", "b*", "*x*", "*y*"}, "z", Found},
	} {
		name, verdict := Witness(globs(t, c.all...), globs(t, c.none...))
		if name != c.want || verdict != c.verdict {
			t.Errorf("Witness(%q, %q) = %q %v, want %q %v", c.all, c.none, name, verdict, c.want, c.verdict)
		}
	}
}

// An alphabet that the patterns use up must not turn "some" into "none".
func TestWitnessFindsACharacterOfItsOwn(t *testing.T) {
	var none []Glob
	for r := rune(33); r < 0x250; r++ {
		if g, err := ParseGlob("*" + string(r) + "*"); err == nil && !g.Match("ab") && r != '*' {
			none = append(none, g)
		}
	}
	name, verdict := Witness(globs(t, "*"), append(none, globs(t, "*a*", "*b*")...))
	if verdict != Found || !utf8.ValidString(name) {
		t.Fatalf("%q %v", name, verdict)
	}
}

// The answer is what every refusal of the compiler stands on, so it is compared
// with trying all short names.
func TestWitnessAgreesWithBruteForce(t *testing.T) {
	short := names(7)
	rapid.Check(t, func(t *rapid.T) {
		var all, none []Glob
		for range rapid.IntRange(1, 3).Draw(t, "all") {
			all = append(all, drawGlob(t, "in"))
		}
		for range rapid.IntRange(0, 4).Draw(t, "none") {
			none = append(none, drawGlob(t, "out"))
		}
		name, verdict := Witness(all, none)
		switch verdict {
		case Found:
			if !admits(all, none, name) {
				t.Fatalf("%v minus %v: %q is no witness", all, none, name)
			}
		case Empty:
			for _, s := range short {
				if admits(all, none, s) {
					t.Fatalf("%v minus %v: %q was missed", all, none, s)
				}
			}
		default:
			t.Fatalf("%v minus %v: gave up", all, none)
		}
	})
}

// The search alone, without the quick answers in front of it, must be exact too.
func TestSearchAgreesWithBruteForce(t *testing.T) {
	short := names(7)
	rapid.Check(t, func(t *rapid.T) {
		all := []Glob{drawGlob(t, "in"), drawGlob(t, "in")}
		none := []Glob{drawGlob(t, "out"), drawGlob(t, "out"), drawGlob(t, "out")}
		name, verdict := newSearch(all, none, 'x').run()
		want := ""
		for _, s := range short {
			if admits(all, none, s) {
				want = s
				break
			}
		}
		if verdict == Unknown || (verdict == Found) != (name != "") || len(name) < len(want) ||
			want != "" && len(name) != len(want) || verdict == Found && !admits(all, none, name) {
			t.Fatalf("%v minus %v: %q %v, brute force %q", all, none, name, verdict, want)
		}
	})
}

// Nobody may stall a validator with patterns chosen to make it search: without the
// budget this test would not end.
func TestWitnessStaysWithinItsBudget(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	hostile := func(n int) []Glob {
		var out []Glob
		for range n {
			var b strings.Builder
			for range MaxStars {
				fmt.Fprintf(&b, "*%s", strings.Repeat(string(rune('a'+r.Intn(3))), 1+r.Intn(3)))
			}
			out = append(out, glob(t, b.String()))
		}
		return out
	}
	unknown := 0
	for range 50 {
		all, none := hostile(2+r.Intn(5)), hostile(30)
		name, verdict := Witness(all, none)
		if verdict == Found && !admits(all, none, name) {
			t.Fatalf("%q is no witness", name)
		}
		if verdict == Unknown {
			unknown++
		}
	}
	t.Logf("%d of 50 unknown", unknown)
	var many []Glob
	for i := range maxNone + 1 {
		many = append(many, glob(t, fmt.Sprintf("*a*b*%d*", i)))
	}
	if _, v := Witness(globs(t, "*a*", "*b*"), append(many, globs(t, "*a", "*b", "*ab*", "*ba*", "*axb*", "*bxa*")...)); v == Empty {
		t.Error("an unproved emptiness was claimed")
	}
}

func TestVerdictString(t *testing.T) {
	if s := fmt.Sprint(Empty, Found, Unknown); s != "empty found unknown" {
		t.Error(s)
	}
}

func FuzzWitness(f *testing.F) {
	f.Add("a*", "*b", "ab", "a*b")
	f.Add("*a*", "*b*", "*a*b*", "*b*a*")
	f.Add("é*", "*é", "é", "é*é")
	f.Fuzz(func(t *testing.T, a, b, c, d string) {
		var parsed []Glob
		for _, s := range []string{a, b, c, d} {
			g, err := ParseGlob(s)
			if err != nil || len(s) > 64 {
				return
			}
			parsed = append(parsed, g)
		}
		name, verdict := Witness(parsed[:2], parsed[2:])
		if verdict == Found && (!admits(parsed[:2], parsed[2:], name) || !utf8.ValidString(name)) {
			t.Fatalf("%q is no witness", name)
		}
		if verdict == Empty {
			for _, s := range []string{a, b, c, d, a + b, b + a, "x"} {
				if admits(parsed[:2], parsed[2:], s) {
					t.Fatalf("%q was missed", s)
				}
			}
		}
	})
}

func BenchmarkWitness(b *testing.B) {
	for name, c := range map[string][2][]string{
		"one":    {{"node_*_total"}, {"node_cpu_*", "node_x"}},
		"quick":  {{"node_*", "*_total"}, {"node_cpu_*", "*gps*"}},
		"search": {{"*a*", "*b*"}, {"*a*b*", "*b*a*"}},
	} {
		all, none := globs(b, c[0]...), globs(b, c[1]...)
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				Witness(all, none)
			}
		})
	}
}

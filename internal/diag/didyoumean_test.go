package diag

import (
	"testing"

	"pgregory.net/rapid"
)

func TestDidYouMean(t *testing.T) {
	fields := []string{"access", "access_levels", "retention", "match", "id", "purposes", "labels", "mode"}
	for _, c := range []struct {
		word string
		in   []string
		want string
	}{
		{"acess", fields, "access"},
		{"acces_levels", fields, "access_levels"},
		{"access-levels", fields, "access_levels"},
		{"retnetion", fields, "retention"},
		{"Match", fields, "match"},
		{"xyz", fields, ""},
		{"di", fields, "id"},
		{"q", fields, ""},
		{"", fields, ""},
		{"retention", fields, ""}, // it is there: nothing else was meant
		{"ab", []string{"ac", "aa"}, "aa"},
		{"latency_p5", []string{"latency_p95", "latency_p50"}, "latency_p50"},
		{"latency_p59", []string{"latency_p99", "latency_p95"}, "latency_p95"},
		{"kapazität", []string{"kapazitat"}, "kapazitat"},
		{"word", nil, ""},
	} {
		if got := DidYouMean(c.word, c.in); got != c.want {
			t.Errorf("DidYouMean(%q) = %q, want %q", c.word, got, c.want)
		}
	}
}

// The suggestion must not depend on the order of the candidates, or output would
// change from run to run.
func TestDidYouMeanIgnoresOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.StringMatching(`[a-c]{1,6}`), 1, 8).Draw(t, "candidates")
		word := rapid.StringMatching(`[a-c]{1,6}`).Draw(t, "word")
		shuffled := rapid.Permutation(words).Draw(t, "shuffled")
		if a, b := DidYouMean(word, words), DidYouMean(word, shuffled); a != b {
			t.Fatalf("%q and %q for %q", a, b, word)
		}
	})
}

// Any single slip of a word of some length must be found.
func TestDidYouMeanFindsOneSlip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringMatching(`[a-z]{4,12}`).Draw(t, "word")
		at := rapid.IntRange(0, len(word)-2).Draw(t, "at")
		slips := []string{
			word[:at] + word[at+1:],
			word[:at] + "_" + word[at:],
			word[:at] + string(word[at+1]) + string(word[at]) + word[at+2:],
		}
		slip := rapid.SampledFrom(slips).Draw(t, "slip")
		if slip != word && DidYouMean(slip, []string{word}) != word {
			t.Fatalf("%q is not found from %q", word, slip)
		}
	})
}

func FuzzVisible(f *testing.F) {
	f.Add("a\x1b[0m\xff\u202e\n\t\U000e0041")
	f.Fuzz(func(t *testing.T, s string) {
		for _, r := range visible(s) {
			if unsafe(r) {
				t.Fatalf("%U survives in %q", r, visible(s))
			}
		}
		excerpt(s, len(s)/2)
	})
}

// reference is the textbook's table, filled in completely.
func reference(a, b string) int {
	x, y := folded(nil, a), folded(nil, b)
	d := make([][]int, len(x)+1)
	for i := range d {
		d[i] = make([]int, len(y)+1)
		d[i][0] = i
	}
	for j := range d[0] {
		d[0][j] = j
	}
	for i := 1; i <= len(x); i++ {
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, d[i-1][j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(x)][len(y)]
}

// What is left out of the table must not matter.
func TestDistance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringMatching(`[ab]{0,12}|[a-cä]{60,70}`)
		a, limit := word.Draw(t, "a"), rapid.IntRange(0, 3).Draw(t, "limit")
		b := word.Draw(t, "b")
		if rapid.Bool().Draw(t, "near") && len(a) > 3 {
			b = a[:len(a)/2] + rapid.StringMatching(`[ab]{0,3}`).Draw(t, "slip") + a[len(a)/2:]
		}
		want, got := reference(a, b), distance(a, b, limit)
		if want <= limit && got != want || want > limit && got <= limit {
			t.Fatalf("distance of %q and %q within %d: %d, want %d", a, b, limit, got, want)
		}
	})
}

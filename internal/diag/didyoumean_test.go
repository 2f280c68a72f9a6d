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

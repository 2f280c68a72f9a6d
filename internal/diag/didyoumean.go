package diag

// DidYouMean returns the candidate that word was most likely meant to be, or ""
// when none is near. Distance counts insertions, deletions, substitutions and
// transpositions of neighbours (Damerau-Levenshtein, restricted), letter case
// aside; a third of the longer word may differ, at most three characters. Of equally near candidates
// the first in alphabetical order is returned.
func DidYouMean(word string, candidates []string) string {
	best, bestDistance := "", 0
	for _, c := range candidates {
		limit := min((max(len(word), len(c))+1)/3, 3)
		d := distance(word, c, limit)
		if d > limit || c == word {
			continue
		}
		if best == "" || d < bestDistance || d == bestDistance && c < best {
			best, bestDistance = c, d
		}
	}
	return best
}

// distance is the number of edits between two words, or more than limit.
func distance(a, b string, limit int) int {
	x, y := []rune(a), []rune(b)
	if len(x)-len(y) > limit || len(y)-len(x) > limit {
		return limit + 1
	}
	before, prev, row := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(x); i++ {
		row[0] = i
		least := i
		for j := 1; j <= len(y); j++ {
			cost := 1
			if fold(x[i-1]) == fold(y[j-1]) {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && fold(x[i-1]) == fold(y[j-2]) && fold(x[i-2]) == fold(y[j-1]) {
				row[j] = min(row[j], before[j-2]+1)
			}
			least = min(least, row[j])
		}
		if least > limit {
			return limit + 1
		}
		before, prev, row = prev, row, before
	}
	return prev[len(y)]
}

func fold(r rune) rune {
	switch {
	case r >= 'A' && r <= 'Z':
		return r + 'a' - 'A'
	case r == '-':
		return '_'
	}
	return r
}

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

// usualWord is the length in characters up to which comparing takes no memory of
// its own.
const usualWord = 64

// distance is the number of edits between two words, or more than limit. Of the
// table of all prefixes only the cells within limit of the diagonal are filled in:
// further away there are more edits than that.
func distance(a, b string, limit int) int {
	var roomX, roomY [usualWord]rune
	x, y := folded(roomX[:0], a), folded(roomY[:0], b)
	if len(x)-len(y) > limit || len(y)-len(x) > limit {
		return limit + 1
	}
	var room [3][usualWord + 1]int
	before, prev, row := room[0][:], room[1][:], room[2][:]
	if len(y) > usualWord {
		before, prev, row = make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	}
	for j := range min(limit+1, len(y)) + 1 {
		prev[j] = j
	}
	for i := 1; i <= len(x); i++ {
		first, last := max(1, i-limit), min(len(y), i+limit)
		row[first-1] = limit + 1
		if first == 1 {
			row[0] = i
		}
		least := row[first-1]
		for j := first; j <= last; j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
			least = min(least, row[j])
		}
		if last < len(y) {
			row[last+1] = limit + 1
		}
		if least > limit {
			return limit + 1
		}
		before, prev, row = prev, row, before
	}
	return prev[len(y)]
}

func folded(room []rune, word string) []rune {
	for _, r := range word {
		room = append(room, fold(r))
	}
	return room
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

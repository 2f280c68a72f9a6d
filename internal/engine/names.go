package engine

import (
	"slices"
	"strings"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/diag"
)

const (
	// maxNames is how many exact names a charter may have for suggestions to be
	// offered: the index costs time at loading and memory.
	maxNames = 20_000
	// neighbours is how many names are compared on each side of where the
	// misspelt name would stand, which bounds the cost of a suggestion whatever
	// the size of the charter.
	neighbours = 8
)

// names finds what a misspelt metric was meant to be: a name with one slip still
// shares a beginning or an end with the right one, so it stands near it in
// alphabetical order, read forwards or backwards. Nil offers nothing.
type names struct {
	forwards, backwards []string

	memo *memo[string] // what the search found for names that come again
}

func newNames(c *charter.Charter) *names {
	var all []string
	for _, clause := range c.AllClauses() {
		for _, m := range clause.Match {
			if !strings.Contains(m, "*") {
				all = append(all, m)
			}
		}
		if len(all) > maxNames {
			return nil
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	backwards := slices.Clone(all)
	slices.SortFunc(backwards, compareBackwards)
	return &names{forwards: all, backwards: backwards, memo: newMemo[string](memoSize)}
}

// nearest returns a known name near to metric, or "".
func (n *names) nearest(metric string) string {
	if n == nil {
		return ""
	}
	if name := n.memo.get(metric); name != nil {
		return *name
	}
	name := n.search(metric)
	n.memo.put([]byte(metric), name)
	return name
}

func (n *names) search(metric string) string {
	i, _ := slices.BinarySearch(n.forwards, metric)
	j, _ := slices.BinarySearchFunc(n.backwards, metric, compareBackwards)
	candidates := slices.Concat(around(n.forwards, i), around(n.backwards, j))
	return diag.DidYouMean(metric, candidates)
}

func around(sorted []string, i int) []string {
	return sorted[max(0, i-neighbours):min(len(sorted), i+neighbours)]
}

// compareBackwards orders by the last byte first.
func compareBackwards(a, b string) int {
	for i, j := len(a)-1, len(b)-1; i >= 0 && j >= 0; i, j = i-1, j-1 {
		if a[i] != b[j] {
			return int(a[i]) - int(b[j])
		}
	}
	return len(a) - len(b)
}

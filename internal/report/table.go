package report

import (
	"cmp"
	"slices"
)

// DefaultRows is how many rows a table has by default.
const DefaultRows = 10_000

// Breakdown is a count by name, the largest first.
type Breakdown struct {
	Rows []Named `json:"rows"`
	// Other is what a table of limited length has no rows for; absent when all has.
	Other *Figure `json:"other,omitempty"`
}

// Named is a row of a [Breakdown]. The name may be one that a caller chose.
type Named struct {
	Name string `json:"name"`
	Figure
}

// table counts by key. Keys that come when it is full are counted together.
type table[K comparable] struct {
	limit int
	rows  map[K]*Figure
	other Figure
}

func newTable[K comparable](limit int) table[K] { return table[K]{limit: limit, rows: map[K]*Figure{}} }

// add counts n of key from the entry at index.
func (t *table[K]) add(key K, n, index uint64) {
	f := t.rows[key]
	switch {
	case f != nil:
	case len(t.rows) < t.limit:
		f = &Figure{}
		t.rows[key] = f
	default:
		f = &t.other
	}
	f.add(n, index)
}

// rest is what has no rows; nil when all has.
func (t *table[K]) rest() *Figure {
	if t.other.Entries.Count == 0 {
		return nil
	}
	f := t.other.settled()
	return &f
}

// rowsOf makes the rows of a table: by count, the largest first, then by key.
func rowsOf[K comparable, R any](t *table[K], compare func(a, b K) int, row func(K, Figure) R) []R {
	keys := make([]K, 0, len(t.rows))
	for key := range t.rows {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b K) int {
		return cmp.Or(cmp.Compare(t.rows[b].Count, t.rows[a].Count), compare(a, b))
	})
	rows := make([]R, len(keys))
	for i, key := range keys {
		rows[i] = row(key, t.rows[key].settled())
	}
	return rows
}

// breakdown is a table by one name.
func breakdown(t *table[string]) Breakdown {
	return Breakdown{Rows: rowsOf(t, cmp.Compare[string], func(name string, f Figure) Named { return Named{name, f} }), Other: t.rest()}
}

// list keeps the first of what comes, and counts the others.
type list[T any] struct {
	limit int
	items []T
	more  uint64
}

func (l *list[T]) add(item T) {
	if len(l.items) < l.limit {
		l.items = append(l.items, item)
	} else {
		l.more++
	}
}

// all returns the items; a list, not null, when there are none.
func (l *list[T]) all() []T { return append([]T{}, l.items...) }

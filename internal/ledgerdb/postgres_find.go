package ledgerdb

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/westworld-charter/charter/internal/ledger"
)

// Find visits the entries that a filter selects. The server picks them by their
// columns; what is returned was compared with the body, so that a column which
// was changed can hide an entry, which Reconcile finds, and cannot put one where
// it does not belong.
func (p *Postgres) Find(ctx context.Context, f ledger.Filter) iter.Seq2[ledger.Row, error] {
	return func(yield func(ledger.Row, error) bool) {
		in, err := p.within(ctx, &f)
		if err != nil {
			yield(ledger.Row{}, err)
			return
		}
		found := 0
		where := condition(&f)
		pages := newPages()
		for in.from < in.to {
			if f.Limit > 0 && f.Text == "" {
				pages.size = min(pages.size, uint64(f.Limit-found))
			}
			rows, err := query(ctx, p, "find entries", scanEntry, where.sql(f.Newest, pages.size), append(slices.Clone(where.args), in.from, in.to)...)
			if err != nil {
				yield(ledger.Row{}, err)
				return
			}
			for i := range rows {
				if rows[i].Body == nil || !f.Match(rows[i].Columns, rows[i].Body) {
					continue
				}
				if found++; !yield(rows[i], nil) || found == f.Limit {
					return
				}
			}
			if uint64(len(rows)) < pages.size {
				return
			}
			if last := rows[len(rows)-1].Index; f.Newest {
				in.to = last
			} else {
				in.from = last + 1
			}
			pages.next(rows)
		}
	}
}

// where is a condition over columns, with its arguments. The mode of execution
// comes first: planned for these arguments, not for any.
type where struct {
	terms []string
	args  []any
}

func condition(f *ledger.Filter) where {
	w := where{args: []any{pgx.QueryExecModeCacheDescribe}}
	// The second term is as the index says it, or the index is not used.
	w.long("node", f.Node)
	w.long("metric", f.Metric)
	w.long("clause", f.Clause)
	if f.Outcome != "" {
		w.short("outcome", f.Outcome)
	}
	w.short("severity", f.Severities...)
	kinds := make([]string, len(f.Kinds))
	for i, k := range f.Kinds {
		kinds[i] = string(k)
	}
	w.short("kind", kinds...)
	if len(kinds) > 0 && !slices.Contains(f.Kinds, ledger.Denial) {
		w.terms = append(w.terms, fmt.Sprintf("kind <> %d", shortKey(string(ledger.Denial))))
	}
	return w
}

func (w *where) long(column, text string) {
	if text == "" {
		return
	}
	w.args = append(w.args, textKey(text))
	w.terms = append(w.terms, fmt.Sprintf("%s = $%d AND %s <> 0", column, len(w.args)-1, column))
}

func (w *where) short(column string, texts ...string) {
	switch len(texts) {
	case 0:
		return
	case 1:
		w.args = append(w.args, shortKey(texts[0]))
		w.terms = append(w.terms, fmt.Sprintf("%s = $%d", column, len(w.args)-1))
		return
	}
	keys := make([]int32, len(texts))
	for i, text := range texts {
		keys[i] = shortKey(text)
	}
	w.args = append(w.args, keys)
	w.terms = append(w.terms, fmt.Sprintf("%s = ANY($%d)", column, len(w.args)-1))
}

// sql returns the query, whose last arguments are the span of indices.
func (w *where) sql(newest bool, limit uint64) string {
	order := ""
	if newest {
		order = " DESC"
	}
	n := len(w.args)
	terms := append(slices.Clone(w.terms), fmt.Sprintf("idx >= $%d AND idx < $%d", n, n+1))
	return fmt.Sprintf("SELECT idx, hash, body FROM entries WHERE %s ORDER BY idx%s LIMIT %d", strings.Join(terms, " AND "), order, limit)
}

// within returns the indices that a filter can select.
func (p *Postgres) within(ctx context.Context, f *ledger.Filter) (in span, err error) {
	size, _, err := p.Head(ctx)
	if err != nil {
		return in, err
	}
	in = span{min(f.From, size), size}
	if f.Before > 0 {
		in.to = min(in.to, f.Before)
	}
	if !f.Since.IsZero() {
		if in.from, err = p.at(ctx, in, f.Since.UnixNano()); err != nil {
			return in, err
		}
	}
	if !f.Until.IsZero() {
		in.to, err = p.at(ctx, in, f.Until.UnixNano())
	}
	return in, err
}

// at returns the first entry of a span that is not before a time. Time never goes
// back from one entry to the next; pruned entries come first and have none. Each
// round asks for many entries at once: what takes time is asking.
func (p *Postgres) at(ctx context.Context, in span, nanoseconds int64) (uint64, error) {
	type sample struct {
		Index uint64
		Time  int64
	}
	const width = 256
	for in.from < in.to {
		step := (in.to - in.from + width - 1) / width
		samples, err := query(ctx, p, "find a time", pgx.RowToStructByPos[sample],
			"SELECT idx, time FROM entries WHERE idx IN (SELECT generate_series($1::bigint, $2::bigint - 1, $3::bigint)) ORDER BY idx", in.from, in.to, step)
		if err != nil {
			return 0, err
		}
		if len(samples) == 0 {
			return 0, fmt.Errorf("%w: entry %d is missing", ledger.ErrDamaged, in.from)
		}
		i, _ := slices.BinarySearchFunc(samples, nanoseconds, func(s sample, t int64) int {
			if s.Time < t {
				return -1
			}
			return 1
		})
		switch {
		case i == 0: // all of the span is from then on
			return in.from, nil
		case i < len(samples):
			in.to = samples[i].Index
		}
		in.from = samples[i-1].Index + 1
	}
	return in.from, nil
}

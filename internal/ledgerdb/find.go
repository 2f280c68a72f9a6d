package ledgerdb

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sort"
	"strings"

	"github.com/westworld-charter/charter/internal/ledger"
)

// Request returns the entry of a request.
func (s *SQLite) Request(ctx context.Context, principal, id string) (hash [32]byte, index uint64, err error) {
	key := requestKey(principal, id)
	found := false
	// index.db first: what moves there from memory meanwhile is in either.
	s.index.mu.Lock()
	index, found = s.index.requests[key]
	s.index.mu.Unlock()
	if !found {
		if s.index.reader == nil {
			return hash, 0, fmt.Errorf("requests: %w: there is no index", ledger.ErrNotFound)
		}
		ctx, cancel := context.WithTimeout(ctx, readTimeout)
		defer cancel()
		err := s.index.reader.QueryRowContext(ctx, "SELECT idx FROM requests WHERE key = ?", key[:]).Scan(&index)
		if errors.Is(err, sql.ErrNoRows) {
			return hash, 0, fmt.Errorf("request %q: %w", id, ledger.ErrNotFound)
		}
		if err != nil {
			return hash, 0, wrap("find a request", err)
		}
	}
	for row, err := range s.Rows(ctx, index, index+1) {
		switch {
		case err != nil:
			return hash, 0, err
		case row.Body == nil:
			return hash, 0, fmt.Errorf("request %q: %w: its entry was pruned", id, ledger.ErrNotFound)
		case row.Principal != principal || row.RequestID != id || row.Request == [32]byte{}:
			return hash, 0, fmt.Errorf("%w: the index says that entry %d is of request %q", ledger.ErrDamaged, index, id)
		}
		return row.Request, index, nil
	}
	return hash, 0, fmt.Errorf("%w: entry %d is missing", ledger.ErrDamaged, index)
}

// span is a run of indices, from inclusive, to exclusive.
type span struct{ from, to uint64 }

// Find visits the entries that a filter selects. Where the index does not help or
// does not reach, it looks at the entries themselves. It also does for those that
// the index names: a wrong index can hide an entry, which Reconcile finds, and
// cannot put one where it does not belong.
func (s *SQLite) Find(ctx context.Context, f ledger.Filter) iter.Seq2[ledger.Row, error] {
	return func(yield func(ledger.Row, error) bool) {
		found := 0
		stop := errors.New("stop")
		visit := func(row ledger.Row) error {
			if row.Body == nil || !f.Match(row.Columns, row.Body) {
				return nil
			}
			if found++; !yield(row, nil) || found == f.Limit {
				return stop
			}
			return nil
		}
		if err := s.find(ctx, &f, visit); err != nil && !errors.Is(err, stop) {
			yield(ledger.Row{}, err)
		}
	}
}

func (s *SQLite) find(ctx context.Context, f *ledger.Filter, visit func(ledger.Row) error) error {
	size, _, err := s.Head(ctx)
	if err != nil {
		return err
	}
	if f.Before > 0 {
		size = min(size, f.Before)
	}
	all := span{min(f.From, size), size}
	if !f.Since.IsZero() {
		if all.from, err = s.at(ctx, all, f.Since.UnixNano()); err != nil {
			return err
		}
	}
	if !f.Until.IsZero() {
		if all.to, err = s.at(ctx, all, f.Until.UnixNano()); err != nil {
			return err
		}
	}
	where, args, reach, err := s.index.where(ctx, f)
	if err != nil {
		return err
	}
	indexed, rest := span{all.from, max(all.from, min(all.to, reach))}, span{max(all.from, min(all.to, reach)), all.to}
	if f.Newest {
		if err := s.scan(ctx, rest, true, visit); err != nil {
			return err
		}
		return s.findIndexed(ctx, f, indexed, where, args, visit)
	}
	if err := s.findIndexed(ctx, f, indexed, where, args, visit); err != nil {
		return err
	}
	return s.scan(ctx, rest, false, visit)
}

// at returns the first entry of a span that is not before a time. Time never goes
// back from one entry to the next; pruned entries come first and have none.
func (s *SQLite) at(ctx context.Context, in span, nanoseconds int64) (uint64, error) {
	var failed error
	n := sort.Search(int(in.to-in.from), func(i int) bool {
		if failed != nil {
			return true
		}
		index := in.from + uint64(i)
		for row, err := range s.Rows(ctx, index, index+1) {
			if err != nil {
				failed = err
			}
			return err != nil || row.Body != nil && row.Time >= nanoseconds
		}
		failed = fmt.Errorf("%w: entry %d is missing", ledger.ErrDamaged, index)
		return true
	})
	return in.from + uint64(n), failed
}

// scan looks at every entry of a span.
func (s *SQLite) scan(ctx context.Context, in span, newest bool, visit func(ledger.Row) error) error {
	for in.from < in.to {
		part := in
		if newest {
			part.from = max(in.from, in.to-min(in.to, 256))
		}
		var rows []ledger.Row
		for row, err := range s.Rows(ctx, part.from, part.to) {
			if err != nil {
				return err
			}
			if newest {
				rows = append(rows, row)
				continue
			}
			if err := visit(row); err != nil {
				return err
			}
		}
		for _, row := range slices.Backward(rows) {
			if err := visit(row); err != nil {
				return err
			}
		}
		if !newest {
			return nil
		}
		in.to = part.from
	}
	return nil
}

// where turns a filter into a condition over index.db, which reaches up to an
// entry; 0 when the index does not help.
func (x *index) where(ctx context.Context, f *ledger.Filter) (where string, args []any, reach uint64, err error) {
	if x.reader == nil {
		return "", nil, 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	err = x.reader.QueryRowContext(ctx, "SELECT size FROM done").Scan(&reach)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil, 0, nil
	}
	if err != nil {
		return "", nil, 0, wrap("read the index", err)
	}
	var terms []string
	add := func(column, partial string, texts ...string) {
		if err != nil || len(texts) == 0 || texts[0] == "" {
			return
		}
		var ids []string
		for _, text := range texts {
			var id int64
			switch e := x.reader.QueryRowContext(ctx, "SELECT id FROM texts WHERE text = ?", text).Scan(&id); {
			case e == nil:
				ids = append(ids, fmt.Sprint(id))
			case !errors.Is(e, sql.ErrNoRows):
				err = wrap("read the index", e)
			}
		}
		terms = append(terms, column+" IN ("+strings.Join(ids, ",")+")")
		if partial != "" {
			terms = append(terms, partial) // as the index says it, or it is not used
		}
	}
	add("node", "node <> 1", f.Node)
	add("metric", "metric <> 1", f.Metric)
	add("clause", "clause <> 1", f.Clause)
	add("outcome", "", f.Outcome)
	add("severity", "", f.Severities...)
	rare := "kind <> 2"
	if slices.Contains(f.Kinds, ledger.Denial) {
		rare = ""
	}
	kinds := make([]string, len(f.Kinds))
	for i, k := range f.Kinds {
		kinds[i] = string(k)
	}
	add("kind", rare, kinds...)
	if err != nil || len(terms) == 0 {
		return "", nil, 0, err
	}
	return strings.Join(terms, " AND "), nil, reach, nil
}

// findIndexed visits the entries of a span that the index names.
func (s *SQLite) findIndexed(ctx context.Context, f *ledger.Filter, in span, where string, args []any, visit func(ledger.Row) error) error {
	query := "SELECT idx FROM rows WHERE " + where + " AND idx >= ? AND idx < ? ORDER BY idx LIMIT ?"
	if f.Newest {
		query = strings.Replace(query, "ORDER BY idx", "ORDER BY idx DESC", 1)
	}
	limit := batch
	if f.Limit > 0 && f.Text == "" {
		limit = min(limit, f.Limit)
	}
	for in.from < in.to {
		list, err := s.index.list(ctx, query, append(slices.Clone(args), in.from, in.to, limit)...)
		if err != nil {
			return err
		}
		rows, err := s.pick(ctx, list)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if err := visit(row); err != nil {
				return err
			}
		}
		if len(list) < limit {
			return nil
		}
		if last := list[len(list)-1]; f.Newest {
			in.to = last
		} else {
			in.from = last + 1
		}
	}
	return nil
}

func (x *index) list(ctx context.Context, query string, args ...any) (list []uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rows, err := x.reader.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, wrap("query the index", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var index uint64
		if err := rows.Scan(&index); err != nil {
			return nil, wrap("query the index", err)
		}
		list = append(list, index)
	}
	return list, wrap("query the index", rows.Err())
}

// pick reads entries, in the order of the list.
func (s *SQLite) pick(ctx context.Context, list []uint64) (picked []ledger.Row, err error) {
	if len(list) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	wanted, err := json.Marshal(list)
	if err != nil {
		return nil, err
	}
	rows, err := s.reader.QueryContext(ctx, "SELECT e.idx, e.hash, e.body FROM json_each(?) AS j CROSS JOIN entries AS e ON e.idx = j.value ORDER BY j.key", string(wanted))
	if err != nil {
		return nil, wrap("read entries", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		row, err := scanRow(rows)
		if err != nil {
			return nil, wrap("read entries", err)
		}
		picked = append(picked, row)
	}
	return picked, wrap("read entries", rows.Err())
}

package ledgerdb

import (
	"context"
	"database/sql"
	"errors"
	"sync"

	"github.com/westworld-charter/charter/internal/ledger"
)

// Reconcile compares index.db with the log: every row, the indexes over the rows,
// and requests. What the index does not reach cannot be wrong.
func (s *SQLite) Reconcile(ctx context.Context) (first uint64, err error) {
	size, _, err := s.Head(ctx)
	if err != nil {
		return 0, err
	}
	if sound, err := s.CheckIndex(ctx); err != nil || !sound {
		return 0, err
	}
	for from := uint64(0); from < size; from += batch {
		rows := make([]ledger.Row, 0, batch)
		for row, err := range s.Rows(ctx, from, min(from+batch, size)) {
			if err != nil {
				return from, err
			}
			rows = append(rows, row)
		}
		if first, wrong, err := s.CheckRows(ctx, rows); err != nil || wrong {
			return first, err
		}
	}
	return size, nil
}

// CheckIndex tells whether the tables of index.db agree with the indexes over
// them.
func (s *SQLite) CheckIndex(ctx context.Context) (bool, error) {
	if s.index.reader == nil {
		return true, nil
	}
	var verdict string
	err := s.index.reader.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&verdict)
	return verdict == "ok", wrap("check the index", err)
}

// CheckRows compares index.db with entries.
func (s *SQLite) CheckRows(ctx context.Context, rows []ledger.Row) (first uint64, wrong bool, err error) {
	if s.index.reader == nil || len(rows) == 0 {
		return 0, false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	if rows[0].Index == 0 {
		s.index.names.forget()
	}
	var reach uint64
	err = s.index.reader.QueryRowContext(ctx, "SELECT size FROM done").Scan(&reach)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, wrap("read the index", err)
	}
	for len(rows) > 0 && rows[len(rows)-1].Index >= reach {
		rows = rows[:len(rows)-1]
	}
	if len(rows) == 0 {
		return 0, false, nil
	}
	filed, err := s.index.filed(ctx, rows[0].Index, rows[len(rows)-1].Index+1)
	if err != nil {
		return 0, false, wrap("read the index", err)
	}
	for i := range rows {
		row := &rows[i]
		if i >= len(filed) || filed[i].index != row.Index {
			return row.Index, true, nil
		}
		same, err := s.index.same(ctx, &filed[i], &row.Columns)
		if err == nil && same && row.Request != [32]byte{} {
			same, err = s.index.hasRequest(ctx, row)
		}
		if err != nil {
			return 0, false, wrap("read the index", err)
		}
		if !same {
			return row.Index, true, nil
		}
	}
	return 0, false, nil
}

// filedRow is a row of index.db.
type filedRow struct {
	index uint64
	time  int64
	texts [6]int64 // kind, node, metric, clause, outcome, severity
}

func (x *index) filed(ctx context.Context, from, to uint64) (list []filedRow, err error) {
	rows, err := x.reader.QueryContext(ctx, "SELECT idx, time, kind, node, metric, clause, outcome, severity FROM rows WHERE idx >= ? AND idx < ? ORDER BY idx", from, to)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var row filedRow
		t := &row.texts
		if err := rows.Scan(&row.index, &row.time, &t[0], &t[1], &t[2], &t[3], &t[4], &t[5]); err != nil {
			return nil, err
		}
		list = append(list, row)
	}
	return list, rows.Err()
}

func (x *index) same(ctx context.Context, row *filedRow, c *ledger.Columns) (bool, error) {
	if row.time != c.Time {
		return false, nil
	}
	for i, want := range [...]string{string(c.Kind), c.Node, c.Metric, c.Clause, c.Outcome, c.Severity} {
		text, ok := x.names.get(row.texts[i])
		if !ok {
			err := x.reader.QueryRowContext(ctx, "SELECT text FROM texts WHERE id = ?", row.texts[i]).Scan(&text)
			if errors.Is(err, sql.ErrNoRows) {
				return false, nil
			}
			if err != nil {
				return false, err
			}
			x.names.put(row.texts[i], text)
		}
		if text != want {
			return false, nil
		}
	}
	return true, nil
}

// hasRequest tells whether the request of an entry leads to it, or to an earlier
// one.
func (x *index) hasRequest(ctx context.Context, row *ledger.Row) (bool, error) {
	key := requestKey(row.Principal, row.RequestID)
	var at uint64
	err := x.reader.QueryRowContext(ctx, "SELECT idx FROM requests WHERE key = ?", key[:]).Scan(&at)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return at <= row.Index, err
}

// names remembers texts of index.db while it is checked. They never change,
// unless somebody changes them: a check begins with none.
type names struct {
	mu    sync.Mutex
	texts map[int64]string
}

func (n *names) get(id int64) (string, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	text, ok := n.texts[id]
	return text, ok
}

func (n *names) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.texts = nil
}

func (n *names) put(id int64, text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.texts == nil || len(n.texts) >= maxTexts {
		n.texts = make(map[int64]string)
	}
	n.texts[id] = text
}

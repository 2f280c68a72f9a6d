package ledgerdb

import (
	"context"
	"fmt"
	"sort"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/westworld-charter/charter/internal/ledger"
)

// Reconcile compares the columns of every entry with its body, and then every
// index with the columns: what an index does not have, a query does not find.
func (p *Postgres) Reconcile(ctx context.Context) (first uint64, err error) {
	size, _, err := p.Head(ctx)
	if err != nil {
		return 0, err
	}
	pages := newPages()
	for next := uint64(0); next < size; {
		rows, err := query(ctx, p, "compare columns", scanStored,
			"SELECT idx, hash, body, time, node, metric, clause, request, kind, outcome, severity FROM entries WHERE idx >= $1 AND idx < $2 ORDER BY idx LIMIT $3",
			next, size, pages.size)
		if err != nil {
			return next, err
		}
		if len(rows) == 0 {
			return next, nil
		}
		read := make([]ledger.Row, len(rows))
		for i := range rows {
			if rows[i].entry.Index != next || !rows[i].follows {
				return next, nil
			}
			read[i] = rows[i].entry
			next++
		}
		pages.next(read)
	}
	return p.compareIndexes(ctx, size)
}

// storedEntry is an entry, and whether its columns follow from its body.
type storedEntry struct {
	entry   ledger.Row
	follows bool
}

func scanStored(r pgx.CollectableRow) (s storedEntry, err error) {
	var k keys
	var hash pgtype.DriverBytes
	row := &s.entry
	if err := r.Scan(&row.Index, &hash, &row.Body, &k.time, &k.node, &k.metric, &k.clause, &k.request, &k.kind, &k.outcome, &k.severity); err != nil {
		return s, err
	}
	if row.Body == nil {
		s.follows = k == keys{}
		return s, nil
	}
	columns, request, err := ledger.ScanBody(row.Body)
	s.follows = err == nil && k == keysOf(columns, request)
	return s, nil
}

// indexOrder is how an index is read from one end to the other.
type indexOrder struct {
	where  string // as the index says it
	column string // its first; idx alone for the primary key
}

func indexOrders() []indexOrder {
	return []indexOrder{
		{"true", "idx"},
		{"node <> 0", "node"},
		{"metric <> 0", "metric"},
		{"clause <> 0", "clause"},
		{fmt.Sprintf("kind <> %d", shortKey(string(ledger.Denial))), "kind"},
		{"request <> 0", "request"},
	}
}

// sum is an expression whose sum tells which entries were seen.
func (o indexOrder) sum() string {
	return fmt.Sprintf("hashint8extended(%s, idx)", o.column)
}

// compareIndexes returns the first entry below size that the indexes and the
// table do not agree on.
func (p *Postgres) compareIndexes(ctx context.Context, size uint64) (first uint64, err error) {
	err = persist(ctx, func() error {
		return p.pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error {
			options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
			return pgx.BeginTxFunc(ctx, c, options, func(tx pgx.Tx) error {
				first, err = compareIndexes(ctx, tx, size)
				return err
			})
		})
	})
	if err != nil {
		return first, fmt.Errorf("compare indexes: %w", damagedPostgres(err))
	}
	return first, nil
}

func compareIndexes(ctx context.Context, tx pgx.Tx, size uint64) (first uint64, err error) {
	// However long it takes: the deadline is that of ctx.
	if _, err := tx.Exec(ctx, "SET LOCAL statement_timeout = 0"); err != nil {
		return 0, err
	}
	agree := func(below uint64) bool {
		if err != nil {
			return true
		}
		var same bool
		same, err = indexesAgree(ctx, tx, below)
		return same
	}
	if agree(size) {
		return size, err
	}
	n := sort.Search(int(size), func(n int) bool { return !agree(uint64(n) + 1) })
	return uint64(n), err
}

// indexesAgree tells whether the sums over entries below an index are the same by
// every index as in the table itself.
func indexesAgree(ctx context.Context, tx pgx.Tx, below uint64) (bool, error) {
	orders := indexOrders()
	sums := make([]string, len(orders))
	for i, o := range orders {
		sums[i] = fmt.Sprintf("(coalesce(sum(%s) FILTER (WHERE %s), 0))::text", o.sum(), o.where)
	}
	// Without indexes, the table is all there is to read.
	want, err := sumsBy(ctx, tx, "off", fmt.Sprintf("SELECT ARRAY[%s] FROM entries WHERE idx < $1", strings.Join(sums, ", ")), below)
	if err != nil {
		return false, err
	}
	for i, o := range orders {
		// In its order and without sorting, only the index can be read. Where it is
		// missing, the table is sorted, and no query is misled.
		got, err := sumsBy(ctx, tx, "on", fmt.Sprintf("SELECT ARRAY[(coalesce(sum(one), 0))::text] FROM (SELECT %s AS one FROM entries WHERE idx < $1 AND %s ORDER BY %s, idx) AS s",
			o.sum(), o.where, o.column), below)
		if err != nil {
			return false, err
		}
		if got[0] != want[i] {
			return false, nil
		}
	}
	return true, nil
}

// sumsBy runs a query with or without indexes.
func sumsBy(ctx context.Context, tx pgx.Tx, indexes, sql string, below uint64) (sums []string, err error) {
	other := map[string]string{"on": "off", "off": "on"}[indexes]
	_, err = tx.Exec(ctx, `SELECT set_config('enable_indexscan', $1, true), set_config('enable_indexonlyscan', $1, true), set_config('enable_bitmapscan', 'off', true),
		set_config('enable_seqscan', $2, true), set_config('enable_sort', $2, true)`, indexes, other)
	if err != nil {
		return nil, err
	}
	err = tx.QueryRow(ctx, sql, pgx.QueryExecModeCacheDescribe, below).Scan(&sums)
	return sums, err
}

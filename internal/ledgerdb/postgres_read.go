package ledgerdb

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/westworld-charter/charter/internal/ledger"
)

// read reads with a connection of the pool, and again over another one for as
// long as the server is away. What it is given begins anew each time.
func (p *Postgres) read(ctx context.Context, what string, try func(context.Context, *pgx.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	err := persist(ctx, func() error {
		return p.pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error { return try(ctx, c.Conn()) })
	})
	if err != nil {
		return fmt.Errorf("%s: %w", what, damagedPostgres(err))
	}
	return nil
}

// query reads rows; scan appends one to what is returned.
func query[T any](ctx context.Context, p *Postgres, what string, scan pgx.RowToFunc[T], sql string, args ...any) (list []T, err error) {
	err = p.read(ctx, what, func(ctx context.Context, c *pgx.Conn) error {
		rows, err := c.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, scan)
		return err
	})
	return list, err
}

// Head returns the size and the checkpoint of the log.
func (p *Postgres) Head(ctx context.Context) (size uint64, note []byte, err error) {
	var entries bool
	err = p.read(ctx, "read the head", func(ctx context.Context, c *pgx.Conn) error {
		return c.QueryRow(ctx, "SELECT size, note, size = 0 AND EXISTS (SELECT FROM entries) FROM head").Scan(&size, &note, &entries)
	})
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return 0, nil, fmt.Errorf("%w: there is no head", ledger.ErrDamaged)
	case err != nil:
		return 0, nil, err
	case entries, size > 0 && note == nil:
		return 0, nil, fmt.Errorf("%w: there are entries, and no checkpoint", ledger.ErrDamaged)
	}
	return size, note, nil
}

// Tile returns a full tile.
func (p *Postgres) Tile(ctx context.Context, level int, index uint64) ([]byte, error) {
	if level < 0 || level > 7 || index >= 1<<55 {
		return nil, ledger.ErrNotFound
	}
	found, err := query(ctx, p, "read a tile", pgx.RowTo[[]byte], "SELECT data FROM tiles WHERE id = $1", tileID(level, index))
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("tile %d of level %d: %w", index, level, ledger.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	return found[0], nil
}

// Rows visits entries in order. It reads them in batches: no transaction is open
// while the caller looks at them.
func (p *Postgres) Rows(ctx context.Context, from, to uint64) iter.Seq2[ledger.Row, error] {
	return func(yield func(ledger.Row, error) bool) {
		to = min(to, 1<<62)
		pages := newPages()
		for from < to {
			rows, err := query(ctx, p, "read entries", scanEntry, "SELECT idx, hash, body FROM entries WHERE idx >= $1 AND idx < $2 ORDER BY idx LIMIT $3",
				from, to, min(to-from, pages.size))
			for i := range rows {
				if !yield(rows[i], nil) {
					return
				}
			}
			if err != nil {
				yield(ledger.Row{}, err)
				return
			}
			if uint64(len(rows)) < min(to-from, pages.size) {
				return
			}
			from = rows[len(rows)-1].Index + 1
			pages.next(rows)
		}
	}
}

// pages tell how many rows to ask for, so that a batch has about batchBytes: all
// that was asked for is sent.
type pages struct{ size uint64 }

func newPages() pages { return pages{batchBytes / ledger.MaxBody} }

func (p *pages) next(rows []ledger.Row) {
	bytes := 0
	for i := range rows {
		bytes += len(rows[i].Body) + 100
	}
	// A run of large entries may follow one of small ones.
	fits := batchBytes / uint64(bytes/len(rows)+1)
	p.size = max(newPages().size, min(fits, 4*p.size, batch))
}

// scanEntry reads idx, hash and body. Columns follow from the body; one from
// which nothing follows is for others to judge.
func scanEntry(r pgx.CollectableRow) (row ledger.Row, err error) {
	var hash pgtype.DriverBytes
	if err := r.Scan(&row.Index, &hash, &row.Body); err != nil {
		return row, err
	}
	if len(hash) == len(row.Hash) { // else it is the hash of nothing
		copy(row.Hash[:], hash)
	}
	if row.Body == nil {
		return row, nil
	}
	if row.Columns, row.Request, err = ledger.ScanBody(row.Body); err != nil {
		row.Columns, row.Request = ledger.Columns{}, [32]byte{}
	}
	return row, nil
}

// Checkpoints visits the checkpoints that were kept.
func (p *Postgres) Checkpoints(ctx context.Context, from uint64) iter.Seq2[[]byte, error] {
	type checkpoint struct {
		Size uint64
		Note []byte
	}
	return func(yield func([]byte, error) bool) {
		for {
			list, err := query(ctx, p, "read checkpoints", pgx.RowToStructByPos[checkpoint], `
				SELECT size, note FROM checkpoints WHERE size >= $1
				UNION ALL SELECT size, note FROM head WHERE size >= $1 AND size > 0 AND NOT EXISTS (SELECT FROM checkpoints WHERE checkpoints.size = head.size)
				ORDER BY size LIMIT $2`, min(from, 1<<62), batch)
			for _, c := range list {
				if !yield(c.Note, nil) {
					return
				}
				from = c.Size + 1
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if len(list) == 0 {
				return
			}
		}
	}
}

// Witnessed returns the first checkpoint with cosignatures of a size from on.
func (p *Postgres) Witnessed(ctx context.Context, from uint64) ([]byte, error) {
	found, err := query(ctx, p, "read a checkpoint", pgx.RowTo[[]byte],
		"SELECT note FROM checkpoints WHERE kind = 2 AND size >= $1 ORDER BY size LIMIT 1", min(from, 1<<62))
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("witnessed checkpoint from size %d: %w", from, ledger.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	return found[0], nil
}

// Request returns the entry of a request: of those that share its key, the first
// that is of this request.
func (p *Postgres) Request(ctx context.Context, principal, id string) (hash [32]byte, index uint64, err error) {
	rows, err := query(ctx, p, "find a request", scanEntry, "SELECT idx, hash, body FROM entries WHERE request = $1 AND request <> 0 ORDER BY idx LIMIT 100",
		longKey(principal, id))
	if err != nil {
		return hash, 0, err
	}
	for i := range rows {
		if row := &rows[i]; row.Principal == principal && row.RequestID == id && row.Request != [32]byte{} {
			return row.Request, row.Index, nil
		}
	}
	return hash, 0, fmt.Errorf("request %q: %w", id, ledger.ErrNotFound)
}

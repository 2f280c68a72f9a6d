package ledgerdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/westworld-charter/charter/internal/ledger"
)

const (
	// readTimeout limits a single query: as long as one goes on, the write-ahead
	// log cannot be emptied and grows.
	readTimeout = 5 * time.Second
	// batch is how many rows one query reads, for the same reason.
	batch = 2048
	// batchBytes limits what they hold in memory.
	batchBytes = 4 << 20
)

// Head returns the size and the checkpoint of the log.
func (s *SQLite) Head(ctx context.Context) (uint64, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var size uint64
	var note []byte
	var entries bool
	// In one statement: in between, a first entry may be appended.
	err := s.reader.QueryRowContext(ctx, `SELECT coalesce((SELECT max(size) FROM checkpoints), 0),
		(SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1), EXISTS (SELECT 1 FROM entries)`).Scan(&size, &note, &entries)
	if err == nil && entries && size == 0 {
		err = fmt.Errorf("%w: there are entries, and no checkpoint", ledger.ErrDamaged)
	}
	return size, note, wrap("read the head", err)
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, damaged(err))
}

// Tile returns a full tile.
func (s *SQLite) Tile(ctx context.Context, level int, index uint64) ([]byte, error) {
	if level < 0 || level > 7 || index >= 1<<55 {
		return nil, ledger.ErrNotFound
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var data []byte
	err := s.reader.QueryRowContext(ctx, "SELECT data FROM tiles WHERE id = ?", tileID(level, index)).Scan(&data)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("tile %d of level %d: %w", index, level, ledger.ErrNotFound)
	}
	return data, wrap("read a tile", err)
}

// Rows visits entries in order. It reads them in batches: no transaction is open
// while the caller looks at them.
func (s *SQLite) Rows(ctx context.Context, from, to uint64) iter.Seq2[ledger.Row, error] {
	return func(yield func(ledger.Row, error) bool) {
		to = min(to, 1<<62)
		for from < to {
			rows, err := s.batch(ctx, from, to)
			for i := range rows {
				if !yield(rows[i], nil) {
					return
				}
			}
			if err != nil {
				yield(ledger.Row{}, err)
				return
			}
			if len(rows) == 0 {
				return
			}
			from = rows[len(rows)-1].Index + 1
		}
	}
}

func (s *SQLite) batch(ctx context.Context, from, to uint64) (list []ledger.Row, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	limit := min(to-from, batch)
	rows, err := s.reader.QueryContext(ctx, "SELECT idx, hash, body FROM entries WHERE idx >= ? AND idx < ? ORDER BY idx LIMIT ?", from, to, limit)
	if err != nil {
		return nil, wrap("read entries", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	list = make([]ledger.Row, 0, limit)
	for size := 0; size < batchBytes && rows.Next(); {
		row, err := scanRow(rows)
		if err != nil {
			return list, wrap("read entries", err)
		}
		size += len(row.Body)
		list = append(list, row)
	}
	return list, wrap("read entries", rows.Err())
}

// scanRow reads a row. Its columns are not stored: they follow from the body. A
// body from which nothing follows is for others to judge.
func scanRow(rows *sql.Rows) (row ledger.Row, err error) {
	var hash sql.RawBytes
	if err := rows.Scan(&row.Index, &hash, &row.Body); err != nil {
		return row, err
	}
	copy(row.Hash[:], hash)
	if len(hash) != len(row.Hash) {
		row.Hash = [32]byte{} // which is the hash of nothing
	}
	if row.Body == nil {
		return row, nil
	}
	if row.Columns, row.Request, err = ledger.ScanBody(row.Body); err != nil {
		row.Columns, row.Request = ledger.Columns{}, [32]byte{}
	}
	row.Derived = err == nil
	return row, nil
}

// Checkpoints visits the checkpoints that were kept.
func (s *SQLite) Checkpoints(ctx context.Context, from uint64) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for {
			sizes, notes, err := s.checkpoints(ctx, from)
			for _, note := range notes {
				if !yield(note, nil) {
					return
				}
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if len(sizes) == 0 {
				return
			}
			from = sizes[len(sizes)-1] + 1
		}
	}
}

func (s *SQLite) checkpoints(ctx context.Context, from uint64) (sizes []uint64, notes [][]byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rows, err := s.reader.QueryContext(ctx, "SELECT size, note FROM checkpoints WHERE size >= ? ORDER BY size LIMIT ?", from, batch)
	if err != nil {
		return nil, nil, wrap("read checkpoints", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var size uint64
		var note []byte
		if err := rows.Scan(&size, &note); err != nil {
			return sizes, notes, wrap("read checkpoints", err)
		}
		sizes, notes = append(sizes, size), append(notes, note)
	}
	return sizes, notes, wrap("read checkpoints", rows.Err())
}

// Witnessed returns the first checkpoint with cosignatures of a size from on.
func (s *SQLite) Witnessed(ctx context.Context, from uint64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var note []byte
	err := s.reader.QueryRowContext(ctx, "SELECT note FROM checkpoints WHERE kind = 2 AND size >= ? ORDER BY size LIMIT 1", min(from, 1<<62)).Scan(&note)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("witnessed checkpoint from size %d: %w", from, ledger.ErrNotFound)
	}
	return note, wrap("read a checkpoint", err)
}

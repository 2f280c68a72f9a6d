package ledgerdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/westworld-charter/charter/internal/ledger"
)

// statements of the connection that writes.
type statements struct {
	entry, tile, checkpoint, supersede, cosigned, end *sql.Stmt
}

func (st *statements) prepare(ctx context.Context, db *sql.DB) error {
	for text, to := range map[string]**sql.Stmt{
		"INSERT INTO entries (idx, hash, body) VALUES (?, ?, ?)":                                                                      &st.entry,
		"INSERT INTO tiles (id, data) VALUES (?, ?)":                                                                                  &st.tile,
		"INSERT INTO checkpoints (size, note, kind) VALUES (?, ?, ?)":                                                                 &st.checkpoint,
		"DELETE FROM checkpoints WHERE size = ? AND kind = 0":                                                                         &st.supersede,
		"INSERT INTO checkpoints (size, note, kind) VALUES (?, ?, 2) ON CONFLICT (size) DO UPDATE SET note = excluded.note, kind = 2": &st.cosigned,
		"SELECT coalesce(max(size), 0) FROM checkpoints":                                                                              &st.end,
	} {
		var err error
		if *to, err = db.PrepareContext(ctx, text); err != nil {
			return err
		}
	}
	return nil
}

func (st *statements) close() error {
	var all []error
	for _, stmt := range []*sql.Stmt{st.entry, st.tile, st.checkpoint, st.supersede, st.cosigned, st.end} {
		if stmt != nil {
			all = append(all, stmt.Close())
		}
	}
	return errors.Join(all...)
}

// errReadOnly marks a change of a ledger that was opened to be read.
var errReadOnly = errors.New("the ledger was opened to be read")

// Commit appends in one transaction. After it, it looks whether the files are
// still those of the directory: what is written to a deleted file is lost.
func (s *SQLite) Commit(ctx context.Context, c ledger.Commit) error {
	if s.writer == nil {
		return errReadOnly
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	// Waiting for each statement to be cancelled costs more than the statement.
	ctx = context.WithoutCancel(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	tx, err := s.writer.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", damaged(err))
	}
	if err := s.write(ctx, tx, c); err != nil {
		return errors.Join(damaged(err), tx.Rollback())
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", damaged(err))
	}
	if err := samePlace(s.files); err != nil {
		return err
	}
	if len(c.Rows) == 0 {
		return nil
	}
	s.size = c.From + uint64(len(c.Rows))
	s.index.add(c.Rows)
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return nil
}

func (s *SQLite) write(ctx context.Context, tx *sql.Tx, c ledger.Commit) error {
	var size uint64
	if err := tx.StmtContext(ctx, s.stmts.end).QueryRowContext(ctx).Scan(&size); err != nil {
		return err
	}
	if size != c.From {
		return fmt.Errorf("%w: it has %d entries, not %d", ledger.ErrOutrun, size, c.From)
	}
	entry := tx.StmtContext(ctx, s.stmts.entry)
	for i := range c.Rows {
		row := &c.Rows[i]
		if _, err := entry.ExecContext(ctx, row.Index, row.Hash[:], row.Body); err != nil {
			return err
		}
	}
	for _, tile := range c.Tiles {
		if _, err := tx.StmtContext(ctx, s.stmts.tile).ExecContext(ctx, tileID(tile.Level, tile.Index), tile.Data); err != nil {
			return err
		}
	}
	if len(c.Rows) > 0 {
		kind := 0
		if len(c.Tiles) > 0 {
			kind = 1
		}
		if _, err := tx.StmtContext(ctx, s.stmts.supersede).ExecContext(ctx, c.From); err != nil {
			return err
		}
		if _, err := tx.StmtContext(ctx, s.stmts.checkpoint).ExecContext(ctx, c.From+uint64(len(c.Rows)), c.Checkpoint, kind); err != nil {
			return err
		}
	}
	if c.Witnessed == nil {
		return nil
	}
	_, cosigned, _, err := ledger.ParseCheckpoint(c.Witnessed)
	if err != nil {
		return err
	}
	if cosigned > c.From+uint64(len(c.Rows)) {
		return fmt.Errorf("%w: a checkpoint of size %d was cosigned", ledger.ErrOutrun, cosigned)
	}
	_, err = tx.StmtContext(ctx, s.stmts.cosigned).ExecContext(ctx, cosigned, c.Witnessed)
	return err
}

func tileID(level int, index uint64) int64 { return int64(level)<<56 | int64(index) }

// Prune forgets the bodies below an index.
func (s *SQLite) Prune(ctx context.Context, below uint64) error {
	if s.writer == nil {
		return errReadOnly
	}
	size, _, err := s.Head(ctx)
	if err != nil {
		return err
	}
	below = min(below, size)
	// What is filled into the index later must not bring back what is gone.
	if err := s.index.fill(ctx, size); err != nil {
		return fmt.Errorf("prune ledger: %w", err)
	}
	const step = 10_000 // a transaction should not hold up appending
	for from := uint64(0); from < below; from += step {
		if err := s.prune(ctx, from, min(from+step, below)); err != nil {
			return fmt.Errorf("prune ledger: %w", damaged(err))
		}
	}
	return s.index.prune(ctx, below)
}

func (s *SQLite) prune(ctx context.Context, from, to uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.writer.ExecContext(ctx, "UPDATE entries SET body = NULL WHERE idx >= ? AND idx < ? AND body IS NOT NULL", from, to)
	return err
}

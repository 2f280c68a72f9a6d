package ledgerdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
)

func (s *SQLite) openReadOnly(ctx context.Context) error {
	if _, err := os.Stat(s.path(ledgerFile)); err != nil {
		return fmt.Errorf("there is no ledger: %w", err)
	}
	if err := s.checkUnlessWritten(); err != nil {
		return err
	}
	var err error
	if s.reader, err = openReader(ctx, s.path(ledgerFile)); err != nil {
		return err
	}
	if err := checkVersion(ctx, s.reader, ledgerSchema); err != nil {
		return damaged(err)
	}
	if s.size, _, err = s.Head(ctx); err != nil {
		return err
	}
	s.index, err = openIndexReadOnly(ctx, s)
	return err
}

// checkUnlessWritten checks the write-ahead log, unless another process writes it:
// that one has checked it, and changes it all the time.
func (s *SQLite) checkUnlessWritten() error {
	bad := checkWAL(s.path(ledgerFile))
	if bad == nil {
		return nil
	}
	inUse, err := locked(s.path(lockFile))
	if inUse {
		return nil
	}
	return errors.Join(bad, err)
}

// openReader opens a database to read. In a directory that cannot be written,
// SQLite cannot share a write-ahead log; without one there is nothing to share.
func openReader(ctx context.Context, path string) (*sql.DB, error) {
	db, err := openDB(path, "ro", "FULL", readers)
	if err == nil {
		if err = db.PingContext(ctx); err == nil {
			_, err = db.ExecContext(ctx, "SELECT count(*) FROM sqlite_schema")
		}
		if err == nil {
			return db, nil
		}
		err = errors.Join(err, db.Close())
	}
	if pending(path) {
		return nil, fmt.Errorf("%w (to read a ledger that was not closed, its directory must be writable: copy it)", damaged(err))
	}
	return openDB(path, "ro&immutable=1", "FULL", readers)
}

// pending tells whether there is anything in the write-ahead log of a database.
func pending(path string) bool {
	info, err := os.Stat(path + "-wal")
	return err == nil && info.Size() > 0
}

// tidy has SQLite remove what it makes to read a database that was closed, an empty
// write-ahead log and its index in memory: only a connection that may write does
// that, when it is the last one. Leaving them does no harm, so nothing is said
// where that is not possible.
func (s *SQLite) tidy(file string) {
	path := s.path(file)
	if _, err := os.Stat(path + "-wal"); err != nil || pending(path) {
		return // there is nothing, or it is somebody's
	}
	if _, err := os.Stat(path + "-journal"); err == nil {
		return // which is not ours, and would be played back into the ledger
	}
	db, err := openDB(path, "rw", "FULL", 1)
	if err == nil {
		_, err = db.Exec("SELECT count(*) FROM sqlite_schema")
		err = errors.Join(err, db.Close())
	}
	if err != nil {
		s.opts.Log.Debug("empty files of SQLite stay beside the ledger", "file", path, "error", err)
	}
}

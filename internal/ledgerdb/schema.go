package ledgerdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/westworld-charter/charter/internal/ledger"
)

// schema is the history of a database: each step leads from the version before,
// and the number of steps is the version, kept in PRAGMA user_version.
type schema struct {
	application int // PRAGMA application_id: what the file is
	steps       []string
}

var (
	ledgerSchema = schema{application: 0x43684c67, steps: []string{
		`
		CREATE TABLE entries (
			idx  INTEGER PRIMARY KEY, -- from 0, without gaps
			hash BLOB NOT NULL,       -- of the leaf (RFC 6962)
			body BLOB                 -- canonical JSON; NULL when pruned
		) STRICT;
		CREATE TABLE tiles (
			id   INTEGER PRIMARY KEY, -- level * 2^56 + index
			data BLOB NOT NULL        -- 256 hashes
		) STRICT;
		CREATE TABLE checkpoints (
			size INTEGER PRIMARY KEY,
			note BLOB NOT NULL,
			kind INTEGER NOT NULL     -- 0 until superseded, 1 kept, 2 cosigned and kept
		) STRICT;
		CREATE INDEX cosigned ON checkpoints (size) WHERE kind = 2;`,
	}}
	indexSchema = schema{application: 0x43684c69, steps: []string{
		`
		CREATE TABLE texts (
			id   INTEGER PRIMARY KEY,
			text TEXT NOT NULL UNIQUE
		) STRICT;
		CREATE TABLE rows (
			idx       INTEGER PRIMARY KEY,
			time      INTEGER NOT NULL, -- nanoseconds since 1970; 0 when pruned
			kind      INTEGER NOT NULL, -- this and the following: texts.id
			node      INTEGER NOT NULL,
			metric    INTEGER NOT NULL,
			clause    INTEGER NOT NULL,
			outcome   INTEGER NOT NULL,
			severity  INTEGER NOT NULL
		) STRICT;
		-- Every index ends with idx, and time never goes back with it: one order for all.
		CREATE INDEX by_node ON rows (node) WHERE node <> 1;
		CREATE INDEX by_metric ON rows (metric) WHERE metric <> 1;
		CREATE INDEX by_clause ON rows (clause) WHERE clause <> 1;
		CREATE INDEX by_kind ON rows (kind) WHERE kind <> 2;
		CREATE TABLE requests (
			key BLOB PRIMARY KEY, -- half of the hash of principal and request id
			idx INTEGER NOT NULL
		) STRICT, WITHOUT ROWID;
		CREATE TABLE done (
			one  INTEGER PRIMARY KEY CHECK (one = 1),
			size INTEGER NOT NULL, -- entries below it are in the index
			hash BLOB NOT NULL,    -- of the last of them: the index is of this ledger
			boot TEXT NOT NULL     -- what is written without waiting does not survive the machine
		) STRICT;
		INSERT INTO texts VALUES (1, ''), (2, 'denial');`,
	}}
)

// migrate brings a database to the newest version, one transaction a step.
func migrate(ctx context.Context, db *sql.DB, sc schema) error {
	version, application, err := readVersion(ctx, db)
	if err != nil {
		return err
	}
	if version > 0 && application != sc.application {
		return fmt.Errorf("%w: it is another kind of database", ledger.ErrDamaged)
	}
	if version > len(sc.steps) {
		return errTooNew(version, sc)
	}
	for ; version < len(sc.steps); version++ {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		step := fmt.Sprintf("%s\nPRAGMA user_version = %d; PRAGMA application_id = %d;", sc.steps[version], version+1, sc.application)
		if _, err = tx.ExecContext(ctx, step); err == nil {
			err = tx.Commit()
		}
		if err != nil {
			return errors.Join(fmt.Errorf("bring the database to version %d: %w", version+1, err), tx.Rollback())
		}
	}
	return nil
}

// checkVersion is for who must not migrate.
func checkVersion(ctx context.Context, db *sql.DB, sc schema) error {
	version, application, err := readVersion(ctx, db)
	switch {
	case err != nil:
		return err
	case version > 0 && application != sc.application:
		return fmt.Errorf("%w: it is another kind of database", ledger.ErrDamaged)
	case version > len(sc.steps):
		return errTooNew(version, sc)
	case version < len(sc.steps):
		return fmt.Errorf("the database has version %d, and this program reads version %d: open it once to write", version, len(sc.steps))
	}
	return nil
}

func errTooNew(version int, sc schema) error {
	return fmt.Errorf("the database has version %d, and this program knows versions up to %d: use a newer one", version, len(sc.steps))
}

func readVersion(ctx context.Context, db *sql.DB) (version, application int, err error) {
	if err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return 0, 0, err
	}
	err = db.QueryRowContext(ctx, "PRAGMA application_id").Scan(&application)
	return version, application, err
}

// damaged marks what SQLite says of a file that is not as it was written.
func damaged(err error) error {
	var failure *sqlite.Error
	if errors.As(err, &failure) {
		switch failure.Code() & 0xff {
		case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
			return fmt.Errorf("%w: %w", ledger.ErrDamaged, err)
		}
	}
	return err
}

package ledgerdb

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/westworld-charter/charter/internal/ledger"
)

// postgresSteps is the history of the schema, as ledgerSchema and indexSchema are
// for SQLite. The number of steps is the version, kept in the table
// charter_ledger, whose name says what the schema is.
//
// There are numbers and bytes only. What callers chose is in bodies: a column of
// type text would refuse U+0000, and an index over it values of 2.7 KB, and either
// would stop the ledger.
func postgresSteps() []string {
	return []string{fmt.Sprintf(`
		CREATE TABLE head (
			one    boolean PRIMARY KEY CHECK (one),
			size   bigint NOT NULL, -- entries
			note   bytea,           -- the checkpoint of that size; NULL for 0
			probed bigint NOT NULL  -- how often it was tried whether a commit would succeed
		) WITH (fillfactor = 20);
		INSERT INTO head VALUES (true, 0, NULL, 0);
		CREATE TABLE entries (
			idx      bigint PRIMARY KEY, -- from 0, without gaps
			time     bigint NOT NULL,    -- nanoseconds since 1970; this and the following are 0 when pruned
			node     bigint NOT NULL,    -- this and the following: the beginning of the SHA-256 of the text, 0 for none
			metric   bigint NOT NULL,
			clause   bigint NOT NULL,
			request  bigint NOT NULL,    -- of principal and request id, 0 where none is to be recognised
			kind     integer NOT NULL,
			outcome  integer NOT NULL,
			severity integer NOT NULL,
			hash     bytea NOT NULL,     -- of the leaf (RFC 6962)
			body     bytea               -- canonical JSON; NULL when pruned
		);
		-- Every index ends with idx, and time never goes back with it: one order for all.
		CREATE INDEX by_node ON entries (node, idx) WHERE node <> 0;
		CREATE INDEX by_metric ON entries (metric, idx) WHERE metric <> 0;
		CREATE INDEX by_clause ON entries (clause, idx) WHERE clause <> 0;
		CREATE INDEX by_kind ON entries (kind, idx) WHERE kind <> %d;
		CREATE INDEX by_request ON entries (request, idx) WHERE request <> 0;
		CREATE TABLE tiles (
			id   bigint PRIMARY KEY, -- level * 2^56 + index
			data bytea NOT NULL      -- 256 hashes
		);
		ALTER TABLE tiles ALTER data SET STORAGE EXTERNAL; -- hashes do not compress
		CREATE TABLE checkpoints (
			size bigint PRIMARY KEY,
			note bytea NOT NULL,
			kind integer NOT NULL    -- 1 kept, 2 cosigned and kept; the latest is in head
		);
		CREATE INDEX cosigned ON checkpoints (size) WHERE kind = 2;`, shortKey(string(ledger.Denial)))}
}

// textKey is what a text is looked up by. Two texts may share one: who looks up
// compares the texts in the bodies.
func textKey(text string) int64 {
	if text == "" {
		return 0
	}
	sum := sha256.Sum256([]byte(text))
	if key := int64(binary.BigEndian.Uint64(sum[:])); key != 0 {
		return key
	}
	return 1
}

// shortKey is a textKey for what has few values.
func shortKey(text string) int32 {
	if key := int32(textKey(text) >> 32); key != 0 || text == "" {
		return key
	}
	return 1
}

// longKey is what a request is looked up by.
func longKey(principal, id string) int64 {
	key := requestKey(principal, id)
	if n := int64(binary.BigEndian.Uint64(key[:])); n != 0 {
		return n
	}
	return 1
}

// version returns 0 when there is no ledger.
func (l place) version(ctx context.Context, c *pgx.Conn) (version int, err error) {
	var exists bool
	err = c.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = 'charter_ledger')",
		l.schema).Scan(&exists)
	if err != nil || !exists {
		return 0, err
	}
	if err = c.QueryRow(ctx, "SELECT version FROM "+l.quoted()+".charter_ledger").Scan(&version); errors.Is(err, pgx.ErrNoRows) {
		return 0, fmt.Errorf("%w: the table that tells its version is empty", ledger.ErrDamaged)
	}
	return version, err
}

// checkVersion is for who must not migrate.
func (l place) checkVersion(ctx context.Context, c *pgx.Conn) error {
	version, err := l.version(ctx, c)
	newest := len(postgresSteps())
	switch {
	case err != nil:
		return err
	case version == 0:
		return fmt.Errorf("there is no ledger: %w", ledger.ErrNotFound)
	case version > newest:
		return errTooNew(version, schema{steps: postgresSteps()})
	case version < newest:
		return fmt.Errorf("the database has version %d, and this program reads version %d: open it once to write", version, newest)
	}
	return nil
}

// migrate brings the schema to the newest version, in one transaction, under the
// lock of the writer.
func (l place) migrate(ctx context.Context, c *pgx.Conn, mustExist bool) (err error) {
	version, err := l.version(ctx, c)
	if err != nil {
		return err
	}
	steps := postgresSteps()
	if version == 0 && mustExist || version >= len(steps) {
		return l.checkVersion(ctx, c)
	}
	tx, err := c.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("bring the database from version %d to %d: %w", version, len(steps), err), ignoreClosed(tx.Rollback(ctx)))
		}
	}()
	if version == 0 {
		if err := l.begin(ctx, tx); err != nil {
			return err
		}
	}
	for _, step := range steps[version:] {
		if _, err := tx.Exec(ctx, step); err != nil {
			return err
		}
	}
	if _, err := tx.Exec(ctx, "UPDATE charter_ledger SET version = $1", len(steps)); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

// begin makes the schema, unless somebody with more rights has, and the table of
// its version.
func (l place) begin(ctx context.Context, tx pgx.Tx) error {
	var exists bool
	if err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)", l.schema).Scan(&exists); err != nil {
		return err
	}
	if !exists {
		if _, err := tx.Exec(ctx, "CREATE SCHEMA "+l.quoted()); err != nil {
			return fmt.Errorf("%w (or have it created: CREATE SCHEMA %s AUTHORIZATION the role of the ledger)", err, l.quoted())
		}
	}
	_, err := tx.Exec(ctx, "CREATE TABLE charter_ledger (version integer NOT NULL); INSERT INTO charter_ledger VALUES (0)")
	return err
}

// checkTables refuses tables that a crash would empty.
func (l place) checkTables(ctx context.Context, c *pgx.Conn) error {
	rows, err := c.Query(ctx, `SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = $1 AND c.relkind = 'r' AND c.relpersistence <> 'p' ORDER BY 1`, l.schema)
	if err != nil {
		return err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err == nil && len(names) > 0 {
		err = fmt.Errorf("%w: a crash would empty unlogged tables: %s (ALTER TABLE … SET LOGGED)", ledger.ErrDamaged, strings.Join(names, ", "))
	}
	return err
}

func ignoreClosed(err error) error {
	if errors.Is(err, pgx.ErrTxClosed) {
		return nil
	}
	return err
}

// damagedPostgres marks what the server says of tables that are not as they were
// written.
func damagedPostgres(err error) error {
	var failure *pgconn.PgError
	if errors.As(err, &failure) {
		switch failure.Code {
		case "XX001", "XX002", // data_corrupted, index_corrupted
			"58P01", "58030", // undefined_file, io_error
			"3F000", "42P01", "42703": // schema, table or column is gone
			return fmt.Errorf("%w: %w", ledger.ErrDamaged, err)
		}
	}
	return err
}

package ledgerdb

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// connectTimeout is for one host.
	connectTimeout = 5 * time.Second
	openTimeout    = 30 * time.Second
	// takeover is how long a new writer waits for the session of one that has
	// ended: the server notices the end of a process at once, and that of a
	// machine after the keepalive times below.
	takeover = 2 * time.Second
	// statementTimeout is for one statement of a commit, and lockTimeout for what
	// another session holds, such as VACUUM FULL or somebody at a prompt.
	statementTimeout = 20 * time.Second
	lockTimeout      = 5 * time.Second
	// idleTimeout is when the server ends a transaction whose writer has stalled.
	idleTimeout = 30 * time.Second
	// minServer is the oldest server that is still maintained, and tested.
	minServer = 140000
)

// connect opens the session that writes: it checks that the server keeps what it
// has committed, and takes the lock of the ledger. The first one migrates.
func (p *Postgres) connect(ctx context.Context, first bool) (err error) {
	conn, err := pgx.ConnectConfig(ctx, p.writer)
	if err != nil {
		return err
	}
	p.conn, p.warning = conn, ""
	defer func() {
		if err != nil {
			err = errors.Join(err, p.disconnect())
		}
	}()
	if err := p.checkServer(ctx); err != nil {
		return err
	}
	if err := p.lock(ctx); err != nil {
		return err
	}
	if first {
		err = p.place.migrate(ctx, conn, p.opts.MustExist)
	} else {
		err = p.place.checkVersion(ctx, conn)
	}
	if err != nil {
		return damagedPostgres(err)
	}
	if err := p.place.checkTables(ctx, conn); err != nil {
		return damagedPostgres(err)
	}
	return p.makeRoom(ctx)
}

// checkServer refuses a server that may lose what it has committed, and pins what
// a session can choose.
func (p *Postgres) checkServer(ctx context.Context) error {
	var version int
	var fsync, pages, synchronous, checksums string
	err := p.conn.QueryRow(ctx, `SELECT current_setting('server_version_num')::int, current_setting('fsync'), current_setting('full_page_writes'),
		current_setting('synchronous_commit'), current_setting('data_checksums')`).Scan(&version, &fsync, &pages, &synchronous, &checksums)
	if err != nil {
		return err
	}
	if version < minServer {
		return fmt.Errorf("the server has version %d.%d; version %d or later is needed", version/10000, version%10000, minServer/10000)
	}
	var bad []string
	for name, value := range map[string]string{"fsync": fsync, "full_page_writes": pages, "synchronous_commit": synchronous} {
		if value == "off" {
			bad = append(bad, name)
		}
	}
	if len(bad) > 0 {
		return errUnsafeServer(bad...)
	}
	if checksums != "on" {
		p.opts.Log.Warn("the database server does not notice damaged pages (data_checksums is off); verifying the ledger does", "ledger", p.place.String())
	}
	_, err = p.conn.Exec(ctx, `SELECT set_config('synchronous_commit', $1, false), set_config('statement_timeout', $2, false),
		set_config('lock_timeout', $3, false), set_config('idle_in_transaction_session_timeout', $4, false), set_config('idle_session_timeout', '0', false),
		set_config('default_transaction_read_only', 'off', false), set_config('tcp_keepalives_idle', '10', false),
		set_config('tcp_keepalives_interval', '5', false), set_config('tcp_keepalives_count', '3', false)`,
		synchronous, milliseconds(statementTimeout), milliseconds(lockTimeout), milliseconds(idleTimeout))
	return err
}

func errUnsafeServer(settings ...string) error {
	return fmt.Errorf("the server may lose what it has committed: %s is off; a ledger needs it on (see postgresql.conf, ALTER SYSTEM, ALTER ROLE and the URL)",
		strings.Join(settings, " is off, "))
}

// lockKey is the advisory lock of a ledger. Such locks are of one database.
func (l place) lockKey() int64 {
	sum := sha256.Sum256([]byte("charter ledger " + l.schema))
	return int64(binary.BigEndian.Uint64(sum[:]))
}

// lock takes the lock of the writer for this session. When it has it, every
// earlier session of a writer has ended, and with it the commit that it may have
// been at.
func (p *Postgres) lock(ctx context.Context) error {
	key := p.place.lockKey()
	deadline := time.Now().Add(takeover)
	for {
		var got bool
		if err := p.conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", key).Scan(&got); err != nil {
			return err
		}
		if got {
			return nil
		}
		if time.Now().After(deadline) {
			return p.inUse(ctx, key)
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// inUse says who has the lock, as far as the server tells.
func (p *Postgres) inUse(ctx context.Context, key int64) error {
	var pid int
	var name, address string
	var since time.Time
	err := p.conn.QueryRow(ctx, `SELECT l.pid, coalesce(a.application_name, ''), coalesce(host(a.client_addr), 'local'), coalesce(a.backend_start, now())
		FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid)
		WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.classid::bigint = $1 AND l.objid::bigint = $2
			AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
		int64(uint32(uint64(key)>>32)), int64(uint32(uint64(key)))).Scan(&pid, &name, &address, &since)
	if err != nil {
		return ErrInUse // who it was matters less
	}
	return fmt.Errorf("%w: %q, address %s, session %d since %s", ErrInUse, name, address, pid, since.UTC().Format(time.RFC3339))
}

// makeRoom makes the table that Probe fills to find out whether the disk is full.
// It is temporary: nothing of it is left behind.
func (p *Postgres) makeRoom(ctx context.Context) error {
	_, err := p.conn.Exec(ctx, "SET temp_tablespaces = ''; CREATE TEMPORARY TABLE room (data bytea) ON COMMIT DELETE ROWS")
	var failure *pgconn.PgError
	if errors.As(err, &failure) && failure.Code == "42501" { // insufficient_privilege
		p.opts.Log.Warn("without the right TEMPORARY on the database, a full disk is noticed late", "ledger", p.place.String())
		p.roomy = false
		return nil
	}
	p.roomy = err == nil
	return err
}

// session returns the session that writes, a new one if it was lost. The caller
// has the turn.
func (p *Postgres) session(ctx context.Context) (*pgx.Conn, error) {
	if p.failed != nil {
		return nil, p.failed
	}
	if p.conn == nil || p.conn.IsClosed() {
		if err := p.connect(ctx, false); err != nil {
			return nil, err
		}
		p.opts.Log.Info("connected to the database again", "ledger", p.place.String())
	}
	return p.conn, nil
}

// persist tries until it succeeds, for as long as only the connection is what
// fails. What it tries must not have happened when it fails so.
func persist(ctx context.Context, try func() error) error {
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, 500*time.Millisecond) {
		err := try()
		if err == nil || !connectionLost(err) {
			return err
		}
		if pause(ctx, wait) != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// connectionLost tells whether an error is about the way to the server, or the
// server's going away, rather than about what was asked.
func connectionLost(err error) bool {
	if errors.Is(err, errUnknown) {
		return false
	}
	var failure *pgconn.PgError
	if errors.As(err, &failure) {
		return strings.HasPrefix(failure.Code, "08") || // connection_exception
			strings.HasPrefix(failure.Code, "57P0") && failure.Code != "57P04" || // shut down, crashed, starting; not: database dropped
			failure.Code == "53300" || // too_many_connections
			failure.Code == "40001" // a standby that is catching up took away what was read
	}
	var connecting *pgconn.ConnectError
	var network *net.OpError
	return errors.As(err, &connecting) || errors.As(err, &network) || pgconn.SafeToRetry(err) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}

package ledgerdb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/westworld-charter/charter/internal/durable"
	"github.com/westworld-charter/charter/internal/ledger"
)

// PostgresOptions are [Options] for PostgreSQL.
type PostgresOptions Options

// Postgres is a [ledger.Store] in a schema of a PostgreSQL database.
//
// One session writes. It holds an advisory lock that is its own, so a second
// writer is refused at the start; should one get past it, the row that holds the
// head lets only one of them append. A session that is lost before COMMIT was
// sent has committed nothing, and a new one takes its place once it has the lock,
// so after the end of the old one. Lost during COMMIT, the outcome is unknown:
// the store writes no more, and opening it again finds out.
type Postgres struct {
	opts   PostgresOptions
	place  place
	writer *pgx.ConnConfig
	pool   *pgxpool.Pool // for reading

	// turn holds one token: who has it uses the session and what follows.
	turn    chan struct{}
	conn    *pgx.Conn // nil until it is needed, and when it was lost
	roomy   bool      // the session has a table to probe for disk space with
	warning string    // the latest of the server in this session
	known   head      // what this writer knows to be committed
	failed  error     // the outcome of a commit is unknown

	behind sync.WaitGroup // the goroutine that keeps the head file
	stop   chan struct{}
	wake   chan struct{}
}

// head is the row that every commit moves on.
type head struct {
	size uint64
	note []byte // nil for an empty log
}

var _ interface {
	ledger.Store
	ledger.Anchored
} = (*Postgres)(nil)

// headDelay is how far behind the head file may be.
const headDelay = 200 * time.Millisecond

// OpenPostgres opens the ledger that a URL names, as libpq takes it: several
// hosts, service and password files, and PG… variables included. The parameter
// schema picks one of several ledgers of a database; default is charter_ledger.
// Beyond the machine itself, connections are sslmode=verify-full unless the URL
// says otherwise.
//
// To write, the server must keep what it has committed: fsync, full_page_writes
// and synchronous_commit must be on. Errors wrap [ErrInUse], [ledger.ErrDamaged],
// [ledger.ErrNotFound] where no ledger may be made, or say what to do; none has
// the password.
func OpenPostgres(ctx context.Context, url string, o PostgresOptions) (*Postgres, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	config, where, err := parsePostgres(url)
	if err != nil {
		return nil, fmt.Errorf("open ledger in PostgreSQL: %w", err)
	}
	p := &Postgres{opts: o, place: where, turn: make(chan struct{}, 1), stop: make(chan struct{}), wake: make(chan struct{}, 1)}
	if err := p.open(ctx, config); err != nil {
		return nil, fmt.Errorf("open ledger in %s: %w", where, errors.Join(err, p.release()))
	}
	p.turn <- struct{}{}
	if !o.ReadOnly && o.Head != "" {
		p.wake <- struct{}{}
		p.behind.Go(p.followHead)
	}
	return p, nil
}

func (p *Postgres) open(ctx context.Context, config *pgxpool.Config) error {
	p.configure(config)
	var err error
	if p.pool, err = pgxpool.NewWithConfig(context.WithoutCancel(ctx), config); err != nil {
		return err
	}
	if p.opts.ReadOnly {
		return p.read(ctx, "look for the ledger", func(ctx context.Context, c *pgx.Conn) error {
			return p.place.checkVersion(ctx, c)
		})
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	if err := p.connect(ctx, true); err != nil {
		return err
	}
	size, note, err := p.Head(ctx)
	p.known = head{size, note}
	return err
}

// configure sets what holds for every connection, and what for that which writes.
func (p *Postgres) configure(config *pgxpool.Config) {
	c := config.ConnConfig
	if c.ConnectTimeout == 0 || c.ConnectTimeout > connectTimeout {
		c.ConnectTimeout = connectTimeout
	}
	c.RuntimeParams["search_path"] = p.place.quoted() + ", pg_temp"
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = applicationName()
	}
	if !p.opts.ReadOnly {
		// Of several hosts, the one that can be written; reading follows it, so
		// that an entry is found as soon as it is acknowledged.
		c.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsPrimary
	}
	p.writer = c.Copy()
	p.writer.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		if n.SeverityUnlocalized == "WARNING" {
			p.warning = n.Message
		}
	}
	c.RuntimeParams["statement_timeout"] = milliseconds(readTimeout)
	config.AfterConnect = func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, "SET default_transaction_read_only = on")
		return err
	}
}

// acquire waits for the session that writes.
func (p *Postgres) acquire(ctx context.Context) error {
	if p.opts.ReadOnly {
		return errReadOnly
	}
	select {
	case <-p.turn:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the session that writes: %w", ctx.Err())
	}
}

func (p *Postgres) yield() { p.turn <- struct{}{} }

// Anchor returns the checkpoint in the head file, if there is one: it tells that
// the database was set back to an older state.
func (p *Postgres) Anchor() ledger.HeadSource { return anchor(p.opts.Head) }

// followHead keeps the head file a moment behind the log.
func (p *Postgres) followHead() {
	timer := time.NewTimer(headDelay)
	defer timer.Stop()
	for {
		select {
		case <-p.stop:
			p.writeHead()
			return
		case <-p.wake:
		}
		timer.Reset(headDelay)
		select {
		case <-p.stop:
		case <-timer.C:
		}
		p.writeHead()
	}
}

func (p *Postgres) writeHead() {
	<-p.turn
	note := p.known.note
	p.yield()
	if note == nil {
		return
	}
	if err := durable.WriteFile(p.opts.Head, note); err != nil {
		p.opts.Log.Error("the head of the ledger is not kept a second time", "file", p.opts.Head, "error", err)
	}
}

// Close ends reading and writing, and gives up the lock.
func (p *Postgres) Close() error {
	close(p.stop)
	p.behind.Wait()
	if !p.opts.ReadOnly {
		<-p.turn // never to be given back
	}
	return p.release()
}

func (p *Postgres) release() error {
	if p.pool != nil {
		p.pool.Close()
	}
	return p.disconnect()
}

// disconnect gives up the session that writes.
func (p *Postgres) disconnect() error {
	if p.conn == nil {
		return nil
	}
	conn := p.conn
	p.conn = nil
	if conn.IsClosed() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return conn.Close(ctx)
}

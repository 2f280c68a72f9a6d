package ledgerdb

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/westworld-charter/charter/internal/ledger"
)

const (
	// commitLimit is how long a commit may take, waiting for a server that is away
	// included: a little less than what a log allows.
	commitLimit = 28 * time.Second
	probeLimit  = 5 * time.Second
)

const (
	moveHead = `UPDATE head SET size = $3, note = $4 WHERE size = $1 AND note IS NOT DISTINCT FROM $2`

	insertEntries = `INSERT INTO entries (idx, time, node, metric, clause, request, kind, outcome, severity, hash, body)
		SELECT $1 + n - 1, time, node, metric, clause, request, kind, outcome, severity, hash, body
		FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::integer[], $8::integer[], $9::integer[], $10::bytea[], $11::bytea[])
			WITH ORDINALITY AS new (time, node, metric, clause, request, kind, outcome, severity, hash, body, n)`

	insertTiles = `INSERT INTO tiles (id, data) SELECT * FROM unnest($1::bigint[], $2::bytea[])`

	insertCheckpoint = `INSERT INTO checkpoints (size, note, kind) VALUES ($1, $2, $3)
		ON CONFLICT (size) DO UPDATE SET note = excluded.note, kind = excluded.kind`
)

// Commit appends in one transaction: the row of the head is moved on, which holds
// off every other writer, the rest is inserted, and only when all of that was
// answered, COMMIT is sent.
func (p *Postgres) Commit(ctx context.Context, c ledger.Commit) error {
	if err := p.acquire(ctx); err != nil {
		return err
	}
	defer p.yield()
	// A commit that was begun is not given up for who waits: the log does not.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitLimit)
	defer cancel()
	next := p.known
	if len(c.Rows) > 0 {
		next = head{c.From + uint64(len(c.Rows)), c.Checkpoint}
	}
	err := persist(ctx, func() error {
		batch, err := p.batch(c, next)
		if err != nil {
			return err
		}
		if err := p.insert(ctx, c.From, batch); err != nil {
			return err
		}
		return p.commit(ctx)
	})
	if err != nil {
		return damagedPostgres(err)
	}
	p.known = next
	select {
	case p.wake <- struct{}{}:
	default:
	}
	return nil
}

// batch is all of a commit but COMMIT, for one session.
func (p *Postgres) batch(c ledger.Commit, next head) (*pgx.Batch, error) {
	b := &pgx.Batch{}
	b.Queue("begin")
	b.Queue(moveHead, c.From, p.known.note, next.size, next.note)
	if len(c.Rows) > 0 {
		b.Queue(insertEntries, columnsOf(c)...)
	}
	if len(c.Tiles) > 0 {
		var ids []int64
		var data [][]byte
		for _, tile := range c.Tiles {
			ids, data = append(ids, tileID(tile.Level, tile.Index)), append(data, tile.Data)
		}
		b.Queue(insertTiles, ids, data)
		b.Queue(insertCheckpoint, next.size, next.note, 1)
	}
	if c.Witnessed != nil {
		_, size, _, err := ledger.ParseCheckpoint(c.Witnessed)
		if err != nil {
			return nil, err
		}
		if size > next.size {
			return nil, fmt.Errorf("%w: a checkpoint of size %d was cosigned", ledger.ErrOutrun, size)
		}
		b.Queue(insertCheckpoint, size, c.Witnessed, 2)
	}
	// A timeout while COMMIT waits for a standby would end the waiting and call it
	// a success.
	b.Queue("set local statement_timeout = 0")
	return b, nil
}

func columnsOf(c ledger.Commit) []any {
	n := len(c.Rows)
	var long [5][]int64
	var short [3][]int32
	for i := range long {
		long[i] = make([]int64, n)
	}
	for i := range short {
		short[i] = make([]int32, n)
	}
	hashes, bodies := make([][]byte, n), make([][]byte, n)
	for i := range c.Rows {
		row := &c.Rows[i]
		k := keysOf(row.Columns, row.Request)
		long[0][i], long[1][i], long[2][i], long[3][i], long[4][i] = k.time, k.node, k.metric, k.clause, k.request
		short[0][i], short[1][i], short[2][i] = k.kind, k.outcome, k.severity
		hashes[i], bodies[i] = row.Hash[:], row.Body
	}
	return []any{c.From, long[0], long[1], long[2], long[3], long[4], short[0], short[1], short[2], hashes, bodies}
}

// keys are the columns of an entry as stored.
type keys struct {
	time, node, metric, clause, request int64
	kind, outcome, severity             int32
}

func keysOf(c ledger.Columns, request [32]byte) keys {
	k := keys{
		time: c.Time, node: textKey(c.Node), metric: textKey(c.Metric), clause: textKey(c.Clause),
		kind: shortKey(string(c.Kind)), outcome: shortKey(c.Outcome), severity: shortKey(c.Severity),
	}
	if request != [32]byte{} {
		k.request = longKey(c.Principal, c.RequestID)
	}
	return k
}

// insert does all of a commit but COMMIT. When it fails, nothing has happened.
func (p *Postgres) insert(ctx context.Context, from uint64, b *pgx.Batch) error {
	conn, err := p.session(ctx)
	if err != nil {
		return err
	}
	moved, err := sendBatch(ctx, conn, b)
	if err == nil && moved {
		return nil
	}
	if conn.IsClosed() {
		return err
	}
	if _, undo := conn.Exec(ctx, "rollback"); undo != nil {
		return errors.Join(err, undo, p.disconnect())
	}
	if moved {
		return err
	}
	var size uint64
	if err := conn.QueryRow(ctx, "SELECT size FROM head").Scan(&size); err != nil {
		return err
	}
	if size == from && from == p.known.size {
		return fmt.Errorf("%w: its head is another one of the same size %d", ledger.ErrOutrun, size)
	}
	return fmt.Errorf("%w: it has %d entries, not %d", ledger.ErrOutrun, size, from)
}

// sendBatch sends all statements at once. Moved tells whether the head was moved
// on, by the second of them.
func sendBatch(ctx context.Context, conn *pgx.Conn, b *pgx.Batch) (moved bool, err error) {
	results := conn.SendBatch(ctx, b)
	moved = true // unless the statement that moves it is answered otherwise
	for i := range b.Len() {
		tag, err := results.Exec()
		if err != nil {
			return moved, errors.Join(err, ignoreSame(results.Close(), err))
		}
		if i == 1 && tag.RowsAffected() != 1 {
			moved = false
		}
	}
	return moved, results.Close()
}

// ignoreSame returns an error unless it is the one that was returned before.
func ignoreSame(err, before error) error {
	if err != nil && before.Error() == err.Error() {
		return nil
	}
	return err
}

// errUnknown stops a store: the connection was lost after COMMIT was sent, or a
// standby has not confirmed it.
var errUnknown = errors.New("it is not known whether the commit has happened; opening the ledger again finds out")

// commit sends COMMIT. The answer must say that it is done and durable. Of an
// error nothing can be told: that of a connection which is lost afterwards says
// that it is safe to try again.
func (p *Postgres) commit(ctx context.Context) error {
	if p.conn.IsClosed() {
		return net.ErrClosed
	}
	p.warning = ""
	tag, err := p.conn.Exec(ctx, "commit")
	switch {
	case err != nil:
	case tag.String() != "COMMIT":
		err = fmt.Errorf("the server answered %q", tag)
	case p.warning != "":
		err = errors.New(p.warning)
	default:
		return nil
	}
	p.failed = fmt.Errorf("%w: %w", errUnknown, err)
	return errors.Join(p.failed, p.disconnect())
}

// Probe finds out whether a commit would succeed: it makes a small one, in the
// session that writes, and has the server take new disk space. It notices another
// server behind the address, one that became a standby, a head that somebody
// changed, and settings that were made unsafe.
func (p *Postgres) Probe(ctx context.Context) error {
	if err := p.acquire(ctx); err != nil {
		return fmt.Errorf("probe ledger: %w", err)
	}
	defer p.yield()
	// The session must not be lost because nobody waits for the answer any more.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeLimit)
	defer cancel()
	err := p.probe(ctx)
	if err != nil && p.conn != nil && p.conn.IsClosed() && p.failed == nil {
		err = p.probe(ctx) // the server has ended an idle session
	}
	if err != nil {
		return fmt.Errorf("probe ledger: %w", damagedPostgres(err))
	}
	return nil
}

func (p *Postgres) probe(ctx context.Context) error {
	conn, err := p.session(ctx)
	if err != nil {
		return err
	}
	var fsync, pages string
	if err := conn.QueryRow(ctx, "SELECT current_setting('fsync'), current_setting('full_page_writes')").Scan(&fsync, &pages); err != nil {
		return err
	}
	if fsync == "off" {
		return errUnsafeServer("fsync")
	}
	if pages == "off" {
		return errUnsafeServer("full_page_writes")
	}
	b := &pgx.Batch{}
	b.Queue("begin")
	b.Queue("UPDATE head SET probed = probed + 1 WHERE size = $1 AND note IS NOT DISTINCT FROM $2", p.known.size, p.known.note)
	if p.roomy {
		// As large as what a commit adds. Random bytes do not compress.
		data := make([]byte, 1<<10)
		rand.Read(data)
		b.Queue("INSERT INTO pg_temp.room SELECT $1 FROM generate_series(1, 64)", data)
	}
	b.Queue("commit")
	moved, err := sendBatch(ctx, conn, b)
	if err == nil && !moved {
		return fmt.Errorf("%w: its head is not the one that was written last", ledger.ErrOutrun)
	}
	if err != nil && !conn.IsClosed() {
		if _, undo := conn.Exec(ctx, "rollback"); undo != nil {
			err = errors.Join(err, p.disconnect())
		}
	}
	return err
}

// Prune forgets the bodies below an index, and what was known from them.
func (p *Postgres) Prune(ctx context.Context, below uint64) error {
	const step = 5000 // a transaction should not hold up appending
	size, _, err := p.Head(ctx)
	if err != nil {
		return fmt.Errorf("prune ledger: %w", err)
	}
	below = min(below, size)
	for from := uint64(0); from < below; from += step {
		if err := p.prune(ctx, from, min(from+step, below)); err != nil {
			return fmt.Errorf("prune ledger: %w", damagedPostgres(err))
		}
	}
	return nil
}

func (p *Postgres) prune(ctx context.Context, from, to uint64) error {
	if err := p.acquire(ctx); err != nil {
		return err
	}
	defer p.yield()
	return persist(ctx, func() error { // pruning twice is pruning once
		conn, err := p.session(ctx)
		if err != nil {
			return err
		}
		_, err = conn.Exec(ctx, `UPDATE entries SET body = NULL, time = 0, node = 0, metric = 0, clause = 0, request = 0, kind = 0, outcome = 0, severity = 0
			WHERE idx >= $1 AND idx < $2 AND body IS NOT NULL`, from, to)
		return err
	})
}

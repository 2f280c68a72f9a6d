package ledgerdb

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/westworld-charter/charter/internal/durable"
	"github.com/westworld-charter/charter/internal/ledger"
)

// index is what queries look at: index.db, and what is known of the entries that
// it lacks.
type index struct {
	store  *SQLite
	writer *sql.DB // nil when read-only
	reader *sql.DB // nil when there is no index.db

	mu sync.Mutex // guards what follows
	// tail are the entries from done on, unless they were too many.
	tail []tailRow
	// requests are those of entries from done on.
	requests map[[16]byte]uint64

	names names // for checking

	filling sync.Mutex // held by who fills; guards what follows
	done    uint64
	texts   map[string]int64
}

// tailRow is what the index takes from an entry.
type tailRow struct {
	index   uint64
	hash    [32]byte
	columns ledger.Columns
	request bool
}

const (
	maxTail  = 1 << 16
	maxTexts = 1 << 14
	// fillBatch is how many entries one transaction of index.db takes.
	fillBatch = 4096
	// cleanFile says that index.db was written out and closed.
	cleanFile = "index.clean"
)

// openIndex opens index.db, or begins a new one if it is not of this ledger or
// may have suffered, and fills it.
func openIndex(ctx context.Context, s *SQLite) (*index, error) {
	x := &index{store: s, requests: make(map[[16]byte]uint64), texts: make(map[string]int64)}
	err := x.openFile(ctx)
	if err == nil {
		err = x.belongs(ctx)
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, errors.Join(ctx.Err(), x.close())
		}
		s.opts.Log.Warn("the index of queries is built anew", "file", s.path(indexFile), "reason", err)
		if err := x.renew(ctx); err != nil {
			return nil, errors.Join(err, x.close())
		}
	}
	if err := os.Remove(s.path(cleanFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, errors.Join(err, x.close())
	}
	if err := x.fill(ctx, s.size); err != nil {
		return nil, errors.Join(err, x.close())
	}
	return x, nil
}

func (x *index) openFile(ctx context.Context) (err error) {
	path := x.store.path(indexFile)
	if x.writer, err = openDB(path, "rwc", "OFF", 1); err != nil {
		return err
	}
	if err := migrate(ctx, x.writer, indexSchema); err != nil {
		return err
	}
	x.reader, err = openDB(path, "ro", "OFF", readers)
	return err
}

// belongs tells whether the index is of this ledger and was not cut off by a
// crash of the machine.
func (x *index) belongs(ctx context.Context) error {
	var hash []byte
	var boot string
	err := x.writer.QueryRowContext(ctx, "SELECT size, hash, boot FROM done").Scan(&x.done, &hash, &boot)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := os.Stat(x.store.path(cleanFile)); err != nil && boot != bootID() {
		return errors.New("the machine has stopped while it was written")
	}
	if x.done == 0 {
		return nil
	}
	for row, err := range x.store.Rows(ctx, x.done-1, x.done) {
		if err != nil {
			return err
		}
		if string(row.Hash[:]) == string(hash) {
			return nil
		}
	}
	return errors.New("it is of another ledger")
}

// bootID tells one run of the machine from another; empty where nothing does.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

// renew begins a new index.
func (x *index) renew(ctx context.Context) error {
	if err := x.closeFiles(); err != nil {
		x.store.opts.Log.Warn("close the old index of queries", "error", err)
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(x.store.path(indexFile + suffix)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	x.done, x.texts = 0, make(map[string]int64)
	return x.openFile(ctx)
}

// openIndexReadOnly opens what there is to read. Without an index, queries look
// at every entry.
func openIndexReadOnly(ctx context.Context, s *SQLite) (*index, error) {
	x := &index{store: s}
	path := s.path(indexFile)
	if _, err := os.Stat(path); err != nil {
		return x, nil
	}
	var err error
	if x.reader, err = openReader(ctx, path); err == nil {
		err = checkVersion(ctx, x.reader, indexSchema)
	}
	if err == nil {
		return x, nil
	}
	s.opts.Log.Warn("the index of queries cannot be read: queries look at every entry", "file", path, "error", err)
	err = x.closeFiles()
	x.reader = nil
	return x, err
}

// add takes note of committed entries.
func (x *index) add(rows []ledger.Row) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for i := range rows {
		row := &rows[i]
		once := row.Request != [32]byte{}
		if once {
			key := requestKey(row.Principal, row.RequestID)
			if _, ok := x.requests[key]; !ok {
				x.requests[key] = row.Index
			}
		}
		if len(x.tail) < maxTail {
			x.tail = append(x.tail, tailRow{row.Index, row.Hash, row.Columns, once})
		}
	}
}

func requestKey(principal, id string) [16]byte {
	h := sha256.New()
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(principal))))
	h.Write([]byte(principal))
	h.Write([]byte(id))
	return [16]byte(h.Sum(nil))
}

// followLog keeps the index and the head file a moment behind the log.
func (s *SQLite) followLog() {
	timer := time.NewTimer(s.opts.Behind)
	defer timer.Stop()
	ctx := context.Background()
	for {
		select {
		case <-s.stop:
			s.catchUp(ctx)
			return
		case <-s.wake:
		}
		timer.Reset(s.opts.Behind / 2)
		select {
		case <-s.stop:
		case <-timer.C:
		}
		s.catchUp(ctx)
	}
}

func (s *SQLite) catchUp(ctx context.Context) {
	// The log goes on without either: queries look at the entries themselves.
	if err := s.writeAnchor(ctx); err != nil {
		s.opts.Log.Error("the head of the ledger is not kept a second time", "file", s.path(headFile), "error", err)
	}
	s.mu.Lock()
	size := s.size
	s.mu.Unlock()
	if err := s.index.fill(ctx, size); err != nil {
		s.opts.Log.Error("the index of queries is behind", "file", s.path(indexFile), "error", err)
	}
}

// fill brings the index up to a size of the log.
func (x *index) fill(ctx context.Context, size uint64) error {
	x.filling.Lock()
	defer x.filling.Unlock()
	for x.done < size {
		rows, err := x.next(ctx, min(size-x.done, fillBatch))
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			return fmt.Errorf("%w: entry %d is missing", ledger.ErrDamaged, x.done)
		}
		if err := x.insert(ctx, rows); err != nil {
			x.texts = make(map[string]int64) // some were of the transaction that failed
			return wrap("fill the index", err)
		}
		x.done += uint64(len(rows))
		x.forget()
	}
	return nil
}

// next returns entries to take in: from memory, or from the log.
func (x *index) next(ctx context.Context, count uint64) ([]tailRow, error) {
	x.mu.Lock()
	if len(x.tail) > 0 && x.tail[0].index == x.done {
		rows := x.tail[:min(uint64(len(x.tail)), count)]
		x.mu.Unlock()
		return rows, nil
	}
	x.mu.Unlock()
	var rows []tailRow
	for row, err := range x.store.Rows(ctx, x.done, x.done+count) {
		if err != nil {
			return nil, err
		}
		if row.Index != x.done+uint64(len(rows)) {
			break
		}
		rows = append(rows, tailRow{row.Index, row.Hash, row.Columns, row.Request != [32]byte{}})
	}
	return rows, nil
}

// forget drops from memory what index.db has.
func (x *index) forget() {
	x.mu.Lock()
	defer x.mu.Unlock()
	n := 0
	for n < len(x.tail) && x.tail[n].index < x.done {
		n++
	}
	x.tail = append([]tailRow(nil), x.tail[n:]...)
	for key, index := range x.requests {
		if index < x.done {
			delete(x.requests, key)
		}
	}
}

func (x *index) insert(ctx context.Context, rows []tailRow) (err error) {
	tx, err := x.writer.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tx.Rollback())
		}
	}()
	add, err := tx.PrepareContext(ctx, "INSERT INTO rows (idx, time, kind, node, metric, clause, outcome, severity) VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
	if err != nil {
		return err
	}
	request, err := tx.PrepareContext(ctx, "INSERT OR IGNORE INTO requests (key, idx) VALUES (?, ?)")
	if err != nil {
		return err
	}
	for i := range rows {
		row, c := &rows[i], &rows[i].columns
		args := append(make([]any, 0, 8), row.index, c.Time)
		for _, text := range [...]string{string(c.Kind), c.Node, c.Metric, c.Clause, c.Outcome, c.Severity} {
			id, err := x.text(ctx, tx, text)
			if err != nil {
				return err
			}
			args = append(args, id)
		}
		if _, err := add.ExecContext(ctx, args...); err != nil {
			return err
		}
		if row.request {
			key := requestKey(c.Principal, c.RequestID)
			if _, err := request.ExecContext(ctx, key[:], row.index); err != nil {
				return err
			}
		}
	}
	last := &rows[len(rows)-1]
	if _, err := tx.ExecContext(ctx, "INSERT INTO done VALUES (1, ?, ?, ?) ON CONFLICT (one) DO UPDATE SET size = excluded.size, hash = excluded.hash, boot = excluded.boot",
		last.index+1, last.hash[:], bootID()); err != nil {
		return err
	}
	return tx.Commit()
}

// text returns the number of a text, and gives it one.
func (x *index) text(ctx context.Context, tx *sql.Tx, text string) (id int64, err error) {
	if id, ok := x.texts[text]; ok {
		return id, nil
	}
	err = tx.QueryRowContext(ctx, "SELECT id FROM texts WHERE text = ?", text).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		err = tx.QueryRowContext(ctx, "INSERT INTO texts (text) VALUES (?) RETURNING id", text).Scan(&id)
	}
	if err != nil {
		return 0, err
	}
	if len(x.texts) >= maxTexts {
		clear(x.texts)
	}
	x.texts[text] = id
	return id, nil
}

// prune drops what is known of pruned entries.
func (x *index) prune(ctx context.Context, below uint64) error {
	_, err := x.writer.ExecContext(ctx, "UPDATE rows SET time = 0, kind = 1, node = 1, metric = 1, clause = 1, outcome = 1, severity = 1 WHERE idx < ? AND time <> 0", below)
	if err == nil {
		_, err = x.writer.ExecContext(ctx, "DELETE FROM requests WHERE idx < ?", below)
	}
	return wrap("prune the index", err)
}

func (x *index) closeFiles() error {
	var all []error
	for _, db := range []*sql.DB{x.reader, x.writer} {
		if db != nil {
			all = append(all, db.Close())
		}
	}
	x.reader = nil
	return errors.Join(all...)
}

// close writes the index out, so that the machine may stop.
func (x *index) close() error {
	written := x.writer != nil
	if err := x.closeFiles(); err != nil || !written {
		return err
	}
	f, err := os.OpenFile(x.store.path(indexFile), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return durable.WriteFile(x.store.path(cleanFile), []byte("index.db was written out\n"))
}

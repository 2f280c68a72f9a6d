package ledgerdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	_ "modernc.org/sqlite" // the driver named sqlite

	"github.com/westworld-charter/charter/internal/durable"
	"github.com/westworld-charter/charter/internal/ledger"
)

// Names of files in the directory of a ledger. SQLite adds -wal and -shm.
const (
	ledgerFile = "ledger.db" // entries, tiles, checkpoints
	indexFile  = "index.db"  // for queries; can be deleted
	headFile   = "head"      // the latest checkpoint once more
	lockFile   = "lock"      // held by the process that writes
)

// SQLiteOptions say how a ledger in files is opened. The zero value opens it to
// write, and makes it if there is none.
type SQLiteOptions struct {
	// ReadOnly is for auditors: nothing is changed, and another process may be
	// writing.
	ReadOnly bool
	// MustExist refuses to make a new ledger: for opening one again that was open.
	MustExist bool
	// Behind is how long an entry may wait before the index of queries and the
	// head file have it, which queries make up for; 0 is 200 ms.
	Behind time.Duration
	// Log gets what operators should know; nil is nothing.
	Log *slog.Logger
}

// ErrInUse marks a ledger that another process writes.
var ErrInUse = errors.New("another process writes this ledger")

// SQLite is a [ledger.Store] in a directory.
type SQLite struct {
	dir    string
	opts   SQLiteOptions
	lock   *os.File // nil when read-only
	writer *sql.DB  // one connection; nil when read-only
	reader *sql.DB
	stmts  statements
	index  *index // nil when there is none to read

	mu    sync.Mutex // held by who writes or looks at files
	files []identity // what the connections have open
	size  uint64     // entries

	behind sync.WaitGroup // the goroutine that follows the log
	stop   chan struct{}
	wake   chan struct{}
}

var _ ledger.Store = (*SQLite)(nil)

// OpenSQLite opens the ledger in a directory. Before SQLite may touch it, its
// write-ahead log is checked: SQLite drops whatever follows a bad frame without a
// word. Errors wrap [ErrInUse], [ledger.ErrDamaged] or say what to do.
func OpenSQLite(ctx context.Context, dir string, o SQLiteOptions) (*SQLite, error) {
	if o.Behind <= 0 {
		o.Behind = 200 * time.Millisecond
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &SQLite{dir: dir, opts: o, stop: make(chan struct{}), wake: make(chan struct{}, 1)}
	if err := s.open(ctx); err != nil {
		return nil, fmt.Errorf("open ledger in %s: %w", dir, errors.Join(err, s.release()))
	}
	if !o.ReadOnly {
		s.behind.Go(s.followLog)
	}
	return s, nil
}

func (s *SQLite) path(name string) string { return filepath.Join(s.dir, name) }

func (s *SQLite) open(ctx context.Context) error {
	if s.opts.ReadOnly {
		return s.openReadOnly(ctx)
	}
	if err := durable.MkdirAll(s.dir); err != nil {
		return err
	}
	var err error
	if s.lock, err = lockDir(s.path(lockFile)); err != nil {
		return err
	}
	if err := checkWAL(s.path(ledgerFile)); err != nil {
		return err
	}
	_, err = os.Stat(s.path(ledgerFile))
	fresh := errors.Is(err, os.ErrNotExist)
	if fresh {
		if s.opts.MustExist {
			return fmt.Errorf("%w: %s is gone", ledger.ErrDamaged, ledgerFile)
		}
		if err := s.mayBeFresh(); err != nil {
			return err
		}
	}
	if s.writer, err = openDB(s.path(ledgerFile), "rwc", "FULL", 1); err != nil {
		return err
	}
	if err := migrate(ctx, s.writer, ledgerSchema); err != nil {
		return damaged(err)
	}
	if fresh {
		if err := durable.SyncDir(s.dir); err != nil {
			return err
		}
	}
	if s.reader, err = openDB(s.path(ledgerFile), "ro", "FULL", readers); err != nil {
		return err
	}
	if err := s.stmts.prepare(ctx, s.writer); err != nil {
		return damaged(err)
	}
	if s.size, _, err = s.Head(ctx); err != nil {
		return err
	}
	if s.files, err = identities(s.path(ledgerFile), s.path(ledgerFile+"-wal")); err != nil {
		return err
	}
	s.index, err = openIndex(ctx, s)
	return err
}

// mayBeFresh refuses to begin a new ledger where one was: with nothing but its
// index and its head left, it was deleted.
func (s *SQLite) mayBeFresh() error {
	_, err := os.Stat(s.path(headFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("%w: %s is gone, and %s says that there was one", ledger.ErrDamaged, ledgerFile, headFile)
}

// readers is how many connections read at the same time.
const readers = 4

// openDB opens connections to a file. Reading waits for a lock as long as a
// checkpoint may take.
func openDB(path, mode, synchronous string, connections int) (*sql.DB, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	u := url.URL{Scheme: "file", Path: absolute}
	pragmas := "&_pragma=busy_timeout(5000)&_pragma=synchronous(" + synchronous + ")"
	if mode == "rwc" {
		pragmas += "&_pragma=journal_mode(WAL)&_pragma=journal_size_limit(67108864)&_txlock=immediate"
	} else {
		pragmas += "&_pragma=query_only(1)"
	}
	db, err := sql.Open("sqlite", u.String()+"?mode="+mode+pragmas)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db, nil
}

// Close ends reading and writing. What was committed and is not yet in the index
// is put there.
func (s *SQLite) Close() error {
	if s.lock != nil {
		close(s.stop)
		s.behind.Wait()
	}
	return s.release()
}

func (s *SQLite) release() error {
	var all []error
	if s.index != nil {
		all = append(all, s.index.close())
	}
	all = append(all, s.stmts.close())
	// The last connection to close is the writer, which empties the log.
	for _, db := range []*sql.DB{s.reader, s.writer} {
		if db != nil {
			all = append(all, db.Close())
		}
	}
	if s.lock != nil {
		all = append(all, s.lock.Close())
	}
	if s.opts.ReadOnly {
		s.tidy(ledgerFile)
		s.tidy(indexFile)
	}
	return errors.Join(all...)
}

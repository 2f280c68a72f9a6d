//go:build linux

package ledgerdb_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledger/ledgertest"
	"github.com/westworld-charter/charter/internal/ledgerdb"
	"github.com/westworld-charter/charter/internal/ledgerdb/postgrestest"
)

// rounds is how often a fault is repeated: more in the long form.
func rounds(short, long int) int {
	if os.Getenv("CHARTER_FAULT") == "long" {
		return long
	}
	return short
}

// storm appends with 16 writers while faults happen, and opens the ledger again
// when it has stopped.
type storm struct {
	url    string
	signer ledger.Signer

	mu       sync.Mutex
	acked    map[uint64]string // decision ids by index
	next     int
	stopped  int // logs that a fault has stopped
	survived int // that went on after it
}

func newStorm(t testing.TB, url string) *storm {
	return &storm{url: url, signer: ledgertest.NewSigner(t), acked: make(map[uint64]string)}
}

// reopen opens the store as soon as the server is there again.
func (s *storm) reopen(t testing.TB) *ledgerdb.Postgres {
	t.Helper()
	until := time.Now().Add(30 * time.Second)
	for {
		store, err := ledgerdb.OpenPostgres(context.Background(), s.url, ledgerdb.PostgresOptions{})
		if err == nil {
			return store
		}
		if time.Now().After(until) {
			t.Fatal(err)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// round appends, has the fault happen, and appends on unless the log has stopped.
func (s *storm) round(t testing.TB, fault func()) {
	t.Helper()
	ctx := context.Background()
	store := s.reopen(t)
	l, err := ledger.Open(ctx, store, ledger.Options{Origin: ledgertest.Origin, Signers: []ledger.Signer{s.signer}})
	if err != nil {
		t.Fatal(err)
	}
	enough := make(chan struct{})
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() { s.write(t, l, enough) })
	}
	s.wait(l, l.Stats().Size+uint64(100+rand.IntN(400)))
	fault()
	s.wait(l, l.Stats().Size+100)
	close(enough)
	group.Wait()
	if err := l.Stats().Err; err != nil {
		s.stopped++
		t.Log(err)
	} else {
		s.survived++
	}
	// What stopped a log is told, and that is all it does.
	if err := errors.Join(l.Close(), store.Close()); err != nil && !errors.Is(err, ledger.ErrStopped) {
		t.Error(err)
	}
}

// wait waits until the log has a size, or has stopped.
func (s *storm) wait(l *ledger.Log, size uint64) {
	for until := time.Now().Add(30 * time.Second); time.Now().Before(until); <-time.After(time.Millisecond) {
		if stats := l.Stats(); stats.Err != nil || stats.Size >= size {
			return
		}
	}
}

func (s *storm) write(t testing.TB, l *ledger.Log, enough chan struct{}) {
	for {
		select {
		case <-enough:
			return
		default:
		}
		s.mu.Lock()
		s.next++
		e := ledgertest.Denial(s.next)
		s.mu.Unlock()
		p, err := l.Append(context.Background(), e, ledger.Durable)
		if err != nil {
			if !errors.Is(err, ledger.ErrStopped) {
				t.Error(err)
			}
			return
		}
		s.mu.Lock()
		s.acked[p.Index] = e.DecisionID
		s.mu.Unlock()
	}
}

// check verifies the ledger, and that everything acknowledged is there, where it
// was said to be, and nothing twice.
func (s *storm) check(t testing.TB) {
	t.Helper()
	store := openPostgres(t, s.url, ledgerdb.PostgresOptions{ReadOnly: true})
	defer shut(t, store)
	report, err := verify(t, store, ledgertest.Keys(t, s.signer))
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]uint64)
	for row, err := range store.Rows(context.Background(), 0, report.Size) {
		if err != nil {
			t.Fatal(err)
		}
		e, err := ledger.ParseEntry(row.Body)
		if err != nil {
			t.Fatal(err)
		}
		if first, twice := seen[e.DecisionID]; twice {
			t.Errorf("%s is at %d and at %d", e.DecisionID, first, row.Index)
		}
		seen[e.DecisionID] = row.Index
		if id, ok := s.acked[row.Index]; ok && id != e.DecisionID {
			t.Errorf("entry %d is %s, %s was acknowledged", row.Index, e.DecisionID, id)
		}
		delete(s.acked, row.Index)
	}
	if len(s.acked) > 0 {
		t.Errorf("%d acknowledged entries are lost: %v", len(s.acked), s.acked)
	}
	t.Logf("%d entries; faults stopped the log %d times, and not %d times", report.Size, s.stopped, s.survived)
}

func killedMidCommit(t *testing.T, server *postgrestest.Server) {
	s := newStorm(t, server.URL(schemaOf(t)))
	for range rounds(3, 100) {
		s.round(t, func() { server.Kill(t); server.Run(t) })
	}
	s.check(t)
}

func sessionsLost(t *testing.T, server *postgrestest.Server) {
	sessions := func(t testing.TB) (pids []int) {
		c := server.Connect(t)
		defer func() { _ = c.Close(context.Background()) }()
		rows, err := c.Query(context.Background(), "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'charter ledger%'")
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var pid int
			if err := rows.Scan(&pid); err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
		if err := rows.Err(); err != nil || len(pids) == 0 {
			t.Fatal(pids, err)
		}
		return pids
	}
	for name, fault := range map[string]func(t *testing.T){
		"terminated": func(t *testing.T) {
			server.Exec(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'charter ledger%'")
		},
		"killed":    func(t *testing.T) { server.KillSession(t, sessions(t)[0]) },
		"restarted": func(t *testing.T) { server.Stop(t); server.Run(t) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStorm(t, server.URL(schemaOf(t)))
			for range rounds(2, 50) {
				s.round(t, func() { fault(t) })
			}
			s.check(t)
		})
	}
}

// A standby takes over. What was acknowledged is on it, since the primary waited
// for it.
func TestPostgresFailover(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for range rounds(1, 10) {
		primary := postgrestest.Start(t)
		url := strings.Replace(primary.URL("failover"), primary.Address(), primary.Address()+",127.0.0.1:1", 1) // nothing is there yet
		s := newStorm(t, url)
		s.round(t, func() {})
		standby := primary.Standby(t)
		s.url = strings.Replace(url, "127.0.0.1:1", standby.Address(), 1)
		primary.Exec(t, "ALTER SYSTEM SET synchronous_standby_names = '*'")
		primary.Exec(t, "SELECT pg_reload_conf()")
		if _, err := ledgerdb.OpenPostgres(ctx, standby.URL("failover"), ledgerdb.PostgresOptions{}); err == nil || !strings.Contains(err.Error(), "standby") {
			t.Errorf("a standby was opened to write: %v", err)
		}
		auditor := openPostgres(t, standby.URL("failover"), ledgerdb.PostgresOptions{ReadOnly: true})
		s.round(t, func() {
			primary.Kill(t)
			standby.Exec(t, "SELECT pg_promote()")
		})
		s.round(t, func() {})
		if _, err := verify(t, auditor, ledgertest.Keys(t, s.signer)); err != nil {
			t.Error(err)
		}
		shut(t, auditor)
		s.check(t)
	}
}

func TestPostgresDiskFull(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	server := postgrestest.StartOnSmallDisk(t, 160)
	url, signer := server.URL("disk_full"), ledgertest.NewSigner(t)
	s := openPostgres(t, url, ledgerdb.PostgresOptions{})
	l := ledgertest.NewLog(t, s, signer, nil)
	ledgertest.Append(t, l, 100)
	if err := l.Health(ctx); err != nil {
		t.Error(err)
	}
	server.Fill(t)
	if err := l.Health(ctx); err == nil || !strings.Contains(err.Error(), "No space left") {
		t.Errorf("health with a full disk: %v", err)
	}
	acked := l.Stats().Size
	var err error
	for n := 0; err == nil && n < 5000; n++ {
		if _, err = l.Append(ctx, ledgertest.Denial(n), ledger.Durable); err == nil {
			acked++
		}
	}
	if !errors.Is(err, ledger.ErrStopped) {
		t.Errorf("append with a full disk: %v", err)
	}
	_ = l.Close()
	shut(t, s)
	server.Empty(t)
	s = openPostgres(t, url, ledgerdb.PostgresOptions{})
	defer shut(t, s)
	l = ledgertest.NewLog(t, s, signer, nil)
	if size := l.Stats().Size; size != acked {
		t.Errorf("%d entries, %d were acknowledged", size, acked)
	}
	ledgertest.Append(t, l, 10)
	if err := l.Health(ctx); err != nil {
		t.Error(err)
	}
	if _, err := verify(t, s, ledgertest.Keys(t, signer)); err != nil {
		t.Error(err)
	}
}

func secondWriter(t *testing.T, server *postgrestest.Server) {
	ctx := context.Background()
	url := server.URL("writers")
	first := openPostgres(t, url, ledgerdb.PostgresOptions{})
	signer := ledgertest.NewSigner(t)
	l := ledgertest.NewLog(t, first, signer, nil)
	ledgertest.Append(t, l, 10)
	_, err := ledgerdb.OpenPostgres(ctx, url, ledgerdb.PostgresOptions{})
	if !errors.Is(err, ledgerdb.ErrInUse) || !strings.Contains(err.Error(), fmt.Sprint("process ", os.Getpid())) {
		t.Fatalf("a second writer: %v", err)
	}
	// Another ledger of the same database is another ledger.
	shut(t, openPostgres(t, server.URL("other"), ledgerdb.PostgresOptions{}))

	// The first one loses its session, and the second is faster.
	opened := make(chan *ledgerdb.Postgres)
	go func() {
		s, err := ledgerdb.OpenPostgres(ctx, url, ledgerdb.PostgresOptions{})
		if err != nil {
			t.Error(err)
		}
		opened <- s
	}()
	// The lock is the beginning of a hash of the schema, in two halves.
	server.Exec(t, `SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted
		AND classid::bigint = ('x' || left(encode(sha256('charter ledger writers'), 'hex'), 8))::bit(32)::bigint`)
	second := <-opened
	if second == nil {
		return
	}
	if _, err := l.Append(ctx, ledgertest.Denial(1), ledger.Durable); !errors.Is(err, ledgerdb.ErrInUse) || !errors.Is(err, ledger.ErrStopped) {
		t.Errorf("the first writer: %v", err)
	}
	if err := first.Probe(ctx); !errors.Is(err, ledgerdb.ErrInUse) {
		t.Errorf("probe of the first writer: %v", err)
	}
	l2 := ledgertest.NewLog(t, second, signer, nil)
	ledgertest.Append(t, l2, 10)
	shut(t, l2, second)
	// The lock is free now, and the first one does not know what was appended.
	if err := first.Probe(ctx); !errors.Is(err, ledger.ErrOutrun) {
		t.Errorf("probe of the first writer: %v", err)
	}
	if err := first.Commit(ctx, ledger.Commit{From: 10, Rows: []ledger.Row{{Index: 10}}, Checkpoint: []byte("x")}); !errors.Is(err, ledger.ErrOutrun) {
		t.Errorf("commit of the first writer: %v", err)
	}
	shut(t, first)
}

// Two writers that both believe to be alone: the row of the head decides.
func headIsMoved(t *testing.T, server *postgrestest.Server) {
	ctx := context.Background()
	s := openPostgres(t, server.URL("moved"), ledgerdb.PostgresOptions{})
	defer shut(t, s)
	l := ledgertest.NewLog(t, s, ledgertest.NewSigner(t), nil)
	ledgertest.Append(t, l, 5)

	other := server.Connect(t)
	defer func() { _ = other.Close(ctx) }()
	exec := func(sql string) {
		t.Helper()
		if _, err := other.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	// While somebody holds the row, a commit waits, and then fails with a reason.
	exec("BEGIN; SELECT size FROM moved.head FOR UPDATE")
	_, err := l.Append(ctx, ledgertest.Denial(6), ledger.Durable)
	if !errors.Is(err, ledger.ErrStopped) || !strings.Contains(err.Error(), "lock timeout") {
		t.Errorf("while the head is locked: %v", err)
	}
	exec("ROLLBACK")
	if size, _, err := s.Head(ctx); size != 5 || err != nil {
		t.Errorf("size %d, %v", size, err)
	}
	if err := s.Probe(ctx); err != nil {
		t.Error(err)
	}
	// Another head, of the same size.
	exec("UPDATE moved.head SET note = 'another'")
	if err := errors.Join(s.Probe(ctx)); !errors.Is(err, ledger.ErrOutrun) {
		t.Errorf("probe: %v", err)
	}
	if err := s.Commit(ctx, ledger.Commit{From: 5, Rows: []ledger.Row{{Index: 5}}, Checkpoint: []byte("x")}); !errors.Is(err, ledger.ErrOutrun) {
		t.Errorf("commit: %v", err)
	}
}

// A database that was set back to an older state is noticed by the head file.
func setBack(t *testing.T, server *postgrestest.Server) {
	ctx := context.Background()
	head := filepath.Join(t.TempDir(), "head")
	options := ledgerdb.PostgresOptions{Head: head}
	signer := ledgertest.NewSigner(t)
	s := openPostgres(t, server.URL("set_back"), options)
	l := ledgertest.NewLog(t, s, signer, nil)
	ledgertest.Append(t, l, 5)
	shut(t, l, s)
	server.Exec(t, "CREATE SCHEMA copy; CREATE TABLE copy.head AS SELECT * FROM set_back.head")
	s = openPostgres(t, server.URL("set_back"), options)
	l = ledgertest.NewLog(t, s, signer, nil)
	ledgertest.Append(t, l, 5)
	shut(t, l, s)
	server.Exec(t, "DELETE FROM set_back.entries WHERE idx >= 5; UPDATE set_back.head SET (size, note) = (SELECT size, note FROM copy.head)")
	s = openPostgres(t, server.URL("set_back"), options)
	defer shut(t, s)
	if _, err := ledger.Open(ctx, s, ledger.Options{Origin: ledgertest.Origin, Signers: []ledger.Signer{signer}}); !errors.Is(err, ledger.ErrBehind) {
		t.Errorf("open: %v", err)
	}
	if _, err := verify(t, s, ledgertest.Keys(t, signer)); !errors.Is(err, ledger.ErrBehind) {
		t.Errorf("verify: %v", err)
	}
}

package ledgerdb_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledger/ledgertest"
	"github.com/westworld-charter/charter/internal/ledgerdb"
)

func open(t testing.TB, dir string, o ledgerdb.SQLiteOptions) *ledgerdb.SQLite {
	t.Helper()
	s, err := ledgerdb.OpenSQLite(context.Background(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func shut(t testing.TB, closers ...interface{ Close() error }) {
	t.Helper()
	for _, c := range closers {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func verify(t testing.TB, s ledger.Store, keys ledger.Keys) (ledger.Report, error) {
	t.Helper()
	return ledger.Verify(context.Background(), s, ledger.VerifyOptions{Keys: keys, Pinned: true})
}

func TestAppendFindVerify(t *testing.T) {
	dir, signer := filepath.Join(t.TempDir(), "ledger"), ledgertest.NewSigner(t)
	ctx := context.Background()
	for round := range 3 {
		s := open(t, dir, ledgerdb.SQLiteOptions{})
		l := ledgertest.NewLog(t, s, signer, nil)
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() { ledgertest.Append(t, l, 100) })
		}
		group.Wait()
		if err := l.Health(ctx); err != nil {
			t.Error(err)
		}
		for _, newest := range []bool{false, true} {
			found, last := 0, uint64(0)
			for row, err := range l.Reader().Find(ctx, ledger.Filter{Node: "edge-7", Metric: "node_gps_fix_7", Newest: newest}) {
				if err != nil {
					t.Fatal(err)
				}
				if found > 0 && row.Index < last != newest {
					t.Error("out of order")
				}
				last = row.Index
				found++
			}
			if want := 8 * (round + 1); found != want {
				t.Errorf("newest %v: found %d, want %d", newest, found, want)
			}
		}
		auditor := open(t, dir, ledgerdb.SQLiteOptions{ReadOnly: true})
		report, err := verify(t, auditor, ledgertest.Keys(t, signer))
		if err != nil || report.Size != uint64(800*(round+1)) {
			t.Fatalf("%+v, %v", report, err)
		}
		shut(t, auditor, l, s)
		report, err = verify(t, open(t, dir, ledgerdb.SQLiteOptions{ReadOnly: true}), ledgertest.Keys(t, signer))
		if err != nil || report.Size != uint64(800*(round+1)) || report.Level != ledger.AssuredAnchored {
			t.Fatalf("%+v, %v", report, err)
		}
	}
}

func TestSecondWriterIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, ledgerdb.SQLiteOptions{})
	defer shut(t, s)
	if _, err := ledgerdb.OpenSQLite(context.Background(), dir, ledgerdb.SQLiteOptions{}); !errors.Is(err, ledgerdb.ErrInUse) {
		t.Errorf("%v", err)
	}
}

func BenchmarkClosedLoop(b *testing.B) {
	dir, signer := b.TempDir(), ledgertest.NewSigner(b)
	s := open(b, dir, ledgerdb.SQLiteOptions{})
	l := ledgertest.NewLog(b, s, signer, nil)
	jobs := make(chan int)
	var group sync.WaitGroup
	for range 64 {
		group.Go(func() {
			for n := range jobs {
				if _, err := l.Append(context.Background(), ledgertest.Denial(n), ledger.Durable); err != nil {
					b.Error(err)
				}
			}
		})
	}
	begin := time.Now()
	for n := range b.N {
		jobs <- n
	}
	close(jobs)
	group.Wait()
	took := time.Since(begin)
	shut(b, l, s)
	b.ReportMetric(float64(b.N)/took.Seconds(), "entries/s")
	for _, name := range []string{"ledger.db", "index.db"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(info.Size())/float64(b.N), name+"-B/entry")
	}
}

//go:build linux

package ledgerdb_test

import (
	"context"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledger/ledgertest"
	"github.com/westworld-charter/charter/internal/ledgerdb"
	"github.com/westworld-charter/charter/internal/ledgerdb/postgrestest"
)

// BenchmarkPostgres measures a ledger of CHARTER_ENTRIES entries (100,000) in a
// server with fsync on: 5,000 entries at 1,000 a second, then 64 writers, what an
// entry takes on disk, and how long reading takes. Run it with -benchtime 1x.
func BenchmarkPostgres(b *testing.B) {
	entries := 100_000
	if n, err := strconv.Atoi(os.Getenv("CHARTER_ENTRIES")); err == nil {
		entries = n
	}
	server := postgrestest.Start(b, "shared_buffers = 128MB", "max_wal_size = 4GB")
	for b.Loop() {
		url := server.URL("bench")
		s := openPostgres(b, url, ledgerdb.PostgresOptions{})
		signer := ledgertest.NewSigner(b)
		l := ledgertest.NewLog(b, s, signer, nil)
		latency := openLoop(b, l, 5000)
		b.ReportMetric(latency[len(latency)/2].Seconds()*1e3, "ms-open-loop-p50")
		b.ReportMetric(latency[len(latency)*99/100].Seconds()*1e3, "ms-open-loop-p99")
		begin := time.Now()
		closedLoop(b, l, entries-len(latency))
		b.ReportMetric(float64(entries-len(latency))/time.Since(begin).Seconds(), "entries/s-64-writers")
		b.ReportMetric(float64(bodies(b, s))/float64(entries), "B-body")
		server.Exec(b, "VACUUM ANALYZE")
		b.ReportMetric(size(b, server)/float64(entries), "B-entry")
		reading(b, s, entries)
		begin = time.Now()
		if _, err := verify(b, s, ledgertest.Keys(b, signer)); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(entries)/time.Since(begin).Seconds(), "entries/s-verify")
		shut(b, l, s)
		server.Exec(b, "DROP SCHEMA bench CASCADE")
	}
}

// openLoop appends a thousand times a second, however long each takes, and
// returns how long it took from when it was due, sorted.
func openLoop(b *testing.B, l *ledger.Log, count int) []time.Duration {
	latency := make([]time.Duration, count)
	begin := time.Now()
	var group sync.WaitGroup
	for n := range count {
		due := begin.Add(time.Duration(n) * time.Millisecond)
		<-time.After(time.Until(due))
		group.Go(func() {
			if _, err := l.Append(context.Background(), ledgertest.Denial(n), ledger.Durable); err != nil {
				b.Error(err)
			}
			latency[n] = time.Since(due)
		})
	}
	group.Wait()
	slices.Sort(latency)
	return latency
}

func closedLoop(b *testing.B, l *ledger.Log, count int) {
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
	for n := range count {
		jobs <- n
	}
	close(jobs)
	group.Wait()
}

func bodies(b *testing.B, s ledger.Store) (bytes int) {
	for row, err := range s.Rows(context.Background(), 0, 1<<40) {
		if err != nil {
			b.Fatal(err)
		}
		bytes += len(row.Body)
	}
	return bytes
}

// size is what all tables and indexes take on disk.
func size(b *testing.B, server *postgrestest.Server) (bytes float64) {
	c := server.Connect(b)
	defer func() { _ = c.Close(context.Background()) }()
	err := c.QueryRow(context.Background(), "SELECT sum(pg_total_relation_size(oid))::float8 FROM pg_class WHERE relkind = 'r' AND relnamespace = 'bench'::regnamespace").Scan(&bytes)
	if err != nil {
		b.Fatal(err)
	}
	return bytes
}

func reading(b *testing.B, s ledger.Store, entries int) {
	ctx := context.Background()
	middle := time.Time{}
	for row, err := range s.Rows(ctx, uint64(entries/2), uint64(entries/2+1)) {
		if err != nil {
			b.Fatal(err)
		}
		middle = time.Unix(0, row.Time)
	}
	times := make([]time.Duration, 100)
	for n := range times {
		begin := time.Now()
		found := 0
		filter := ledger.Filter{Node: "edge-" + strconv.Itoa(n), Since: middle, Until: middle.Add(time.Second), Newest: true, Limit: 50}
		for _, err := range s.Find(ctx, filter) {
			if err != nil {
				b.Fatal(err)
			}
			found++
		}
		if found == 0 {
			b.Errorf("nothing found of node %d", n)
		}
		times[n] = time.Since(begin)
	}
	slices.Sort(times)
	b.ReportMetric(times[50].Seconds()*1e3, "ms-node+time-p50")
	b.ReportMetric(times[98].Seconds()*1e3, "ms-node+time-p99")
	r := ledger.NewReader(s, ledgertest.Origin)
	begin := time.Now()
	for n := range 100 {
		if _, err := r.Inclusion(ctx, uint64(n*7919%entries), uint64(entries)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(time.Since(begin).Seconds()*1e3/100, "ms-inclusion")
}

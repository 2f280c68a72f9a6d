package ledger

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledger/ledgertest"
	"github.com/westworld-charter/charter/internal/ledgerdb"
)

// BenchmarkSize measures a ledger of CHARTER_ENTRIES entries (100,000): how fast
// 64 writers fill it, what an entry takes on disk, and how long reading takes.
func BenchmarkSize(b *testing.B) {
	entries := 100_000
	if n, err := strconv.Atoi(os.Getenv("CHARTER_ENTRIES")); err == nil {
		entries = n
	}
	for b.Loop() {
		measure(b, entries)
	}
}

func measure(b *testing.B, entries int) {
	ctx := context.Background()
	dir, signer := b.TempDir(), ledgertest.NewSigner(b)
	store, err := ledgerdb.OpenSQLite(ctx, dir, ledgerdb.SQLiteOptions{})
	if err != nil {
		b.Fatal(err)
	}
	log := ledgertest.NewLog(b, store, signer, nil)
	latency := openLoop(b, log, min(entries/10, 5000))
	b.ReportMetric(at(latency, 50), "ms-open-loop-p50")
	b.ReportMetric(at(latency, 99), "ms-open-loop-p99")
	begin := time.Now()
	fill(b, log, entries-len(latency))
	b.ReportMetric(float64(entries-len(latency))/time.Since(begin).Seconds(), "entries/s-64-writers")

	var body int
	for row, err := range log.Reader().Rows(ctx, 0, 1000) {
		if err != nil {
			b.Fatal(err)
		}
		body += len(row.Body)
	}
	b.ReportMetric(float64(body)/1000, "B-body")
	b.ReportMetric(timed(b, 200, func(n int) error {
		_, err := log.Reader().Inclusion(ctx, uint64(n*7919%entries), uint64(entries))
		return err
	}), "ms-inclusion")
	if err := log.Close(); err != nil {
		b.Fatal(err)
	}
	if err := store.Close(); err != nil {
		b.Fatal(err)
	}
	var total int64
	for _, name := range []string{"ledger.db", "index.db"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			b.Fatal(err)
		}
		total += info.Size()
	}
	b.ReportMetric(float64(total)/float64(entries), "B-entry")

	if store, err = ledgerdb.OpenSQLite(ctx, dir, ledgerdb.SQLiteOptions{ReadOnly: true}); err != nil {
		b.Fatal(err)
	}
	middle := time.Time{}
	for row, err := range store.Rows(ctx, uint64(entries/2), uint64(entries/2+1)) {
		if err != nil {
			b.Fatal(err)
		}
		middle = time.Unix(0, row.Time)
	}
	b.ReportMetric(timed(b, 100, func(n int) error {
		found := 0
		for _, err := range store.Find(ctx, ledger.Filter{Node: "edge-" + strconv.Itoa(n%100), Since: middle, Until: middle.Add(time.Minute), Limit: 100}) {
			if err != nil {
				return err
			}
			found++
		}
		if found == 0 {
			return errors.New("found nothing")
		}
		return nil
	}), "ms-node-and-time")
	r := ledger.NewReader(store, ledgertest.Origin)
	b.ReportMetric(timed(b, 200, func(n int) error {
		_, err := r.Inclusion(ctx, uint64(n*7919%entries), uint64(entries))
		return err
	}), "ms-inclusion-auditor")
	begin, cpu := time.Now(), cpuTime()
	if _, err := ledger.Verify(ctx, store, ledger.VerifyOptions{Keys: ledgertest.Keys(b, signer)}); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(entries)/time.Since(begin).Seconds(), "entries/s-verify")
	b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/1000/float64(entries), "cpu-us/entry-verify")
	if err := store.Close(); err != nil {
		b.Fatal(err)
	}
}

// openLoop appends 1,000 entries a second, whether or not earlier ones are done,
// and returns how long each took from when it was due, in milliseconds.
func openLoop(b *testing.B, log *ledger.Log, count int) []float64 {
	latency := make([]float64, count)
	var group sync.WaitGroup
	begin := time.Now()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for n := range count {
		due := begin.Add(time.Duration(n) * time.Millisecond)
		for time.Now().Before(due) {
			<-tick.C
		}
		group.Go(func() {
			if _, err := log.Append(context.Background(), ledgertest.Denial(n), ledger.Durable); err != nil {
				b.Error(err)
			}
			latency[n] = float64(time.Since(due).Microseconds()) / 1000
		})
	}
	group.Wait()
	slices.Sort(latency)
	return latency
}

func at(sorted []float64, percent int) float64 { return sorted[len(sorted)*percent/100] }

// fill appends with 64 writers, each waiting for its entry.
func fill(b *testing.B, log *ledger.Log, count int) {
	jobs := make(chan int, 64)
	var group sync.WaitGroup
	for range 64 {
		group.Go(func() {
			for n := range jobs {
				if _, err := log.Append(context.Background(), ledgertest.Denial(n), ledger.Durable); err != nil {
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

// timed returns the mean duration of a call in milliseconds, the first included.
func timed(b *testing.B, calls int, call func(int) error) float64 {
	begin := time.Now()
	for n := range calls {
		if err := call(n); err != nil {
			b.Fatal(err)
		}
	}
	return float64(time.Since(begin).Microseconds()) / 1000 / float64(calls)
}

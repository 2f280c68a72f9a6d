package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sys/unix"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/tests/bench/logs"
	"github.com/westworld-charter/charter/tests/bench/measure"
)

// What reading a ledger may cost.
const (
	bytesPerEntry   = 750
	proofMs         = 1.0
	queryMs         = 10.0
	verifyPerSecond = 100_000
)

const (
	// leastEntries is the smallest ledger in which every query finds something.
	leastEntries = 10_000
	// readsPerRound is how many proofs and queries a round asks for.
	readsPerRound = 100
	// queryLimit is how many entries a query asks for.
	queryLimit = 100
)

// ledgerSize fills a ledger of many entries and reads it as an auditor does.
func ledgerSize(ctx context.Context, b *bench) ([]line, error) {
	if err := b.onDisk(); err != nil {
		return nil, err
	}
	dir := filepath.Join(b.dir, "ledger_size")
	l, err := b.fillLedger(ctx, dir)
	if err != nil {
		return nil, err
	}
	size, err := diskUsage(dir)
	if err != nil {
		return nil, err
	}
	s, err := l.OpenStore(ctx, dir)
	if err != nil {
		return nil, err
	}
	lines, err := b.readLedger(ctx, l, s)
	if err := errors.Join(err, s.Close()); err != nil {
		return nil, err
	}
	perEntry := budget("ledger_bytes_per_entry", "bytes on disk, all files of the closed ledger", []float64{float64(size) / float64(b.entries)}, bytesPerEntry)
	lines = append([]line{perEntry}, lines...)
	for i := range lines {
		n := fmt.Sprintf("%d entries with bodies of %d bytes", b.entries, logs.BodySize)
		if lines[i].Note != "" {
			n += "; " + lines[i].Note
		}
		lines[i].Note = n
	}
	return lines, nil
}

// fillLedger makes a ledger in which 1,000 entries came each second.
func (b *bench) fillLedger(ctx context.Context, dir string) (*logs.Ledger, error) {
	const together = 500 // entries that are appended at a time
	first := time.Now().Add(-time.Duration(b.entries) * openInterval)
	var appended atomic.Int64
	l, err := logs.NewLedger(func() time.Time { return first.Add(time.Duration(appended.Load()) * openInterval) })
	if err != nil {
		return nil, err
	}
	w, err := l.Open(ctx, dir)
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	for n := 0; n < b.entries && err == nil; n += together {
		var entries []ledger.Entry
		for i := n; i < min(n+together, b.entries); i++ {
			entries = append(entries, logs.Entry(i))
		}
		_, err = w.AppendAll(ctx, entries, ledger.Durable)
		appended.Add(together)
	}
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, err
	}
	b.log("ledger_size: %d entries appended, %d at a time, in %.1f s; load average %s", b.entries, together, time.Since(begin).Seconds(), loadAverage())
	return l, nil
}

// diskUsage is the size of all files below a directory.
func diskUsage(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	return total, err
}

func (b *bench) readLedger(ctx context.Context, l *logs.Ledger, s ledger.Store) ([]line, error) {
	q, err := newQueries(ctx, s, b.entries)
	if err != nil {
		return nil, err
	}
	var proofs, queries timings
	var rates, cpu []float64
	for n := range b.rounds {
		runtime.GC()
		unix.Sync()
		if err := proofs.round(n, func(i int) error { return q.inclusion(ctx, i) }); err != nil {
			return nil, fmt.Errorf("inclusion proof: %w", err)
		}
		if err := queries.round(n, func(i int) error { return q.nodeAndTime(ctx, i) }); err != nil {
			return nil, fmt.Errorf("query by node and time: %w", err)
		}
		rate, spent, err := b.verify(ctx, l, s)
		if err != nil {
			return nil, err
		}
		rates, cpu = append(rates, rate), append(cpu, spent)
		b.log("ledger_size: round %d: proof %.3f ms, query %.2f ms, %.0f entries/s verified at %.1f us CPU each; load average %s",
			n+1, proofs.means[n], queries.means[n], rates[n], cpu[n], loadAverage())
	}
	const unit = "ms, wall clock, mean of a round"
	proof := budget("ledger_inclusion_proof", unit, proofs.means, proofMs)
	proof.Note = fmt.Sprintf("%d entries at random, checked against the checkpoint; p99 %.2f ms", readsPerRound, logs.Percentile(proofs.all, 99))
	query := budget("ledger_node_and_time", unit, queries.means, queryMs)
	query.Note = fmt.Sprintf("one of %d nodes in a tenth of the time, the first %d entries; p99 %.2f ms", logs.Nodes, queryLimit, logs.Percentile(queries.all, 99))
	rate := versus("ledger_verify", "entries/s, wall clock", rates, slices.Repeat([]float64{verifyPerSecond}, len(rates))).judged(atLeast(1))
	rate.Note = fmt.Sprintf("bodies, tree, signatures, order and index of queries; GOMAXPROCS=%d, %.1f us CPU an entry", threads, measure.Median(cpu))
	return []line{proof, query, rate}, nil
}

// verify verifies a whole ledger, and returns how many entries a second and what
// one of them cost in microseconds of CPU time.
func (b *bench) verify(ctx context.Context, l *logs.Ledger, s ledger.Store) (rate, cpu float64, err error) {
	before, err := measure.Self()
	if err != nil {
		return 0, 0, err
	}
	begin := time.Now()
	size, err := l.Verify(ctx, s)
	if err != nil {
		return 0, 0, err
	}
	took := time.Since(begin)
	if size != uint64(b.entries) {
		return 0, 0, fmt.Errorf("%d entries were verified of %d", size, b.entries)
	}
	after, err := measure.Self()
	entries := float64(b.entries)
	return entries / took.Seconds(), float64((after - before).Nanoseconds()) / 1000 / entries, err
}

// timings are how long calls took, in milliseconds.
type timings struct{ means, all []float64 }

func (t *timings) round(n int, call func(i int) error) error {
	sum := 0.0
	for i := range readsPerRound {
		begin := time.Now()
		if err := call(n*readsPerRound + i); err != nil {
			return err
		}
		took := float64(time.Since(begin).Nanoseconds()) / 1e6
		sum += took
		t.all = append(t.all, took)
	}
	t.means = append(t.means, sum/readsPerRound)
	return nil
}

// queries are the questions of an auditor about one ledger.
type queries struct {
	store   ledger.Store
	reader  *ledger.Reader
	root    tlog.Hash
	entries int
	begin   time.Time // of the first entry
}

func newQueries(ctx context.Context, s ledger.Store, entries int) (*queries, error) {
	q := &queries{store: s, entries: entries}
	size, signed, err := s.Head(ctx)
	if err != nil {
		return nil, err
	}
	if size != uint64(entries) {
		return nil, fmt.Errorf("the ledger holds %d entries of %d", size, entries)
	}
	var origin string
	if origin, _, q.root, err = ledger.ParseCheckpoint(signed); err != nil {
		return nil, err
	}
	q.reader = ledger.NewReader(s, origin)
	first, err := q.reader.Entry(ctx, 0)
	q.begin = time.Unix(0, first.Time)
	return q, err
}

// at is some index below n, another for each i.
func at(i, n int) int { return int(uint64(i) * 0x9E3779B97F4A7C15 >> 11 % uint64(n)) }

// inclusion proves that an entry is in the tree, and checks the proof.
func (q *queries) inclusion(ctx context.Context, i int) error {
	index := uint64(at(i, q.entries))
	proof, err := q.reader.Inclusion(ctx, index, uint64(q.entries))
	if err != nil {
		return err
	}
	row, err := q.reader.Entry(ctx, index)
	if err != nil {
		return err
	}
	return tlog.CheckRecord(proof, int64(q.entries), q.root, int64(index), tlog.RecordHash(row.Body))
}

// nodeAndTime looks for entries of a node within a tenth of the time, and checks
// that these are all and no others.
func (q *queries) nodeAndTime(ctx context.Context, i int) error {
	whole := time.Duration(q.entries) * openInterval
	since := q.begin.Add(time.Duration(at(i, int(whole*8/10))))
	f := ledger.Filter{Node: logs.Entry(at(i+1, logs.Nodes)).Node, Since: since, Until: since.Add(whole / 10), Limit: queryLimit}
	count := 0
	for row, err := range q.store.Find(ctx, f) {
		if err != nil {
			return err
		}
		if row.Node != f.Node || row.Time < f.Since.UnixNano() || row.Time >= f.Until.UnixNano() {
			return fmt.Errorf("entry %d is of %s at %d: not what was asked for", row.Index, row.Node, row.Time)
		}
		count++
	}
	// Entries that were appended together have one time: some may be in or out.
	if least := min(queryLimit, q.entries/10/logs.Nodes) - 5; count < least {
		return fmt.Errorf("%d entries of %s were found, of at least %d", count, f.Node, least)
	}
	return nil
}

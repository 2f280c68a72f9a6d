package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/westworld-charter/charter/tests/bench/logs"
	"github.com/westworld-charter/charter/tests/bench/measure"
)

// What the ledger is loaded with, and what it may do.
const (
	closedWriters = 64
	openInterval  = time.Millisecond // 1,000 entries a second
	tooLate       = 50 * time.Millisecond
	ratePerSecond = "entries/s, wall clock, bound by fsync"
	latencyMs     = "ms, wall clock, from when an entry was due until it was durable"
)

// ledgerRows are about the ledger. In all of their lines a is the ledger and b
// the rival, or what may be spent.
func ledgerRows() []row {
	return []row{
		{"ledger_closed", true, ledgerClosed},
		{"ledger_open", false, ledgerOpen},
		{"ledger_size", true, ledgerSize},
	}
}

// contender is one log that is loaded round after round, and grows.
type contender struct {
	logs.Kind
	dir    string
	stored int // entries that were acknowledged, and found when they were read back
}

// contenders makes logs, ours first.
func (b *bench) contenders(row string, kinds []logs.Kind) ([]*contender, error) {
	if err := b.onDisk(); err != nil {
		return nil, err
	}
	ours, err := logs.Charter()
	if err != nil {
		return nil, err
	}
	var all []*contender
	for _, k := range append([]logs.Kind{ours}, kinds...) {
		all = append(all, &contender{Kind: k, dir: filepath.Join(b.dir, row, k.Name)})
	}
	return all, nil
}

// onDisk refuses to measure where nothing can be made durable.
func (b *bench) onDisk() error {
	var fs unix.Statfs_t
	if err := unix.Statfs(b.dir, &fs); err != nil {
		return fmt.Errorf("look at the file system of %s: %w", b.dir, err)
	}
	if fs.Type == unix.TMPFS_MAGIC {
		return skipped(b.dir + " is in memory, where fsync costs nothing: set TMPDIR to a directory on a disk")
	}
	return nil
}

// opponent is a rival and how many times its rate ours should be.
type opponent struct {
	kind  logs.Kind
	least float64
}

// opponents are those of the closed loop. The short run leaves out what takes
// longest to show little more.
func (b *bench) opponents() ([]opponent, error) {
	all := []opponent{{logs.JSONL(), 5}}
	for _, o := range []struct {
		batching logs.Batching
		least    float64
		short    bool
	}{
		{logs.Batching{Age: 25 * time.Millisecond, Size: 256}, 6, true},
		{logs.Batching{Age: 10 * time.Millisecond, Size: 64}, 1.7, false},
		{logs.Batching{Age: 25 * time.Millisecond, Size: 256, Published: true}, 6, false},
		{logs.Batching{Age: 10 * time.Millisecond, Size: 64, Published: true}, 1.7, false},
	} {
		if b.short && !o.short {
			continue
		}
		k, err := logs.Tessera(o.batching)
		if err != nil {
			return nil, err
		}
		all = append(all, opponent{k, o.least})
	}
	return all, nil
}

// loading is what is done with an open log; first is the number of its first
// entry.
type loading func(ctx context.Context, l logs.Log, first int) ([]logs.Ack, error)

// round opens the log, loads and closes it, and finds all that it acknowledged in
// its files. Nothing of other rounds goes on meanwhile.
func (c *contender) round(ctx context.Context, load loading) error {
	runtime.GC()
	unix.Sync()
	l, err := c.Open(ctx, c.dir)
	if err != nil {
		return fmt.Errorf("open %s: %w", c.Name, err)
	}
	acks, err := load(ctx, l, c.stored)
	if err := errors.Join(err, l.Close()); err != nil {
		return fmt.Errorf("load %s: %w", c.Name, err)
	}
	bodies, err := c.Read(ctx, c.dir)
	if err == nil {
		err = logs.Check(acks, c.stored, bodies)
	}
	if err != nil {
		return fmt.Errorf("read %s back: %w", c.Name, err)
	}
	c.stored = len(bodies)
	return nil
}

// spans are how long a round loads a log before it counts, and then.
func (b *bench) spans(warm, span time.Duration) logs.Plan {
	if b.short {
		return logs.Plan{Warm: 100 * time.Millisecond, Span: 250 * time.Millisecond}
	}
	return logs.Plan{Warm: warm, Span: span}
}

// ledgerClosed has 64 writers append, each waiting for its entry.
func ledgerClosed(ctx context.Context, b *bench) ([]line, error) {
	rivals, err := b.opponents()
	if err != nil {
		return nil, err
	}
	var kinds []logs.Kind
	for _, r := range rivals {
		kinds = append(kinds, r.kind)
	}
	all, err := b.contenders("ledger_closed", kinds)
	if err != nil {
		return nil, err
	}
	rates := make([][]float64, len(all))
	plan := b.spans(300*time.Millisecond, time.Second)
	for n := range b.rounds {
		for i, c := range all {
			err := c.round(ctx, func(ctx context.Context, l logs.Log, first int) ([]logs.Ack, error) {
				p := plan
				p.First = first
				acks, rate, err := logs.Closed(ctx, l, p, closedWriters)
				rates[i] = append(rates[i], rate)
				return acks, err
			})
			if err != nil {
				return nil, err
			}
			b.log("ledger_closed: round %d: %s: %.0f entries/s; %d found again; load average %s", n+1, c.Name, rates[i][n], c.stored, loadAverage())
		}
	}
	var lines []line
	for i, r := range rivals {
		l := versus("ledger_closed_vs_"+r.kind.Name, ratePerSecond, rates[0], rates[i+1]).judged(atLeast(r.least))
		l.Note = fmt.Sprintf("%d writers, bodies of %d bytes; acknowledged by b: %s", closedWriters, logs.BodySize, r.kind.Promise)
		lines = append(lines, l)
	}
	return lines, nil
}

// ledgerOpen appends 1,000 entries a second.
func ledgerOpen(ctx context.Context, b *bench) ([]line, error) {
	var kinds []logs.Kind
	for _, published := range []bool{false, true} {
		k, err := logs.Tessera(logs.Batching{Age: 25 * time.Millisecond, Size: 256, Published: published})
		if err != nil {
			return nil, err
		}
		kinds = append(kinds, k)
	}
	all, err := b.contenders("ledger_open", kinds)
	if err != nil {
		return nil, err
	}
	plan := b.spans(500*time.Millisecond, 3*time.Second)
	found := make([]latencies, len(all))
	for n := range b.rounds {
		for i, c := range all {
			err := c.round(ctx, func(ctx context.Context, l logs.Log, first int) ([]logs.Ack, error) {
				p := plan
				p.First = first
				acks, took, err := logs.Open(ctx, l, p, openInterval)
				found[i].add(took)
				return acks, err
			})
			if err != nil {
				return nil, err
			}
			b.log("ledger_open: round %d: %s: p50 %.2f ms, p99 %.2f ms, %d of %d over %v by now; %d found again; load average %s",
				n+1, c.Name, found[i].p50[n], found[i].p99[n], found[i].late, found[i].count, tooLate, c.stored, loadAverage())
		}
	}
	return openLines(all, found), nil
}

func openLines(all []*contender, found []latencies) []line {
	ours := found[0]
	most := float64(tooLate.Milliseconds())
	within := budget("ledger_open_p99", latencyMs, ours.p99, most)
	within.Note = fmt.Sprintf("1,000 entries/s, bodies of %d bytes", logs.BodySize)
	late := line{
		Name: "ledger_open_over_50ms", Ratio: round(float64(ours.late) / float64(ours.count)), A: float64(ours.late), B: float64(ours.count),
		Rounds: len(ours.p99), Unit: "entries, by wall clock",
	}.judged(atMost(0))
	var shares []string
	var lines []line
	for i, c := range all[1:] {
		theirs := found[i+1]
		note := "1,000 entries/s; acknowledged by b: " + c.Promise
		p50 := versus("ledger_open_p50_vs_"+c.Name, latencyMs, ours.p50, theirs.p50).judged(atMost(0.1))
		p99 := versus("ledger_open_p99_vs_"+c.Name, latencyMs, ours.p99, theirs.p99).judged(atMost(0.3))
		p50.Note, p99.Note = note, note
		lines = append(lines, p50, p99)
		shares = append(shares, fmt.Sprintf("%s: %d of %d", c.Name, theirs.late, theirs.count))
	}
	late.Note = strings.Join(shares, "; ")
	return append(lines, within, late)
}

// latencies are those of all rounds of one log.
type latencies struct {
	p50, p99    []float64 // of each round, in milliseconds
	late, count int       // entries over tooLate, and all
}

func (l *latencies) add(ms []float64) {
	l.p50, l.p99 = append(l.p50, logs.Percentile(ms, 50)), append(l.p99, logs.Percentile(ms, 99))
	l.count += len(ms)
	for _, v := range ms {
		if v > float64(tooLate.Milliseconds()) {
			l.late++
		}
	}
}

// versus is the line of two sides that were measured in turn.
func versus(name, unit string, a, b []float64) line {
	ratios := make([]float64, min(len(a), len(b)))
	for i := range ratios {
		ratios[i] = a[i] / b[i]
	}
	medianA, medianB := measure.Median(a), measure.Median(b)
	return line{
		Name: name, Ratio: round(medianA / medianB), A: round(medianA), B: round(medianB), Rounds: len(ratios), Unit: unit,
		Spread: &[2]float64{round(slices.Min(ratios)), round(slices.Max(ratios))},
	}
}

// budget is the line of something that should be at most what b says.
func budget(name, unit string, a []float64, most float64) line {
	return versus(name, unit, a, slices.Repeat([]float64{most}, len(a))).judged(atMost(1))
}

// loadAverage is what else the machine does, of the last 1, 5 and 15 minutes.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	fields := strings.Fields(string(text))
	if err != nil || len(fields) < 3 {
		return "unknown"
	}
	return strings.Join(fields[:3], " ")
}

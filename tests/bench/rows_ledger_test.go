package main

import (
	"context"
	"io"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/westworld-charter/charter/tests/bench/logs"
)

func TestVersus(t *testing.T) {
	got := versus("name", "unit", []float64{30, 10, 20}, []float64{3, 5, 4}).judged(atLeast(6))
	met := false
	want := line{
		Name: "name", Ratio: 5, A: 20, B: 4, Rounds: 3, Unit: "unit", Goal: ">= 6", GoalMet: &met,
		Spread: &[2]float64{2, 10}, // of single rounds, which are compared with their neighbours
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// One entry of very many that is late misses a goal of none.
func TestOpenLines(t *testing.T) {
	prompt := slices.Repeat([]float64{2}, 999)
	var ours, theirs latencies
	for range 4 {
		ours.add(append(prompt, 50.0))
	}
	ours.add(append(prompt, 50.1))
	for range 5 {
		theirs.add(slices.Repeat([]float64{16}, 1000))
	}
	all := []*contender{{}, {Kind: logs.Kind{Name: "rival", Promise: "none"}}}
	lines := map[string]line{}
	for _, l := range openLines(all, []latencies{ours, theirs}) {
		lines[l.Name] = l
	}
	for name, want := range map[string]struct {
		ratio, a, b float64
		met         bool
	}{
		"ledger_open_p50_vs_rival": {0.125, 2, 16, false},
		"ledger_open_p99_vs_rival": {0.125, 2, 16, true},
		"ledger_open_p99":          {0.04, 2, 50, true},
		"ledger_open_over_50ms":    {0.0002, 1, 5000, false},
	} {
		l := lines[name]
		if l.Ratio != want.ratio || l.A != want.a || l.B != want.b || l.GoalMet == nil || *l.GoalMet != want.met || l.Rounds != 5 {
			t.Errorf("%s: got %+v, want %+v", name, l, want)
		}
	}
	if !strings.Contains(lines["ledger_open_over_50ms"].Note, "rival: 0 of 5000") {
		t.Errorf("the share of the rival is not said: %q", lines["ledger_open_over_50ms"].Note)
	}
}

// A log that does not keep what it has acknowledged does not take part.
func TestRoundNotices(t *testing.T) {
	k := logs.JSONL()
	load := func(ctx context.Context, l logs.Log, first int) ([]logs.Ack, error) {
		acks, _, err := logs.Closed(ctx, l, logs.Plan{First: first, Span: 20 * time.Millisecond}, 4)
		return acks, err
	}
	c := &contender{Kind: k, dir: t.TempDir()}
	for range 2 {
		if err := c.round(t.Context(), load); err != nil {
			t.Fatal(err)
		}
	}
	if c.stored == 0 {
		t.Fatal("nothing was stored")
	}
	c.Read = func(ctx context.Context, dir string) ([][]byte, error) {
		bodies, err := k.Read(ctx, dir)
		return bodies[:max(len(bodies)-1, 0)], err
	}
	if err := c.round(t.Context(), load); err == nil || !strings.Contains(err.Error(), "acknowledged") {
		t.Errorf("a log that forgets an entry takes part: %v", err)
	}
}

// The queries find what they should in a real ledger, whose lines are complete.
func TestLedgerSize(t *testing.T) {
	b, err := newBench(t.Context(), options{rounds: 1, entries: leastEntries, short: true}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	lines, err := ledgerSize(t.Context(), b)
	if s, ok := err.(skipped); ok {
		t.Skip(s)
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(lines) != 4 {
		t.Errorf("%d lines: %+v", len(lines), lines)
	}
	for _, l := range lines {
		if l.A <= 0 || l.B <= 0 || l.GoalMet == nil || !strings.Contains(l.Note, "10000 entries") {
			t.Errorf("line %+v", l)
		}
	}
	if perEntry := lines[0]; perEntry.A < logs.BodySize {
		t.Errorf("an entry takes %v bytes on disk, and its body has %d", perEntry.A, logs.BodySize)
	}
}

// BenchmarkVerify is for profiles of the verification of a ledger.
func BenchmarkVerify(b *testing.B) {
	bench, err := newBench(b.Context(), options{entries: 100_000}, io.Discard)
	if err != nil {
		b.Fatal(err)
	}
	defer bench.close()
	dir := filepath.Join(bench.dir, "ledger")
	l, err := bench.fillLedger(b.Context(), dir)
	if err != nil {
		b.Fatal(err)
	}
	s, err := l.OpenStore(b.Context(), dir)
	if err != nil {
		b.Fatal(err)
	}
	var cpu float64
	for b.Loop() {
		_, spent, err := bench.verify(b.Context(), l, s)
		if err != nil {
			b.Fatal(err)
		}
		cpu += spent
	}
	b.ReportMetric(cpu/float64(b.N), "cpu-us/entry")
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

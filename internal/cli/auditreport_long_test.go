package cli

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledger/ledgertest"
)

// A report over a million entries takes bounded memory; how long it takes is printed
// beside a verification alone.
func TestAuditReportOverAMillionEntries(t *testing.T) {
	if os.Getenv("CHARTER_LONG") == "" {
		t.Skip("set CHARTER_LONG=1: a report over a million entries")
	}
	const total, batch = 1_000_000, 4000
	d := newData(t, 0)
	d.openWith(t, ledger.Options{Queue: 2 * batch}, func(log *ledger.Log) {
		for from := 0; from < total; from += batch {
			var entries []ledger.Entry
			for n := range batch {
				e := ledgertest.Denial(from + n)
				e.Mode, e.Reasons = "enforce", []ledger.Reason{{Clause: e.Clause, Code: "forbidden_metric", Severity: "critical"}}
				if n%100 == 0 { // a window with some counts for each hundred denials
					e = ledger.Entry{Kind: ledger.WindowClose, Data: []byte(counts20(from + n))}
				}
				entries = append(entries, e)
			}
			if _, err := log.AppendAll(t.Context(), entries, ledger.Durable); err != nil {
				t.Fatal(err)
			}
		}
	})
	for _, args := range []string{
		"audit verify --data data --key log.pub", "audit report --data data --key log.pub --from 1d --format json -o audit.json",
		"audit report --data data --key log.pub --from 1d --node edge-7 --format json -o node.json",
		"audit report --data data --insecure-unverified --from 1d --format json -o unverified.json",
	} {
		runtime.GC()
		peak, stop := peakHeap()
		start := time.Now()
		ok(t, strings.Fields(args)...)
		took := time.Since(start)
		stop()
		t.Logf("%s: %.1f s, %.0f entries/s, heap at most %d MiB", args, took.Seconds(), total/took.Seconds(), *peak>>20)
		if *peak > 512<<20 {
			t.Errorf("%s takes %d MiB", args, *peak>>20)
		}
	}
}

// counts20 is a window of 20 different questions.
func counts20(n int) string {
	var all []string
	for i := range 20 {
		all = append(all, fmt.Sprintf(`{"clause":"net.node","count":%d,"metric":"node_network_receive_bytes_total_%d","node":"edge-%d","operation":"collect","outcome":"allowed","revision":"production-1.2.0+ab12cd34ef56","role":"node_operator"}`,
			1+n%7, i, i))
	}
	return `{"counts":[` + strings.Join(all, ",") + fmt.Sprintf(`],"from":"2026-10-01T00:00:00Z","id":"w%d","to":"2026-10-01T00:01:00Z"}`, n)
}

// peakHeap watches the heap until it is stopped.
func peakHeap() (*uint64, func()) {
	var peak uint64
	done := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak = max(peak, m.HeapAlloc)
			select {
			case <-tick.C:
			case <-done:
				return
			}
		}
	})
	return &peak, func() {
		close(done)
		group.Wait()
	}
}

package enforcement

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/ledger"
)

// Violations of as many nodes from many goroutines, ten thousand with CHARTER_LONG=1:
// none is lost, each is answered when its consequence is in force, the state is swapped
// seldom, and the memory they take is bounded.
func TestBurst(t *testing.T) {
	violations, workers := 2000, 500
	if os.Getenv("CHARTER_LONG") != "" {
		violations, workers = 10_000, 1000
	}
	w := newWorld(t, nil)
	swaps := 0
	publish := w.e.Publish
	w.e.Publish = func(ctx context.Context, state map[string]any) error {
		swaps++                             // rounds come one after the other
		<-time.After(20 * time.Millisecond) // what it takes a server with many standings
		return publish(ctx, state)
	}
	defer w.run()()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	start := time.Now()
	todo := make(chan int)
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for i := range todo {
				node := fmt.Sprintf("node-%d", i)
				w.attempts(node)
				if got := w.published(node); got != Warned {
					t.Errorf("%s was answered before it was warned: %s", node, got)
				}
			}
		})
	}
	for i := range violations {
		todo <- i
	}
	close(todo)
	all.Wait()
	took := time.Since(start)
	runtime.GC()
	runtime.ReadMemStats(&after)
	bytes := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / int64(violations)
	t.Logf("%d violations in %.1f s, %d swaps, %d bytes of memory each, the ledger of this test included", violations, took.Seconds(), swaps, bytes)
	st := w.e.Stats()
	if st.Violations != violations || st.Standings[Warned] != violations || st.Late != 0 || w.book.kinds(ledger.Violation) != violations {
		t.Errorf("%+v", st)
	}
	if swaps > violations/8 || bytes > 16<<10 {
		t.Errorf("%d swaps, %d bytes each", swaps, bytes)
	}
	w.expectRebuilt()
}

package engine

import (
	"context"
	"runtime/metrics"
	"time"
)

const (
	// heapRoom is how many bytes the heap may grow during an ad-hoc query, beyond
	// what it may double by itself between two collections.
	heapRoom = 256 << 20
	// heapLook is the interval between two looks at the heap. At the pace at
	// which Go allocates, tens of megabytes pass unseen.
	heapLook = 5 * time.Millisecond
)

// watchHeap stops what runs under ctx when the heap grows by more than it may,
// until the returned function is called. Whoever else allocates counts, too: in
// doubt the query ends, not the server.
func watchHeap(ctx context.Context, stop context.CancelCauseFunc) (done func()) {
	limit := 2*sample("/gc/heap/live:bytes") + heapRoom
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		ticker := time.NewTicker(heapLook)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				if sample("/memory/classes/heap/objects:bytes") > limit {
					stop(queryError(CodeTooHungry, "the evaluation needs more than %d bytes of memory", heapRoom))
					return
				}
			}
		}
	}()
	return cancel
}

// sample reads one number of the Go runtime, 0 if there is no such number.
func sample(name string) uint64 {
	s := []metrics.Sample{{Name: name}}
	metrics.Read(s)
	if s[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return s[0].Value.Uint64()
}

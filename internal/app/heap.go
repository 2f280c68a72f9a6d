package app

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
)

const (
	// spareHeap is how much garbage there may be before it is collected, in bytes. An
	// evaluation leaves some 25 KB; Go's default lets a small server collect after
	// a few hundred of them.
	spareHeap = 64 << 20

	leastGC, mostGC = 100, 400 // percent, of which 100 is Go's default
)

// tuneHeap sets how often garbage is collected from what is in use after a policy was
// loaded: memory that a small server hardly notices buys a tenth of its CPU time, and
// a large one keeps Go's default. GOGC, when it is set, decides instead.
func tuneHeap() {
	if os.Getenv("GOGC") != "" {
		return
	}
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	if live[0].Value.Kind() == metrics.KindUint64 {
		debug.SetGCPercent(percentFor(live[0].Value.Uint64()))
	}
}

// percentFor is the collector's setting that leaves room for spareHeap.
func percentFor(live uint64) int {
	return int(min(mostGC, max(leastGC, 100*spareHeap/max(live, 1))))
}

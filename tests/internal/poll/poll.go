// Package poll waits in tests for what happens elsewhere: in another process, after some
// time. [Until] asks again and again, soon and without end but for [Patience].
package poll

import (
	"testing"
	"time"
)

// Patience is how long anything may take that is not measured. It is for machines that
// are busy: whatever takes as long has failed.
const Patience = 60 * time.Second

// interval is the time between two questions.
const interval = 20 * time.Millisecond

// Until returns once nothing is wrong any more, and fails the test after [Patience] with
// what is still wrong then. What says what is waited for, as a statement.
func Until(t testing.TB, what string, wrong func() error) {
	t.Helper()
	tick, deadline := time.NewTicker(interval), time.NewTimer(Patience)
	defer tick.Stop()
	defer deadline.Stop()
	for {
		err := wrong()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("%s: not within %s: %v", what, Patience, err)
		}
	}
}

package activation

import (
	"context"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
)

// states is what the Activator asks of the part that keeps the state document.
type states interface {
	// poll does one round with the source of state bundles; wait is how long the
	// source may hold it. It is called from one goroutine. Conditions are its own; the
	// error only makes the next round come later, and changed makes it come at once
	// when sources may hold it.
	poll(ctx context.Context, wait time.Duration) (changed bool, err error)
	// document is what holds for the nodes of a charter now. It may be called at the
	// same time as poll.
	document(c *charter.Charter, now time.Time) document
	status(now time.Time) *StateStatus
	close() error
}

// document is a state document.
type document struct {
	data  map[string]any // nil: there is none
	id    string         // documents with one id are equal; "" is that of no document
	until time.Time      // when another one holds, by time alone; zero: never
}

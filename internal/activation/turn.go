package activation

import (
	"context"
	"sync"
	"sync/atomic"
)

// turn lets one round run at a time. One that a source holds ends when somebody wants
// the next.
type turn struct {
	mu        sync.Mutex
	impatient atomic.Int32                       // how many want a turn now
	held      atomic.Pointer[context.CancelFunc] // ends the one that is held
}

// take runs round as soon as possible.
func (t *turn) take(round func()) {
	t.impatient.Add(1)
	defer t.impatient.Add(-1)
	if end := t.held.Load(); end != nil {
		(*end)()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	round()
}

// hold runs round with a context that also ends when somebody wants a turn. It returns
// whether that happened.
func (t *turn) hold(ctx context.Context, round func(asking context.Context)) (interrupted bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	asking, end := context.WithCancel(ctx)
	defer end()
	t.held.Store(&end)
	defer t.held.Store(nil)
	if t.impatient.Load() > 0 { // it may have come before there was something to end
		return true
	}
	round(asking)
	return asking.Err() != nil && ctx.Err() == nil
}

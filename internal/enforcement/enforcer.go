package enforcement

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/westworld-charter/charter/internal/ledger"
)

const (
	// far is from how many entries behind on those that matter are looked up instead of
	// reading all.
	far = 4096
	// chunk is how many entries are appended together: as many as a log commits at once.
	chunk = 512
	// patience bounds one round, so that a ledger that hangs does not keep everybody.
	patience = 30 * time.Second
	// retry is how long it takes until what could not be done is tried again.
	retry = time.Second
	// maxPause bounds the time between two changes of the state document.
	maxPause = 500 * time.Millisecond
	// share is how many times as long as a change of the state document took it takes
	// until the next.
	share = 4
)

// Enforcer knows and enforces. It is safe for concurrent use.
type Enforcer struct {
	Options

	// turn is held by who appends: commands and rounds come one after the other.
	turn chan struct{}
	wake chan struct{} // holds one value at most

	mu        sync.RWMutex
	state     *state  // guarded by mu
	alarms    *alarms // guarded by mu
	published uint64  // version of the state that is in force; guarded by mu
	stats     Stats   // what cannot be counted anew; guarded by mu

	// Whoever holds turn uses these.
	last   time.Time     // when the state document was changed last
	took   time.Duration // how long that took
	marked uint64        // how far the mark is

	reports limiter
}

// New returns an Enforcer that knows nothing yet: see [Enforcer.Recover].
func New(o Options) (*Enforcer, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	return &Enforcer{
		Options: o, turn: make(chan struct{}, 1), wake: make(chan struct{}, 1), state: newState(), alarms: newAlarms(),
		reports: newLimiter(),
	}, nil
}

// Recover learns from the ledger what is in force, does what an earlier process has
// left undone, and brings the state in force. It is called once, before anything else;
// after an error nobody may decide.
func (e *Enforcer) Recover(ctx context.Context) error {
	if err := e.take(ctx); err != nil {
		return err
	}
	defer e.give()
	size, _, err := e.History.Head(ctx)
	if err != nil {
		return fmt.Errorf("recover enforcement: %w", err)
	}
	e.warnPruned(ctx, size)
	var latest time.Time
	var recent []Notice
	e.mu.Lock()
	if err = e.recall(ctx, size); err == nil {
		latest, e.marked = e.state.at, e.state.next
		err = e.fold(ctx, size, func(ev *event) {
			latest = ev.at
			if n, tells := e.state.notice(ev); tells {
				recent = append(recent, n)
			}
			if len(recent) > 2*maxRecent {
				recent = append(recent[:0], recent[len(recent)-maxRecent:]...)
			}
		})
	}
	if now := e.Now(); now.After(latest) {
		latest = now
	}
	e.state.next = max(e.state.next, size)
	e.alarms.sync(e.state, latest)
	e.mu.Unlock()
	if err != nil {
		return fmt.Errorf("recover enforcement: %w", err)
	}
	// What was appended right before the end may not have been announced.
	for i := max(0, len(recent)-maxRecent); i < len(recent); i++ {
		if latest.Sub(recent[i].Time) < announceAgain {
			e.announce(recent[i])
		}
	}
	if err := e.round(ctx); err != nil {
		return fmt.Errorf("recover enforcement: %w", err)
	}
	return nil
}

// Activated says that another charter is in force. What follows from that is done
// soon; it waits for nothing.
func (e *Enforcer) Activated() { e.look() }

// warnPruned tells operators that something may be missing.
func (e *Enforcer) warnPruned(ctx context.Context, size uint64) {
	for row, err := range e.History.Rows(ctx, 0, min(1, size)) {
		if err == nil && row.Body == nil {
			e.Logger.Warn("the oldest entries of the ledger are pruned; standings, overrides and revocations that only they tell of are not known")
		}
	}
}

const (
	// maxRecent and announceAgain limit what is announced again after a start.
	maxRecent     = 1000
	announceAgain = 5 * time.Minute
)

// Denied gives denials their consequences. It is called with what is in the ledger,
// before it is answered, and returns when the consequences are in force, or ctx ends.
// Then they follow as soon as they can. Positions are those of the entries; one whose
// size is 0 is not in the ledger.
func (e *Enforcer) Denied(ctx context.Context, entries []ledger.Entry, positions []ledger.Position) {
	var nodes []string
	var reach uint64
	for i := range entries {
		if i < len(positions) && positions[i].Size > 0 && attempt(&entries[i]) {
			nodes = append(nodes, entries[i].Node)
			reach = max(reach, positions[i].Index+1)
		}
	}
	if nodes == nil {
		return
	}
	start := time.Now()
	if e.settled(nodes, reach) {
		return // a request that was repeated
	}
	err := e.catchUp(ctx, reach)
	if err == nil && e.settled(nodes, reach) {
		return // it belongs to an incident
	}
	for err == nil && !e.settled(nodes, reach) {
		if err = e.take(ctx); err != nil {
			break
		}
		if !e.settled(nodes, reach) {
			err = e.round(ctx)
		}
		e.give()
	}
	if err != nil {
		e.mu.Lock()
		e.stats.Late += uint64(len(nodes))
		e.mu.Unlock()
		e.failed(err)
		return
	}
	e.Observer.StandingLatency(time.Since(start))
}

// settled reports whether the entries before an index are folded and nodes are
// treated as they say.
func (e *Enforcer) settled(nodes []string, reach uint64) bool {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.state.next < reach {
		return false
	}
	for _, id := range nodes {
		if e.state.touched[id] > e.published {
			return false
		}
	}
	return !e.state.owes(nodes)
}

// take waits for one's turn.
func (e *Enforcer) take(ctx context.Context) error {
	select {
	case e.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (e *Enforcer) give() { <-e.turn }

// failed has what could not be done tried again.
func (e *Enforcer) failed(err error) {
	e.mu.Lock()
	told := e.stats.Err != nil
	e.stats.Err = err
	e.mu.Unlock()
	if !told {
		e.Logger.Error("consequences of denials wait", "error", err.Error())
	}
	e.look()
}

// look has Run look at once.
func (e *Enforcer) look() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// Run ends what ends by itself and tries again what could not be done, until ctx
// ends.
func (e *Enforcer) Run(ctx context.Context) error {
	defer e.end(ctx)
	for pause := time.Duration(0); ; {
		timer := time.NewTimer(e.idle(pause))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		case <-e.wake:
			timer.Stop()
			if pause > 0 { // it failed just now
				select {
				case <-ctx.Done():
					return nil
				case <-time.After(pause):
				}
			}
		}
		pause = 0
		if err := e.take(ctx); err != nil {
			return nil
		}
		err := e.round(ctx)
		if err == nil {
			e.keepMark(ctx, false)
		}
		e.give()
		if err != nil && ctx.Err() == nil {
			pause = retry
			e.failed(err)
		}
	}
}

// end keeps what was counted. Nobody is denied anything any more.
func (e *Enforcer) end(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if e.take(ctx) != nil {
		return
	}
	defer e.give()
	if e.catchUp(ctx, math.MaxUint64) == nil {
		e.keepMark(ctx, true)
	}
}

// idle is how long there is nothing to do.
func (e *Enforcer) idle(pause time.Duration) time.Duration {
	const most = 10 * time.Second // then it reads on in the ledger, so as not to be far behind
	e.mu.RLock()
	defer e.mu.RUnlock()
	if wait, set := e.alarms.wait(); set {
		return max(pause, min(wait, most))
	}
	return max(pause, most)
}

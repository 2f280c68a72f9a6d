package activation

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/westworld-charter/charter/internal/distribution"
)

// changePause is between a change of the state and the next round: one key can sign
// states without an end, and what is in force is put together for each.
const changePause = 500 * time.Millisecond

// Run polls until ctx ends: at once, then at intervals that vary, later while the source
// cannot be reached, and at once again where a source holds a poll until something changes. It returns
// nil.
func (a *Activator) Run(ctx context.Context) error {
	var parts sync.WaitGroup
	parts.Go(func() {
		a.loop(ctx, &a.round, 0, func(asking context.Context, wait time.Duration) (bool, error) {
			o, err := a.poll(ctx, asking, wait)
			return o.Activated || o.Renewed, err
		})
	})
	if a.states != nil {
		parts.Go(func() { a.loop(ctx, &a.stateRound, changePause, a.pollState) })
	}
	parts.Go(func() { a.watch(ctx) })
	parts.Wait()
	return nil
}

// pollState does one round with the source of state bundles.
func (a *Activator) pollState(ctx context.Context, wait time.Duration) (changed bool, err error) {
	changed, err = a.states.poll(ctx, wait)
	a.refresh(ctx)
	return changed, err
}

// loop does one round after the other, with a pause after each that changed something.
func (a *Activator) loop(ctx context.Context, turn *turn, after time.Duration, round func(asking context.Context, wait time.Duration) (changed bool, err error)) {
	for failures := 0; !ended(ctx); {
		began := time.Now()
		var changed bool
		var err error
		// A source that is back must not hold the round that finds out: it would not be
		// known for so long.
		back, wait := failures > 0, a.o.LongPoll
		if back {
			wait = 0
		}
		interrupted := turn.hold(ctx, func(asking context.Context) { changed, err = round(asking, wait) })
		held := a.o.LongPoll > 0 && (changed || time.Since(began) >= a.o.LongPoll/2)
		if !unreached(err) {
			failures = 0
		}
		switch {
		case interrupted && a.o.LongPoll > 0:
		case unreached(err):
			failures++
			sleep(ctx, a.delay(failures))
		case err == nil && (held || back && a.o.LongPoll > 0):
			if changed {
				sleep(ctx, after)
			}
		default: // a refusal is the answer of a source that is well
			sleep(ctx, a.delay(0))
		}
	}
}

// unreached reports whether an error is one of moving bytes.
func unreached(err error) bool {
	_, ok := errors.AsType[*distribution.Error](err)
	return ok
}

// delay is the time to the next round after so many failures in a row.
func (a *Activator) delay(failures int) time.Duration {
	d := a.o.Interval
	for ; failures > 0 && d < a.o.MaxBackoff; failures-- {
		d *= 2
	}
	if d > a.o.MaxBackoff {
		d = max(a.o.MaxBackoff, a.o.Interval)
	}
	return d + time.Duration((2*rand.Float64()-1)*a.o.Jitter*float64(d)) //nolint:gosec // not a secret
}

// watch does what time brings between rounds.
func (a *Activator) watch(ctx context.Context) {
	for !ended(ctx) {
		next := a.refresh(ctx)
		sleep(ctx, max(next.Sub(a.o.Now()), time.Millisecond))
	}
}

// sleep waits, at most until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

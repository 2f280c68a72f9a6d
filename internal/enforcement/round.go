package enforcement

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"strconv"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/ledger"
)

// round does what is owed: it reads the ledger to its end, appends what is missing,
// and brings the state document in force. Whoever calls it holds turn. It does not
// end with ctx: half of it would be of no use to anybody.
func (e *Enforcer) round(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	e.pace()
	for {
		if err := e.catchUp(ctx, math.MaxUint64); err != nil {
			return err
		}
		entries, ended, err := e.owed()
		if err != nil {
			return err
		}
		if len(entries) == 0 {
			break
		}
		if err := e.append(ctx, entries, ledger.Durable); err != nil {
			e.mu.Lock()
			e.alarms.again(e.state, ended)
			e.mu.Unlock()
			return err
		}
	}
	return e.publish(ctx)
}

// owed returns the entries that are missing, and which ends are among them.
func (e *Enforcer) owed() ([]ledger.Entry, []end, error) {
	c := e.Charter()
	if c == nil {
		return nil, nil, errors.New("there is no charter to enforce")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	ended := e.alarms.ended(e.state)
	entries, err := e.state.owed(c, e.Quiet, ended)
	return entries, ended, err
}

// append appends entries in their order.
func (e *Enforcer) append(ctx context.Context, entries []ledger.Entry, level ledger.Level) error {
	for len(entries) > 0 {
		n := min(len(entries), chunk)
		positions, err := e.Log.AppendAll(ctx, entries[:n], level)
		if err != nil && !errors.Is(err, ledger.ErrNoQuorum) && !recorded(positions, n) {
			return fmt.Errorf("record consequences: %w", err)
		}
		entries = entries[n:]
	}
	return nil
}

// recorded reports whether entries are in the ledger in spite of an error.
func recorded(positions []ledger.Position, n int) bool {
	for i := range positions {
		if positions[i].Size > 0 {
			n--
		}
	}
	return n == 0
}

// catchUp folds what is in the ledger, up to an index at least when it is there.
func (e *Enforcer) catchUp(ctx context.Context, reach uint64) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.state.next >= reach {
		return nil
	}
	size, _, err := e.History.Head(ctx)
	if err != nil {
		return fmt.Errorf("read the ledger: %w", err)
	}
	var latest time.Time
	if err := e.fold(ctx, size, func(ev *event) {
		latest = ev.at
		if n, tells := e.state.notice(ev); tells {
			e.announce(n)
		}
	}); err != nil {
		return err
	}
	e.state.next = max(e.state.next, size)
	e.alarms.sync(e.state, latest)
	return nil
}

// fold folds the entries up to a size and calls told after each that it looked at. It
// needs mu.
func (e *Enforcer) fold(ctx context.Context, size uint64, told func(*event)) error {
	if size <= e.state.next {
		return nil
	}
	rows := e.History.Rows(ctx, e.state.next, size)
	if size-e.state.next > far {
		rows = e.History.Find(ctx, ledger.Filter{Kinds: kinds(), From: e.state.next, Before: size})
	}
	return e.each(rows, func(ev *event) {
		e.state.apply(ev)
		told(ev)
	})
}

// each visits the entries of rows that the fold looks at.
func (e *Enforcer) each(rows iter.Seq2[ledger.Row, error], visit func(*event)) error {
	for row, err := range rows {
		if err != nil {
			return fmt.Errorf("read the ledger: %w", err)
		}
		if row.Body == nil || !matters(&row.Columns) {
			continue
		}
		ev, err := read(&row)
		if err != nil {
			return fmt.Errorf("read the ledger: %w", err)
		}
		visit(&ev)
	}
	return nil
}

// publish brings the state document in force, when it says anything else than what
// is. Whoever calls it holds turn.
func (e *Enforcer) publish(ctx context.Context) error {
	e.mu.RLock()
	version := e.state.version
	var doc map[string]any
	if version > e.published {
		doc = e.state.document(false)
	}
	e.mu.RUnlock()
	if version > e.published {
		start := time.Now()
		if err := e.Publish(ctx, doc); err != nil {
			return fmt.Errorf("bring the state in force: %w", err)
		}
		e.last, e.took = time.Now(), time.Since(start)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if version > e.published {
		e.stats.Swaps++
	}
	e.published, e.stats.Err = version, nil
	maps.DeleteFunc(e.state.touched, func(_ string, at uint64) bool { return at <= version })
	return nil
}

// pace waits after a change of the state document, in proportion to what it took: in
// a burst, many consequences come in force together, and others are still served.
func (e *Enforcer) pace() {
	if wait := min(share*e.took, maxPause) - time.Since(e.last); wait > 0 {
		time.Sleep(wait)
	}
}

// announce tells people: those whom the charter names for a level of escalation, and
// those of the lowest one about all else.
func (e *Enforcer) announce(n Notice) {
	if c := e.Charter(); c != nil {
		n.Receivers = receivers(c.Escalation, n.Fields["level"])
	}
	e.Announce(n)
}

func receivers(steps []charter.Step, level string) []string {
	var lowest *charter.Step
	for i := range steps {
		if strconv.Itoa(steps[i].Level) == level {
			return steps[i].Notify
		}
		if lowest == nil || steps[i].Level < lowest.Level {
			lowest = &steps[i]
		}
	}
	if lowest == nil {
		return nil
	}
	return lowest.Notify
}

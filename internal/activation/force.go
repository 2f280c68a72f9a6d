package activation

import (
	"context"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/engine"
)

// current returns the release in force, nil without one.
func (a *Activator) current() *loaded {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.active
}

// charter returns the charter in force, nil without one.
func (a *Activator) charter() *charter.Charter {
	if l := a.current(); l != nil {
		return l.policy.Charter()
	}
	return nil
}

// put puts l in force with the state document that holds for it.
func (a *Activator) put(ctx context.Context, l *loaded) error {
	a.swap.Lock()
	defer a.swap.Unlock()
	document := a.document(l.policy)
	policy, err := l.policy.WithState(ctx, document.data)
	if err != nil {
		return err
	}
	next := Activation{Release: l.Release, Policy: policy, State: document.data, Archive: l.archive}
	if old := a.current(); old != nil {
		next.Previous = old.Release
		next.SameBundle = old.Digest == l.Digest
	}
	if err := a.o.Activate(ctx, next); err != nil {
		return failf(CodeActivateFailed, "put %s in force: %w", l.Revision, err)
	}
	l.policy, a.documentID = policy, document.id
	if !next.SameBundle {
		l.since = a.o.Now()
	}
	a.set(l)
	return nil
}

// restate puts the state document in force that holds now. It returns when that
// changes by itself, zero for never.
func (a *Activator) restate(ctx context.Context) (until time.Time, err error) {
	a.swap.Lock()
	defer a.swap.Unlock()
	old := a.current()
	if old == nil || a.states == nil {
		return time.Time{}, nil
	}
	document := a.document(old.policy)
	if document.id == a.documentID {
		return document.until, nil
	}
	policy, err := old.policy.WithState(ctx, document.data)
	if err != nil {
		return document.until, err
	}
	err = a.o.Activate(ctx, Activation{
		Release: old.Release, Policy: policy, State: document.data, Archive: old.archive, Previous: old.Release, SameBundle: true,
	})
	if err != nil {
		return document.until, failf(CodeActivateFailed, "put the state document in force: %w", err)
	}
	next := *old
	next.policy, a.documentID = policy, document.id
	a.set(&next)
	return document.until, nil
}

func (a *Activator) set(l *loaded) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.active = l
}

func (a *Activator) document(p *engine.Policy) document {
	if a.states == nil {
		return document{}
	}
	return a.states.document(p.Charter(), a.o.Now())
}

// refresh does what time alone brings: the release statement expires, another state
// document holds. It returns when to look again at the latest.
func (a *Activator) refresh(ctx context.Context) time.Time {
	a.held.settle(ctx, false)
	now := a.o.Now()
	next := now.Add(a.o.Interval)
	if l := a.current(); l != nil {
		if now.Before(l.Expires) {
			a.held.clear(ctx, keyExpiry)
			next = earlier(next, l.Expires)
		} else {
			a.held.set(ctx, keyExpiry, l.event(EventDegraded, failf(CodeExpired,
				"the release statement in force expired on %s and nothing newer was accepted; it is served on", l.Expires.Format(time.RFC3339))))
		}
	}
	until, err := a.restate(ctx)
	switch {
	case ended(ctx):
	case err != nil:
		a.held.set(ctx, keyState, Event{Part: PartState, Kind: EventDegraded, Code: CodeOf(err), Message: err.Error()})
	default:
		a.held.clear(ctx, keyState)
		if until.After(now) {
			next = earlier(next, until)
		}
	}
	return next
}

func earlier(x, y time.Time) time.Time {
	if y.Before(x) {
		return y
	}
	return x
}

// event is an event about a release.
func (r *Release) event(kind string, err error) Event {
	e := Event{Part: PartPolicy, Kind: kind, Digest: r.Digest, Channel: r.Channel, Sequence: r.Sequence, Revision: r.Revision, Expires: r.Expires}
	if err != nil {
		e.Code, e.Message = CodeOf(err), err.Error()
	}
	return e
}

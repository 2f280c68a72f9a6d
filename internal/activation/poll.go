package activation

import (
	"context"
	"errors"
	"time"

	"github.com/westworld-charter/charter/internal/distribution"
)

// Keys of conditions.
const (
	keyPoll   = "poll"   // what the source offers, or that it does not answer
	keyExpiry = "expiry" // of the release in force
	keyTrust  = "trust"  // the release in force does not satisfy the trust policy of now
	keyDisk   = "disk"   // what is on disk, and writing there
	keyMark   = "mark"   // the state file
	keyState  = "state.force"
)

// Poll does one round now, ending long polls that are under way; the state document
// comes after the policy. The error says why nothing newer is in force: what was in
// force before still is.
func (a *Activator) Poll(ctx context.Context) (Outcome, error) {
	var o Outcome
	var err error
	a.round.take(func() { o, err = a.poll(ctx, ctx, 0) })
	if a.states != nil {
		a.stateRound.take(func() {
			_, failed := a.pollState(ctx, 0)
			err = errors.Join(err, failed)
		})
	}
	return o, err
}

// poll does one round; asking bounds the question to the source alone.
func (a *Activator) poll(ctx, asking context.Context, wait time.Duration) (Outcome, error) {
	if trust := a.o.Trust(); trust != a.trust {
		a.retrust(ctx)
	}
	r, err := a.o.Source.Resolve(asking, a.last, wait)
	if err != nil && ended(asking) {
		return a.outcome(), context.Cause(asking)
	}
	o := a.outcome()
	if err == nil {
		a.last = r
		o, err = a.consider(ctx, r)
	}
	defer a.refresh(ctx)
	if err != nil && ended(ctx) {
		return o, err
	}
	a.mend(ctx)
	if err != nil {
		a.fail(ctx, r, err)
		return o, err
	}
	a.mu.Lock()
	a.checked = a.o.Now()
	a.mu.Unlock()
	for _, key := range []string{keyPoll, keyTrust, keyMark} {
		a.held.clear(ctx, key)
	}
	return o, nil
}

func (a *Activator) outcome() Outcome {
	if l := a.current(); l != nil {
		return Outcome{Release: l.Release}
	}
	return Outcome{}
}

// fail notes why a round changed nothing: what was offered is refused, or nothing was
// offered.
func (a *Activator) fail(ctx context.Context, r distribution.Resolved, err error) {
	offered := Release{Digest: r.Digest, Channel: a.trust.Channel()}
	if c := a.judged; c != nil && c.digest == r.Digest {
		offered = c.release()
	}
	e := offered.event(EventRefused, err)
	if unavailable(e.Code) {
		e = Event{Part: PartPolicy, Kind: EventDegraded, Code: e.Code, Message: e.Message, Channel: offered.Channel}
	}
	a.held.set(ctx, keyPoll, e)
}

// unavailable reports whether a code says that nothing was offered.
func unavailable(code string) bool {
	switch code {
	case distribution.CodeUnreachable, distribution.CodeNotFound, distribution.CodeUnauthorized, distribution.CodeBadResponse, distribution.CodeCanceled,
		distribution.CodeInsecureTransport, distribution.CodeIO, distribution.CodeUnsupported, distribution.CodeBadReference,
		CodeActivateFailed, CodeStoreFailed, CodeInternal:
		return true
	default:
		return false
	}
}

// consider puts what a source offers in force when it is valid and newer.
func (a *Activator) consider(ctx context.Context, r distribution.Resolved) (Outcome, error) {
	now, old := a.o.Now(), a.current()
	inForce := ""
	if old != nil {
		inForce = old.Digest
	}
	c, err := judge(ctx, a.trust, r.Digest, r.Manifest, r.Statements)
	a.judged = c
	if err == nil {
		err = c.follows(a.saved.mark(c.statement.Channel), inForce, now)
	} else if r.Digest == inForce && withheld(err) {
		err = failf(CodeReferrersDropped, "the release in force has fewer statements than it had: %w", err)
	}
	if err != nil {
		return a.outcome(), err
	}
	if c.digest == inForce {
		return a.renew(ctx, old, c)
	}
	l, err := a.fetch(ctx, c, r, now)
	if err != nil {
		return a.outcome(), err
	}
	o := a.outcome()
	if err := a.store.put(l.Release, l.archive); err != nil {
		return o, failf(CodeStoreFailed, "store the release: %w", err)
	}
	if err := a.put(ctx, l); err != nil {
		return o, err
	}
	a.o.step("activated")
	a.distrusted = false
	a.commit(ctx, l)
	e := l.event(EventActivated, nil)
	e.Previous = o.Release.Revision
	a.held.emit(ctx, e)
	return Outcome{Activated: true, Release: l.Release}, nil
}

// fetch makes a policy of a candidate (steps 6 to 8). An archive that is on disk is
// not fetched again, nor one that was refused.
func (a *Activator) fetch(ctx context.Context, c *candidate, r distribution.Resolved, now time.Time) (*loaded, error) {
	if no := a.rejected; no != nil && no.digest == c.digest && no.sequence == c.statement.Sequence {
		return nil, no.err
	}
	archive, ok := a.store.archive(c.digest, c.manifest.Layer.Digest)
	if !ok {
		var err error
		if archive, err = a.o.Source.Layer(ctx, r); err != nil {
			return nil, err
		}
	}
	a.o.step("fetched")
	l, err := a.load(ctx, c, archive, now)
	if err != nil {
		if !ended(ctx) && CodeOf(err) != CodeLayerMismatch {
			a.rejected = &rejection{c.digest, c.statement.Sequence, err}
		}
		return nil, err
	}
	a.rejected = nil
	a.o.step("prepared")
	return l, nil
}

// load makes a policy of the archive of a candidate.
func (a *Activator) load(ctx context.Context, c *candidate, archive []byte, now time.Time) (*loaded, error) {
	b, err := c.open(archive)
	if err != nil {
		return nil, err
	}
	if a.o.Reproduce != nil {
		if err := a.o.Reproduce(ctx, b); err != nil {
			return nil, failf(CodeNotReproducible, "%w", err)
		}
	}
	p, err := c.prepare(ctx, b, now)
	if err != nil {
		return nil, err
	}
	if a.o.SelfTest != nil {
		if err := a.o.SelfTest(ctx, p); err != nil {
			return nil, failf(CodeSelfTest, "%w", err)
		}
	}
	return &loaded{Release: c.release(), policy: p, archive: archive}, nil
}

// renew takes over newer statements about the release in force.
func (a *Activator) renew(ctx context.Context, old *loaded, c *candidate) (Outcome, error) {
	o := Outcome{Release: old.Release}
	same := c.statement.Channel == old.Channel && c.statement.Sequence == old.Sequence && !c.statement.Expires.After(old.Expires)
	if same && !a.distrusted {
		return o, nil
	}
	switch {
	case c.statement.Revision != old.Revision:
		return o, failf(CodeRevisionMismatch, "the statement is about revision %s, the bundle is %s", c.statement.Revision, old.Revision)
	case c.statement.CharterDigest != old.CharterDigest:
		return o, failf(CodeCharterMismatch, "the statement is about charter %s, the bundle carries %s", c.statement.CharterDigest, old.CharterDigest)
	}
	next := *a.current() // the state document may be another one by now
	next.Release = c.release()
	if err := a.store.putStatements(next.Release); err != nil {
		return o, failf(CodeStoreFailed, "store the statements: %w", err)
	}
	if err := a.put(ctx, &next); err != nil {
		return o, err
	}
	a.o.step("activated")
	a.distrusted = false
	a.commit(ctx, &next)
	if !same {
		a.held.emit(ctx, next.event(EventRenewed, nil))
	}
	return Outcome{Renewed: true, Release: next.Release}, nil
}

// commit persists what is in force, the state file last, and removes what is neither
// that nor the release before.
func (a *Activator) commit(ctx context.Context, l *loaded) {
	next := a.saved
	if next.Active != l.Digest {
		next.Previous = next.Active
	}
	next.Active, next.Activated = l.Digest, l.since
	next.raise(Mark{l.Channel, l.Sequence, l.Digest})
	a.mu.Lock()
	a.saved = next
	a.mu.Unlock()
	if a.store.save(next) != nil {
		return // mend tries again and tells
	}
	a.o.step("saved")
	if err := a.store.collect(next.Active, next.Previous); err != nil {
		a.o.Log.WarnContext(ctx, "an older release cannot be removed", "error", err.Error())
	}
	a.o.step("collected")
}

// mend writes the release in force again when what is on disk is not it any more: the
// next start may be without a network.
func (a *Activator) mend(ctx context.Context) {
	l := a.current()
	if l == nil {
		return
	}
	damage := a.store.compare(l.Release, l.archive)
	if damage == nil {
		a.held.clear(ctx, keyDisk)
		return
	}
	err := a.store.put(l.Release, l.archive)
	if err == nil {
		err = a.store.save(a.saved)
	}
	if err != nil {
		damage = failf(CodeStoreFailed, "store what is in force: %w", err)
	}
	a.held.set(ctx, keyDisk, l.event(EventDegraded, damage))
}

// retrust verifies the release in force under another trust policy. It is served on
// even if it does not satisfy that, and refused at the next start.
func (a *Activator) retrust(ctx context.Context) {
	a.trust, a.rejected = a.o.Trust(), nil
	l := a.current()
	if l == nil {
		return
	}
	_, err := judgeStored(ctx, a.trust, l.Digest, l.Manifest, l.Statements)
	if a.distrusted = err != nil && !ended(ctx); a.distrusted {
		e := l.event(EventDegraded, err)
		e.Untrusted = true
		a.held.set(ctx, keyTrust, e)
		return
	}
	a.held.clear(ctx, keyTrust)
}

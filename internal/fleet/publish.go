package fleet

import (
	"context"
	"strings"

	"github.com/westworld-charter/charter/internal/ledger"
)

// Published is a release that was taken, with its rollback.
type Published struct {
	Release  Release  `json:"release"`
	Rollback *Release `json:"rollback,omitempty"` // nil for the first release of a channel
	Again    bool     `json:"again,omitempty"`    // it was published before
}

// Publish keeps a release, and its rollback under the next sequence: an earlier release
// of the channel, signed once more. The caller has verified both as a node would. Only
// the first release of a channel has no rollback. Nobody is offered it before
// [Fleet.Begin]. To publish the same again changes nothing, but for statements about
// releases that are not trusted any more: they take the place of those. Errors are [*Error].
func (f *Fleet) Publish(ctx context.Context, by string, releases []Release) (Published, error) {
	f.stepping.Lock()
	defer f.stepping.Unlock()
	if len(releases) == 0 || len(releases) > 2 {
		return Published{}, refuse(BadArchive, "", "%d releases, want one and its rollback", len(releases))
	}
	p := Published{Release: releases[0]}
	if len(releases) == 2 {
		if releases[1].Sequence < p.Release.Sequence {
			releases[0], releases[1] = releases[1], releases[0]
			p.Release = releases[0]
		}
		p.Rollback = &releases[1]
	}
	name := p.Release.Channel
	if name == "" || strings.ContainsAny(name, "/\\\x00") {
		return Published{}, refuse(BadArchive, "", "%q is no channel", name)
	}
	next := f.channel(name).copied()
	if again, err := next.known(p); again || err != nil {
		if err == nil {
			if _, err = f.restate(ctx, by, name, releases); err != nil {
				return Published{}, err
			}
			p.Release, p.Again = *f.channel(name).release(p.Release.Sequence), true
		}
		return p, err
	}
	if err := next.accepts(p); err != nil {
		return Published{}, err
	}
	if p.Rollback != nil {
		releases[0].Rollback, releases[1].RollbackOf = releases[1].Sequence, releases[0].Sequence
	}
	at := f.now()
	for i := range releases {
		r := &releases[i]
		r.Published, r.By = at, by
		if err := f.shelf.put(r); err != nil {
			return Published{}, unwritten(err)
		}
		own := *r
		own.Content = Content{} // it is on the shelf
		next.Releases = append(next.Releases, &own)
		next.Highest = max(next.Highest, r.Sequence)
	}
	p.Release = releases[0]
	dropped := f.prune(next)
	step := ledger.ReleaseStep{Action: actPublish, Channel: name, Sequence: p.Release.Sequence, Signers: p.Release.Signers}
	if p.Rollback != nil {
		step.Rollback, step.RollbackDigest, step.RollbackSigners = p.Rollback.Sequence, p.Rollback.Digest, p.Rollback.Signers
	}
	if err := f.step(ctx, name, next, step, by); err != nil {
		return Published{}, err
	}
	for _, r := range dropped {
		if err := f.shelf.drop(r); err != nil {
			f.Logger.Warn("an old release stays on disk", "error", err.Error())
		}
	}
	return p, nil
}

// known reports whether the same was published before.
func (c *channel) known(p Published) (bool, error) {
	was := c.release(p.Release.Sequence)
	if was == nil {
		return false, nil
	}
	same := was.Digest == p.Release.Digest
	if p.Rollback != nil {
		other := c.release(p.Rollback.Sequence)
		same = same && other != nil && other.Digest == p.Rollback.Digest
	}
	if !same {
		return false, refuse(SequenceReused, "", "channel %s has another release under the sequence %d; reserve the next pair", p.Release.Channel, p.Release.Sequence)
	}
	return true, nil
}

// accepts reports why a release cannot be the next one of its channel.
func (c *channel) accepts(p Published) error {
	r := p.Release
	if r.Sequence <= c.Highest {
		return refuse(OlderSequence, "", "sequence %d is not newer than %d, which channel %s has had; sign it under %d", r.Sequence, c.Highest, r.Channel, c.Highest+1)
	}
	if p.Rollback == nil {
		if len(c.Releases) > 0 {
			return refuse(NoRollback, "", "the archive lacks the rollback: an earlier release signed under the sequence %d", r.Sequence+1)
		}
		return nil
	}
	switch b := p.Rollback; {
	case b.Channel != r.Channel:
		return refuse(WrongChannel, "", "the release is for channel %s and its rollback for %s", r.Channel, b.Channel)
	case b.Sequence != r.Sequence+1:
		return refuse(WrongRollback, "", "the rollback has the sequence %d, want %d, the one after the release", b.Sequence, r.Sequence+1)
	case !c.has(b.Layer):
		return refuse(WrongRollback, "", "the rollback (%s) is no earlier release of channel %s", b.Revision, r.Channel)
	}
	return nil
}

// has reports whether an archive was published before.
func (c *channel) has(layer string) bool {
	for _, r := range c.Releases {
		if r.Layer == layer {
			return true
		}
	}
	return false
}

// channel is the one in force; nil before anything was published.
func (f *Fleet) channel(name string) *channel {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.channels[name]
}

// Begin rolls a release out by a plan. What was rolled out before must be older, and
// over. What was rolled back before is what the nodes get
// that are not reached yet. To begin the same again changes nothing.
func (f *Fleet) Begin(ctx context.Context, by, name string, sequence int64, p Plan) (Rollout, error) {
	if err := p.Check(); err != nil {
		return Rollout{}, err
	}
	f.stepping.Lock()
	defer f.stepping.Unlock()
	c := f.channel(name)
	if c == nil {
		return Rollout{}, refuse(UnknownChannel, "channel", "nothing was published in channel %q", name)
	}
	next := c.copied()
	r, was := next.release(sequence), next.Rollout
	switch {
	case r == nil:
		return Rollout{}, refuse(UnknownRelease, "sequence", "channel %s has no release with the sequence %d", name, sequence)
	case next.refuses(sequence) != nil:
		return Rollout{}, next.refuses(sequence)
	case r.RollbackOf != 0:
		return Rollout{}, refuse(UnknownRelease, "sequence", "%d is the rollback of %d, which can only be rolled back", sequence, r.RollbackOf)
	case was != nil && was.Sequence == sequence && was.State != RolledBack:
		return *was, nil
	case was.active():
		return Rollout{}, refuse(RolloutActive, "", "the rollout of %d is %s; let it finish, or roll it back", was.Sequence, was.State)
	case was != nil && sequence <= was.Sequence:
		return Rollout{}, refuse(OlderSequence, "sequence", "the sequence %d was used by the rollout before; publish a newer release", sequence)
	}
	fresh := &Rollout{Sequence: sequence, Digest: r.Digest, Rollback: r.Rollback, Plan: p, Before: next.newest(), By: by, Began: f.now()}
	fresh.enter(0, next.Step+1, fresh.Began)
	next.Rollout = fresh
	return f.proceed(ctx, name, next, actBegin, by)
}

// Promote goes on to the next stage at once, or to the end of the last one. A rollout
// that was halted goes on with its stage from the beginning.
func (f *Fleet) Promote(ctx context.Context, by, name string) (Rollout, error) {
	return f.change(ctx, by, name, func(next *channel) (string, error) {
		r := next.Rollout
		if err := next.refuses(r.Sequence); err != nil {
			return "", err
		}
		switch r.State {
		case Halted:
			r.enter(r.Stage, next.Step+1, f.now())
			return actResume, nil
		case Running:
			f.mu.Lock()
			m := f.measure(name, next, f.now())
			f.mu.Unlock()
			r.remember(m)
			return f.forward(next), nil
		default:
			return "", refuse(NoRollout, "", "the rollout of %d is %s, so there is nothing to go on with", r.Sequence, r.State)
		}
	})
}

// forward takes a running rollout to its next stage, or its end.
func (f *Fleet) forward(next *channel) string {
	r := next.Rollout
	if r.Stage == len(r.Plan.Stages)-1 {
		r.settle(Done, nil, f.now())
		return actFinish
	}
	r.enter(r.Stage+1, next.Step+1, f.now())
	return actAdvance
}

// Halt keeps a release from reaching further nodes, until a person acts. Those that have
// it keep it.
func (f *Fleet) Halt(ctx context.Context, by, name string) (Rollout, error) {
	return f.change(ctx, by, name, func(next *channel) (string, error) {
		if r := next.Rollout; r.State != Running {
			return "", refuse(NoRollout, "", "the rollout of %d is %s, so there is nothing to halt", r.Sequence, r.State)
		}
		next.Rollout.settle(Halted, nil, f.now())
		return actHalt, nil
	})
}

// RollBack gives the rollback to the nodes that have the release, also after the end of
// its rollout.
func (f *Fleet) RollBack(ctx context.Context, by, name string) (Rollout, error) {
	return f.change(ctx, by, name, func(next *channel) (string, error) {
		switch r := next.Rollout; {
		case r.State == RolledBack:
			return "", refuse(NoRollout, "", "the release %d was rolled back already", r.Sequence)
		case r.Rollback == 0:
			return "", refuse(NoRollback, "", "the release %d came without a rollback, being the first of its channel; publish a newer one", r.Sequence)
		}
		if err := next.refuses(next.Rollout.Rollback); err != nil {
			return "", err
		}
		next.Rollout.settle(RolledBack, nil, f.now())
		return actRoll, nil
	})
}

// change takes a step of the rollout of a channel.
func (f *Fleet) change(ctx context.Context, by, name string, act func(next *channel) (string, error)) (Rollout, error) {
	f.stepping.Lock()
	defer f.stepping.Unlock()
	c := f.channel(name)
	if c == nil || c.Rollout == nil {
		return Rollout{}, refuse(UnknownChannel, "channel", "nothing is rolled out in channel %q", name)
	}
	next := c.copied()
	action, err := act(next)
	if err != nil {
		return Rollout{}, err
	}
	next.Rollout.By = by
	return f.proceed(ctx, name, next, action, by)
}

// proceed puts a step of a rollout in force.
func (f *Fleet) proceed(ctx context.Context, name string, next *channel, action, by string) (Rollout, error) {
	r := next.Rollout
	step := ledger.ReleaseStep{
		Action: action, Channel: name, Sequence: r.Sequence, Rollback: r.Rollback, Before: r.Before,
		Stage: r.Stage + 1, Stages: len(r.Plan.Stages), Percent: r.stage().Percent, Labels: r.stage().Labels,
	}
	if r.Cause != nil {
		c := ledger.ReleaseCause(*r.Cause)
		step.Cause = &c
	}
	if err := f.step(ctx, name, next, step, by); err != nil {
		return Rollout{}, err
	}
	return *r, nil
}

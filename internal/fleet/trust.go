package fleet

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/westworld-charter/charter/internal/ledger"
)

// ByTrust is the cause of a halt because the release is not trusted any more.
const ByTrust = "trust"

// Verify has every release that is kept verified again, as when the trust policy has
// changed. Check returns why a release is not trusted, "" when it is. One that is not
// any more is given to nobody from then on, and its rollout is halted; both are steps in
// the ledger. Whoever runs it already is left alone. One that is trusted again is given
// again, and a person lets its rollout go on. Errors are [*Error], or of reading.
func (f *Fleet) Verify(ctx context.Context, check func(Release) (code string)) error {
	f.stepping.Lock()
	defer f.stepping.Unlock()
	var failed []error
	for _, name := range f.Channels() {
		releases := f.channel(name).Releases
		for _, r := range releases {
			whole := *r
			var err error
			if whole.Content, err = f.shelf.get(r); errors.Is(err, fs.ErrNotExist) && !f.channel(name).served()[r.Sequence] {
				continue // nobody is given it: it is forgotten
			}
			code := UnreadableRelease
			if err == nil {
				code = check(whole)
			}
			if err = f.entrust(ctx, name, r, code, err); err != nil {
				failed = append(failed, err)
			}
		}
	}
	return errors.Join(failed...)
}

// UnreadableRelease is [Release.Untrusted] of one that cannot be read any more.
const UnreadableRelease = "disk_incomplete"

// entrust notes whether a release is trusted. It needs stepping.
func (f *Fleet) entrust(ctx context.Context, name string, r *Release, code string, unread error) error {
	if code != r.Untrusted {
		next := f.channel(name).copied()
		own := *r
		own.Untrusted = code
		next.replace(&own)
		step := ledger.ReleaseStep{Action: actDistrust, Channel: name, Sequence: r.Sequence, Signers: r.Signers, Code: code}
		if code == "" {
			step.Action, step.Code = actTrust, r.Untrusted
		}
		if err := f.step(ctx, name, next, step, ""); err != nil {
			return errors.Join(unread, err)
		}
	} else {
		unread = nil // it is known
	}
	if code == "" {
		return unread
	}
	return errors.Join(unread, f.suspend(ctx, name, r.Sequence, code))
}

// suspend halts the rollout of a release that is not trusted any more, also when that was
// not to be done at once. It needs stepping.
func (f *Fleet) suspend(ctx context.Context, name string, sequence int64, code string) error {
	next := f.channel(name).copied()
	run := next.Rollout
	if run == nil || run.Sequence != sequence || run.State != Running {
		return nil
	}
	run.By = ""
	run.settle(Halted, nil, f.now())
	return f.step(ctx, name, next, ledger.ReleaseStep{
		Action: actHalt, Channel: name, Sequence: sequence, Rollback: run.Rollback, Before: run.Before,
		Stage: run.Stage + 1, Stages: len(run.Plan.Stages), Percent: run.stage().Percent, Labels: run.stage().Labels, Code: code,
	}, "")
}

// replace puts another description in the place of that of the same release. The
// channel must be a copy.
func (c *channel) replace(r *Release) {
	for i, old := range c.Releases {
		if old.Sequence == r.Sequence {
			c.Releases[i] = r
		}
	}
}

// trusts reports whether a release may be given to anybody.
func (c *channel) trusts(sequence int64) bool {
	r := c.release(sequence)
	return r != nil && r.Untrusted == ""
}

// refuses is the refusal to roll out, or back to, what is not trusted.
func (c *channel) refuses(sequence int64) error {
	if r := c.release(sequence); r != nil && r.Untrusted != "" {
		return refuse(UntrustedRun, "sequence", "the trust policy does not trust release %d any more (%s): publish it again with statements of those it trusts, or a newer release", sequence, r.Untrusted)
	}
	return nil
}

// restate takes newer statements about releases that are not trusted any more, which the
// caller has verified. It reports whether there were such. It needs stepping.
func (f *Fleet) restate(ctx context.Context, by, name string, given []Release) (bool, error) {
	restated := false
	for i := range given {
		next := f.channel(name).copied()
		was := next.release(given[i].Sequence)
		if was == nil || was.Untrusted == "" {
			continue
		}
		own := *was
		own.Untrusted, own.Signers, own.Expires, own.Content = "", given[i].Signers, given[i].Expires, given[i].Content
		if err := f.shelf.put(&own); err != nil {
			return restated, unwritten(err)
		}
		own.Content = Content{}
		next.replace(&own)
		step := ledger.ReleaseStep{Action: actTrust, Channel: name, Sequence: own.Sequence, Signers: own.Signers, Code: was.Untrusted}
		if err := f.step(ctx, name, next, step, by); err != nil {
			return restated, err
		}
		restated = true
	}
	return restated, nil
}

// Untrusted are the releases that are given to nobody since they are not trusted any
// more, of those that somebody would be given, as texts.
func (f *Fleet) Untrusted() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []string
	for _, name := range sortedKeys(f.channels) {
		for _, r := range f.channels[name].withheld() {
			list = append(list, fmt.Sprintf("release %d of %s (%s)", r.Sequence, name, r.Untrusted))
		}
	}
	return list
}

// withheld are the releases that somebody would be given, were they trusted.
func (c *channel) withheld() []*Release {
	var list []*Release
	served := c.served()
	for _, r := range c.Releases {
		if served[r.Sequence] && r.Untrusted != "" {
			list = append(list, r)
		}
	}
	return list
}

package activation

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io/fs"
	"slices"

	"github.com/westworld-charter/charter/internal/distribution"
	"github.com/westworld-charter/charter/internal/release"
	"github.com/westworld-charter/charter/internal/signing"
)

// recover puts the newest release on disk in force that is valid and not below the
// mark. Errors are those of the disk as a whole.
func (a *Activator) recover(ctx context.Context) error {
	a.trust = a.o.Trust()
	digests, err := a.store.digests()
	if err != nil {
		return err
	}
	state, err := a.store.load()
	switch {
	case err == nil:
	case errors.Is(err, fs.ErrNotExist) && len(digests) == 0: // the first start
	default:
		a.held.set(ctx, keyMark, Event{Part: PartPolicy, Kind: EventDegraded, Code: CodeMarkLost, Message: err.Error() + "; the newest valid release on disk counts"})
	}
	for _, m := range a.o.Known {
		state.raise(m)
	}
	a.saved = state
	if err := a.store.save(state); err != nil { // from now on its absence is a loss
		return err
	}
	if state.Active != "" && !slices.Contains(digests, state.Active) {
		digests = append(digests, state.Active)
	}
	var found []*loadable
	for _, digest := range digests {
		r, err := a.verifyStored(ctx, digest)
		switch {
		case ended(ctx):
			return context.Cause(ctx)
		case err == nil:
			found = append(found, r)
		default:
			a.refuseStored(ctx, digest, err)
		}
	}
	slices.SortFunc(found, func(x, y *loadable) int { return -cmp.Compare(x.statement.Sequence, y.statement.Sequence) })
	for _, r := range found {
		l, err := a.load(ctx, r.candidate, r.archive, a.o.Now())
		if err == nil {
			err = a.put(ctx, l)
		}
		switch {
		case ended(ctx):
			return context.Cause(ctx)
		case err != nil:
			a.refuseStored(ctx, r.digest, err)
		default:
			a.last = distribution.Resolved{Digest: r.digest, Manifest: r.manifest.Bytes(), Statements: r.statements}
			a.commit(ctx, l)
			a.held.emit(ctx, l.event(EventActivated, nil))
			a.refresh(ctx)
			return nil
		}
	}
	return nil
}

// refuseStored notes what is wrong with a release on disk, if that matters: what a
// crash left behind, or an older release, is removed with the next one.
func (a *Activator) refuseStored(ctx context.Context, digest string, err error) {
	if digest != a.saved.Active {
		a.o.Log.InfoContext(ctx, "a release on disk is not used", "digest", digest, "reason", err.Error())
		return
	}
	a.held.set(ctx, keyDisk, Event{Part: PartPolicy, Kind: EventRefused, Code: CodeOf(err), Message: err.Error(), Digest: digest, Channel: a.trust.Channel()})
}

// loadable is a release on disk that is verified and not below the mark.
type loadable struct {
	*candidate

	archive []byte
}

// verifyStored verifies a release on disk as one from a source (steps 3 to 7). Its
// expiry does not matter: it was accepted in time, and may have been in force even if
// the state file does not say so yet.
func (a *Activator) verifyStored(ctx context.Context, digest string) (*loadable, error) {
	r, err := a.store.read(digest)
	if err != nil {
		return nil, err
	}
	// Whatever the directory is called: an older release in the place of a newer one is
	// told from a damaged one.
	content := release.Digest(r.manifest)
	c, err := judgeStored(ctx, a.trust, content, r.manifest, r.statements)
	var mark Mark
	if err == nil {
		mark = a.saved.mark(c.statement.Channel)
	}
	switch {
	case err == nil && c.statement.Sequence < mark.Sequence:
		return nil, failf(CodeOlderOnDisk, "the release on disk is of sequence %d, and %d was in force", c.statement.Sequence, mark.Sequence)
	case content != digest:
		return nil, failf(CodeDiskTampered, "the manifest on disk is %s in the place of %s", content, digest)
	case err != nil:
		return nil, err
	case c.statement.Sequence == mark.Sequence && digest != mark.Digest:
		return nil, failf(CodeSequenceReused, "sequence %d is that of %s, and on disk that of %s", mark.Sequence, mark.Digest, digest)
	}
	if got := release.Digest(r.archive); got != c.manifest.Layer.Digest {
		return nil, failf(CodeDiskTampered, "the archive on disk is %s in the place of %s", got, c.manifest.Layer.Digest)
	}
	if _, err := c.open(r.archive); err != nil {
		return nil, err
	}
	return &loadable{c, r.archive}, nil
}

// judgeStored is [judge] for statements in the form of a file.
func judgeStored(ctx context.Context, trust *signing.Trust, digest string, manifest, statements []byte) (*candidate, error) {
	list, err := distribution.ReadStatements(bytes.NewReader(statements), distribution.Limits{})
	if err != nil {
		return nil, err
	}
	return judge(ctx, trust, digest, manifest, list)
}

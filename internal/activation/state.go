package activation

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/distribution"
	"github.com/westworld-charter/charter/internal/durable"
	"github.com/westworld-charter/charter/internal/release"
	"github.com/westworld-charter/charter/internal/signing"
	"github.com/westworld-charter/charter/internal/statedoc"
)

// Codes about state bundles, beside those that they share with releases.
const (
	CodeWrongCharter     = "wrong_charter"     // it is about the nodes of another charter
	CodeStateExpired     = "state_expired"     // it has expired
	CodeStateMissing     = "state_missing"     // none was ever accepted
	CodeRestrictionKept  = "restriction_kept"  // it lifts a restriction without the request of the committee; the node holds on to it
	CodeOverrideUnproven = "override_unproven" // it has an override that no quorum of the active charter signed
	CodeTooManyProofs    = "too_many_proofs"   // more requests than are verified at once
)

func stateCodes() []string {
	return []string{
		CodeWrongCharter, CodeStateExpired, CodeStateMissing, CodeRestrictionKept, CodeOverrideUnproven, CodeTooManyProofs, bundle.CodeBadState,
	}
}

// Keys of conditions about state.
const (
	keyStateSource = "state.source" // what the source offers, or that it does not answer
	keyStateAge    = "state.age"    // of the last state: it has expired, or there is none
	keyStateTrust  = "state.trust"  // the last state does not satisfy the trust policy of now
	keyStateDisk   = "state.disk"   // what was found on disk at the start
	keyStateStore  = "state.store"  // writing to disk
	keyStateProofs = "state.proofs" // what the last state claims without proof
)

// StateStatus is what a node says about the state document.
type StateStatus struct {
	Charter     string    `json:"charter,omitempty"`
	Digest      string    `json:"digest,omitempty"` // of the manifest of the last state that was accepted; "" without one
	Sequence    int64     `json:"sequence,omitempty"`
	Issued      time.Time `json:"issued,omitzero"`
	Expires     time.Time `json:"expires,omitzero"`
	LastChecked time.Time `json:"last_checked,omitzero"` // when the source last answered and nothing was refused
	// Current says that there is a state that is verified and has not expired.
	Current    bool `json:"current"`
	Restricted int  `json:"restricted"` // nodes that may not collect or export, or have no data access
	Overrides  int  `json:"overrides"`  // that are in force
}

// stateKeeper follows the state bundles of a server. Poll is called from one goroutine.
type stateKeeper struct {
	o      Options
	held   *conditions
	active func() *charter.Charter
	path   string

	last  distribution.Resolved // what the source said last; of poll alone
	trust *signing.Trust        // that was in force last time; of poll alone

	mu      sync.Mutex // guards what follows
	holding holding
	bundle  *bundle.State    // the last that was accepted; nil when there is none, or it is not trusted
	stored  storedState      // what it came as
	granted map[string]any   // overrides of bundle that are proven
	claims  findings         // of bundle
	under   *charter.Charter // that bundle was put on top of the holding for
	checked time.Time
}

// openStates verifies the last state on disk again. What is wrong with it is a
// condition and no error.
func openStates(ctx context.Context, o Options, c *conditions, active func() *charter.Charter) (states, error) {
	if o.StateSource == nil {
		return nil, nil //nolint:nilnil // there is no state, which is what the interface says
	}
	dir := filepath.Join(o.Dir, stateDir)
	if err := durable.MkdirAll(dir); err != nil {
		return nil, err
	}
	k := &stateKeeper{o: o, held: c, active: active, path: filepath.Join(dir, stateBundleFile), trust: o.Trust()}
	if err := k.recover(ctx); err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.set(ctx, keyStateDisk, Event{Part: PartState, Kind: EventRefused, Code: CodeOf(err), Message: err.Error(), Digest: k.holding.Digest, Sequence: k.holding.Sequence})
	}
	if k.holding.Sequence > 0 {
		k.tell(ctx)
	}
	return k, nil
}

// recover takes over what is on disk. Of a bundle that cannot be verified only what
// restricts stays.
func (k *stateKeeper) recover(ctx context.Context) error {
	saved, err := loadState(k.path)
	if err != nil {
		return err
	}
	k.holding = saved.Holding
	r := saved.resolved()
	offer, err := k.judge(ctx, r)
	if err != nil {
		return err
	}
	if offer.State.Sequence != k.holding.Sequence || r.Digest != k.holding.Digest {
		return failf(CodeDiskTampered, "the state on disk is of sequence %d, and %d was in force", offer.State.Sequence, k.holding.Sequence)
	}
	s, err := offer.open(saved.Archive)
	if err != nil {
		return err
	}
	k.bundle, k.stored, k.last = s, saved, r
	return nil
}

// offer is a state bundle whose statements are trusted.
type offer struct {
	release.State

	digest   string
	manifest release.Manifest
}

// judge verifies the statements about a state bundle with the state keys alone. Of
// several the one with the highest sequence counts.
func (k *stateKeeper) judge(ctx context.Context, r distribution.Resolved) (offer, error) {
	o := offer{digest: r.Digest}
	if got := release.Digest(r.Manifest); got != r.Digest {
		return o, failf(CodeManifestMismatch, "the manifest of %s is %s", r.Digest, got)
	}
	var err error
	if o.manifest, err = release.ParseManifest(r.Manifest); err != nil {
		return o, err
	}
	verified, err := k.trust.VerifyState(ctx, r.Digest, r.Statements)
	if err != nil {
		return o, err
	}
	for _, s := range verified.Statements {
		if s.Type != release.StateType {
			continue
		}
		p, err := s.State()
		if err != nil {
			return o, err
		}
		if p.Sequence > o.Sequence {
			o.State = p
		}
	}
	if o.Sequence == 0 {
		return o, failf(CodeMissingStatement, "nobody who may sign state made a statement about %s", r.Digest)
	}
	return o, nil
}

// follows compares an offer with what was accepted before.
func (o *offer) follows(h *holding, c *charter.Charter, now time.Time) error {
	name := h.Charter
	if c != nil {
		name = c.Metadata.Name
	}
	switch {
	case name != "" && o.Charter != name:
		return failf(CodeWrongCharter, "it is about the nodes of charter %s, this is %s", o.Charter, name)
	case o.Charter != h.Charter: // the first of this charter
	case o.Sequence < h.Sequence:
		return failf(CodeOlderSequence, "sequence %d is older than %d, which was accepted", o.Sequence, h.Sequence)
	case o.Sequence == h.Sequence && o.digest != h.Digest:
		return failf(CodeSequenceReused, "sequence %d is that of %s, and now of %s", o.Sequence, h.Digest, o.digest)
	case o.Sequence == h.Sequence:
		return nil // it was accepted in time
	}
	if !now.Before(o.Expires) {
		return failf(CodeStateExpired, "it expired on %s", o.Expires.Format(time.RFC3339))
	}
	return nil
}

// open reads the archive of an offer.
func (o *offer) open(archive []byte) (*bundle.State, error) {
	if got := release.Digest(archive); got != o.manifest.Layer.Digest || int64(len(archive)) != o.manifest.Layer.Size {
		return nil, failf(CodeLayerMismatch, "the archive is %s of %d bytes, the manifest names %s of %d", got, len(archive), o.manifest.Layer.Digest, o.manifest.Layer.Size)
	}
	s, err := bundle.ReadState(bytes.NewReader(archive), bundle.Limits{})
	if err != nil {
		return nil, err
	}
	if s.Sequence() != o.Sequence {
		return nil, failf(CodeRevisionMismatch, "the statement is about sequence %d, the bundle is of %d", o.Sequence, s.Sequence())
	}
	return s, readable(s)
}

// readable refuses a document of which nobody can tell whom it restricts.
func readable(s *bundle.State) error {
	for _, name := range []string{statedoc.StandingSection, statedoc.RevocationsSection} {
		if section, given := s.Document()[name]; given {
			if _, ok := section.(map[string]any); !ok {
				return failf(bundle.CodeBadState, "the section %s of the document is no object", name)
			}
		}
	}
	return nil
}

// poll implements [states].
func (k *stateKeeper) poll(ctx context.Context, wait time.Duration) (changed bool, err error) {
	k.retrust(ctx)
	r, err := k.o.StateSource.Resolve(ctx, k.last, k.patience(wait))
	if err == nil {
		k.last = r
		changed, err = k.consider(ctx, r)
	}
	if ended(ctx) {
		return changed, err
	}
	k.tell(ctx)
	if err != nil {
		e := Event{Part: PartState, Kind: EventDegraded, Code: CodeOf(err), Message: err.Error()}
		if r.Digest != "" {
			e.Kind, e.Digest = EventRefused, r.Digest
		}
		k.held.set(ctx, keyStateSource, e)
		return changed, err
	}
	k.mu.Lock()
	k.checked = k.o.Now()
	k.mu.Unlock()
	k.held.clear(ctx, keyStateSource)
	k.held.clear(ctx, keyStateDisk)
	return changed, nil
}

// patience is how long the source may hold a poll: no longer than the last state is
// good.
func (k *stateKeeper) patience(wait time.Duration) time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if left := k.holding.Expires.Sub(k.o.Now()); k.bundle != nil && left > 0 && wait > 0 {
		return min(wait, left+time.Millisecond)
	}
	return wait
}

// consider puts what a source offers on top of the holding when it is valid and newer.
func (k *stateKeeper) consider(ctx context.Context, r distribution.Resolved) (changed bool, err error) {
	o, err := k.judge(ctx, r)
	if err != nil {
		return false, err
	}
	c, now := k.active(), k.o.Now()
	k.mu.Lock()
	h, same := k.holding, k.bundle != nil && k.holding.Digest == r.Digest
	k.mu.Unlock()
	if err := o.follows(&h, c, now); err != nil {
		return false, err
	}
	if same {
		return false, nil
	}
	archive, err := k.o.StateSource.Layer(ctx, r)
	if err != nil {
		return false, err
	}
	s, err := o.open(archive)
	if err != nil {
		return false, err
	}
	k.accept(ctx, o, s, storedState{Manifest: r.Manifest, Statements: r.Statements, Archive: archive}, c)
	return true, nil
}

// accept puts a bundle on top of the holding, on disk and in memory.
func (k *stateKeeper) accept(ctx context.Context, o offer, s *bundle.State, stored storedState, c *charter.Charter) {
	k.mu.Lock()
	before := k.content()
	h := k.holding
	if h.Charter != o.Charter {
		h = holding{}
	}
	k.holding, k.granted, k.claims = h.next(s, o.State, o.digest, c, k.o.Now())
	k.bundle, k.stored, k.under = s, stored, c
	changed := before != k.content()
	err := k.save()
	k.mu.Unlock()
	if err != nil { // it is in force all the same, and the next one tries again
		k.held.set(ctx, keyStateStore, Event{Part: PartState, Kind: EventDegraded, Code: CodeStoreFailed, Message: err.Error()})
	} else {
		k.held.clear(ctx, keyStateStore)
	}
	if changed {
		k.held.emit(ctx, Event{Part: PartState, Kind: EventActivated, Digest: o.digest, Sequence: o.Sequence, Revision: s.Revision(), Expires: o.Expires})
	}
}

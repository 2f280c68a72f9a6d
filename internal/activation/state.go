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
	CodeWrongCharter     = "wrong_charter"         // it is about the nodes of another charter
	CodeStateExpired     = "state_expired"         // it has expired
	CodeStateMissing     = "state_missing"         // none was ever accepted
	CodeRestrictionKept  = "restriction_kept"      // it lifts a restriction without the request of the committee; the node holds on to it
	CodeOverrideUnproven = "override_unproven"     // it has an override that no quorum of the active charter signed
	CodeTooManyProofs    = "too_many_proofs"       // more requests than are verified at once
	CodeTooManyHeld      = "too_many_restrictions" // more than a node holds on to
)

// DefaultMaxState is [Options.MaxState] when that is 0. 100,000 restrictions with reasons
// and ends are 20 MiB.
const DefaultMaxState = 32 << 20

// What follows from [Options.MaxState].
const (
	packedState = 4   // times smaller than that is the archive
	heldState   = 4   // times that may be what is written to disk: the last bundle, and what is held
	restriction = 128 // bytes of it a restriction takes, for how many a node holds on to
)

// MaxPackedState bounds the archive of a state bundle of a size after decompression.
func MaxPackedState(unpacked int64) int64 { return max(unpacked/packedState, 1) }

func stateCodes() []string {
	return []string{
		CodeWrongCharter, CodeStateExpired, CodeStateMissing, CodeRestrictionKept, CodeOverrideUnproven, CodeTooManyProofs, CodeTooManyHeld, bundle.CodeBadState,
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
	saved, err := loadState(k.path, k.o.MaxState)
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
	s, err := offer.open(saved.Archive, k.o.MaxState)
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
	signers  []string // names of the state keys that made the statement
}

func (k *stateKeeper) judge(ctx context.Context, r distribution.Resolved) (offer, error) {
	return judgeState(ctx, k.trust, r)
}

// judgeState verifies the statements about a state bundle with the state keys alone. Of
// several the one with the highest sequence counts.
func judgeState(ctx context.Context, trust *signing.Trust, r distribution.Resolved) (offer, error) {
	o := offer{digest: r.Digest}
	if got := release.Digest(r.Manifest); got != r.Digest {
		return o, failf(CodeManifestMismatch, "the manifest of %s is %s", r.Digest, got)
	}
	var err error
	if o.manifest, err = release.ParseManifest(r.Manifest); err != nil {
		return o, err
	}
	verified, err := trust.VerifyState(ctx, r.Digest, r.Statements)
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
			o.State, o.signers = p, s.Signers
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

// open reads the archive of an offer, of a size at most.
func (o *offer) open(archive []byte, most int64) (*bundle.State, error) {
	if got := release.Digest(archive); got != o.manifest.Layer.Digest || int64(len(archive)) != o.manifest.Layer.Size {
		return nil, failf(CodeLayerMismatch, "the archive is %s of %d bytes, the manifest names %s of %d", got, len(archive), o.manifest.Layer.Digest, o.manifest.Layer.Size)
	}
	s, err := bundle.ReadState(bytes.NewReader(archive), bundle.Limits{Compressed: MaxPackedState(most), Unpacked: most})
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
	s, err := o.open(archive, k.o.MaxState)
	if err != nil {
		return false, err
	}
	err = k.accept(ctx, o, s, storedState{Manifest: r.Manifest, Statements: r.Statements, Archive: archive}, c)
	return err == nil, err
}

// accept puts a bundle on top of the holding, on disk and in memory; the error is that
// it would be too much to hold on to.
func (k *stateKeeper) accept(ctx context.Context, o offer, s *bundle.State, stored storedState, c *charter.Charter) error {
	k.mu.Lock()
	before := k.content()
	h := k.holding
	if h.Charter != o.Charter {
		h = holding{}
	}
	next, granted, claims := h.next(s, o.State, o.digest, c, k.o.Now())
	stored.Holding = next
	data, err := stored.encode(k.o.MaxState)
	if code := CodeOf(err); err != nil && code == CodeTooManyHeld {
		k.mu.Unlock()
		return err
	}
	k.holding, k.granted, k.claims = next, granted, claims
	k.bundle, k.stored, k.under = s, stored, c
	changed := before != k.content()
	if err == nil {
		err = durable.WriteFile(k.path, data)
	}
	k.mu.Unlock()
	if err != nil { // it is in force all the same, and the next one tries again
		k.held.set(ctx, keyStateStore, Event{Part: PartState, Kind: EventDegraded, Code: CodeStoreFailed, Message: err.Error()})
	} else {
		k.held.clear(ctx, keyStateStore)
	}
	if changed {
		k.held.emit(ctx, Event{Part: PartState, Kind: EventActivated, Digest: o.digest, Sequence: o.Sequence, Revision: s.Revision(), Expires: o.Expires})
	}
	return nil
}

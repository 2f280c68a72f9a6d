// Package activation makes a process run exactly the policy that was released to it:
// by whom it trusts, never an older one, with or without the network.
//
// [Open] verifies again what is on disk and puts the newest valid release of it in
// force: the last known good one. [Activator.Run] then polls; [Activator.Poll] is one
// round of it. A round resolves the reference, verifies the statements about the
// manifest, compares the sequence with the high-water mark, fetches the archive, loads
// and questions the policy, hands it over with [Options.Activate] in one step, and
// persists that, the state file last. A failure at any step, a killed process included,
// leaves either the old release or the new one in force; it shows as one [Event], in
// [Activator.Status], and has one of [Codes].
//
// Guaranteed: nothing serves that was not verified under the trust policy of its time;
// the sequence in force never decreases, restarts included, as long as what is in
// [Options.Dir] or [Options.Known] is not lost as a whole. See docs/activation.md.
package activation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/distribution"
	"github.com/westworld-charter/charter/internal/durable"
	"github.com/westworld-charter/charter/internal/engine"
	"github.com/westworld-charter/charter/internal/signing"
)

// Options are those of an [Activator]. Dir, Trust, Source and Activate are required.
type Options struct {
	// Dir keeps releases and the high-water mark, for one process at a time. It is made
	// when it does not exist.
	Dir string
	// Known are marks that are remembered elsewhere, such as in a ledger: nothing
	// older than them is put in force, whatever Dir holds.
	Known []Mark
	// Trust returns whom to trust from now on. Another pointer than last time means
	// that it may have changed.
	Trust func() *signing.Trust
	// Source is where releases come from, StateSource where state bundles do; nil is
	// nowhere.
	Source      distribution.Source
	StateSource distribution.Source
	// MaxState bounds a state bundle, in bytes after decompression, and by that what a
	// node holds on to; 0 is [DefaultMaxState]. Packed it may have a quarter of that.
	MaxState int64
	// Reproduce, when set, has to agree that a bundle is what its charter compiles
	// to. A node links no compiler and relies on the signers for that.
	Reproduce func(ctx context.Context, b *bundle.Bundle) error
	// SelfTest, when set, has to agree too, after the questions of this package.
	SelfTest func(ctx context.Context, p *engine.Policy) error
	// Activate puts a release, or only another state document, in force in one step.
	// After an error the one before must still be in force. It is never called twice at
	// the same time and must not call the Activator.
	Activate func(ctx context.Context, a Activation) error
	// Record, when set, is told each change once. It must not call [Activator.Poll].
	Record func(ctx context.Context, e Event)
	// Repeated, when set, is told what Record is not: that a condition began or ended as
	// it did within the hour before. Record is told at the end of the hour how often.
	Repeated func(ctx context.Context, e Event)

	Interval   time.Duration // between polls; 30s when 0
	Jitter     float64       // share of a delay by which it varies either way; 0.1 when 0
	MaxBackoff time.Duration // between polls that do not reach the source; 8 intervals when 0
	LongPoll   time.Duration // how long a source may hold a poll; 0 is no long poll

	Now func() time.Time // time.Now when nil
	Log *slog.Logger     // nowhere when nil

	// step is called between the steps of an activation: tests stop there.
	step func(name string)
}

func (o *Options) validate() error {
	if o.Dir == "" || o.Trust == nil || o.Source == nil || o.Activate == nil {
		return errors.New("activation: Dir, Trust, Source and Activate are required")
	}
	o.defaults()
	return nil
}

func (o *Options) defaults() {
	if o.Interval <= 0 {
		o.Interval = 30 * time.Second
	}
	if o.Jitter <= 0 || o.Jitter >= 1 {
		o.Jitter = 0.1
	}
	if o.MaxBackoff <= 0 {
		o.MaxBackoff = 8 * o.Interval
	}
	if o.MaxState <= 0 {
		o.MaxState = DefaultMaxState
	}
	if o.Record == nil {
		o.Record = func(context.Context, Event) {}
	}
	if o.Repeated == nil {
		o.Repeated = func(context.Context, Event) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.step == nil {
		o.step = func(string) {}
	}
}

// Release is a verified release.
type Release struct {
	Digest        string // of the manifest
	LayerDigest   string // of the archive
	Channel       string
	Sequence      int64
	Revision      string
	CharterDigest string
	Expires       time.Time
	Signers       []string // names in the trust policy of who signed the release statement
	Manifest      []byte
	Statements    []byte // Sigstore bundles, one a line
}

// Activation is what is about to be in force.
type Activation struct {
	Release

	Policy *engine.Policy // with State
	// State is the state document that holds for the policy, nil for none. It must not
	// be modified.
	State   map[string]any
	Archive []byte // of the release
	// Previous is the release that was in force, zero at first.
	Previous Release
	// SameBundle says that the bundle is in force already: only the state document, or
	// the statements about the release, are others.
	SameBundle bool
}

// Outcome says what a round did.
type Outcome struct {
	// Activated is true when another release is in force than before, Renewed when
	// only its statement is newer.
	Activated, Renewed bool
	Release            Release // in force; zero when none is
}

// Activator keeps one policy current. It is safe for concurrent use.
type Activator struct {
	o      Options
	store  *store
	lock   *durable.Lock
	states states // nil without state bundles
	held   *conditions

	round, stateRound turn // of polling

	// Of the round alone:
	last       distribution.Resolved // what the source said last
	judged     *candidate            // what that is, nil when nobody trusted says so
	rejected   *rejection            // bundle that was refused last for its content
	trust      *signing.Trust        // that was in force last time
	distrusted bool                  // the statements on disk do not satisfy it

	// swap is held while what is in force changes: together with mu for writing.
	swap       sync.Mutex
	documentID string

	mu      sync.RWMutex // guards what Status reads
	active  *loaded      // nil without a policy
	saved   saved
	checked time.Time
}

// loaded is a release with its policy.
type loaded struct {
	Release

	policy  *engine.Policy
	archive []byte
	since   time.Time // when it was put in force
}

// rejection remembers that the bundle of a release was refused, so that it is not
// fetched again for the same answer.
type rejection struct {
	digest   string
	sequence int64
	err      error
}

// Open takes Options.Dir, verifies what is in it as a poll would, and puts the newest
// valid release in force. What is not valid is refused with its code and an event, not
// with an error: the network may have better. The error is about Dir and Options alone.
func Open(ctx context.Context, o Options) (*Activator, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	if err := durable.MkdirAll(filepath.Join(o.Dir, releasesDir)); err != nil {
		return nil, fmt.Errorf("open %s: %w", o.Dir, err)
	}
	lock, err := durable.LockDir(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", o.Dir, err)
	}
	a := &Activator{o: o, lock: lock, store: &store{dir: o.Dir, step: o.step}, held: newConditions(&o)}
	a.states, err = openStates(ctx, o, a.held, a.charter)
	if err == nil {
		err = a.recover(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", o.Dir, err), a.Close())
	}
	return a, nil
}

// Close gives Dir back, after the last events. Run and Poll must have ended.
func (a *Activator) Close() error {
	a.held.settle(context.Background(), true)
	var err error
	if a.states != nil {
		err = a.states.close()
	}
	return errors.Join(err, a.lock.Unlock())
}

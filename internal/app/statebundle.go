package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/westworld-charter/charter/internal/activation"
	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/distribution"
	"github.com/westworld-charter/charter/internal/durable"
	"github.com/westworld-charter/charter/internal/enforcement"
	bundlesapi "github.com/westworld-charter/charter/internal/httpapi/bundles"
	"github.com/westworld-charter/charter/internal/metrics"
	"github.com/westworld-charter/charter/internal/release"
	"github.com/westworld-charter/charter/internal/signing"
	"github.com/westworld-charter/charter/internal/statedoc"
)

const (
	// stateBundleName is that of the signed state bundle below /bundles/.
	stateBundleName = "state"
	// stateSequenceFile, below Options.Data, holds the last sequence that was signed.
	stateSequenceFile = "state.sequence"
	// stateKeyPassword is the environment variable with the password of the state key.
	stateKeyPassword = "CHARTER_STATE_KEY_PASSWORD" //nolint:gosec // a name
	// operatorProofs is what the document of the operator may have beside its sections:
	// signed requests of the committee that vouch for its overrides and for what it lifts.
	operatorProofs = "proofs"

	partStateBundle    = "state_bundle" // of faults
	codeStateNotSigned = "state_not_signed"
)

// How long a state bundle is good for.
const (
	defaultStateTTL = 15 * time.Minute
	minStateTTL     = 3 * time.Second
)

// StateBundleOptions say how nodes elsewhere are told of standings, revocations and
// overrides.
type StateBundleOptions struct {
	Key          string        // path of the encrypted private key; "" tells nobody
	PasswordFile string        // with its password alone; "" takes it from the environment
	TTL          time.Duration // how long one is good for; a new one comes at half of that
}

func (o StateBundleOptions) validate(fault func(string, ...any)) {
	if o.PasswordFile != "" && o.Key == "" {
		fault("--state-key-password-file needs --state-key")
	}
	if o.Key != "" && o.TTL < minStateTTL {
		fault("--state-ttl %s: %s at least, so that nodes have the next one before the last has expired", o.TTL, minStateTTL)
	}
}

func stateBundleSettings() []setting {
	return []setting{
		{flag: "state-key", key: "state_bundle.key", arg: "FILE", usage: "key that signs what nodes elsewhere are told of standings, revocations and overrides, served as /bundles/state; its password is in CHARTER_STATE_KEY_PASSWORD", path: true, access: text(func(o *Options) *string { return &o.StateBundle.Key })},
		{flag: "state-key-password-file", key: "state_bundle.password_file", arg: "FILE", usage: "file with the password instead", path: true, access: text(func(o *Options) *string { return &o.StateBundle.PasswordFile })},
		{flag: "state-ttl", key: "state_bundle.ttl", arg: "DURATION", usage: "how long a state bundle is good for; a new one is signed at half of that", def: "15m", access: duration(func(o *Options) *time.Duration { return &o.StateBundle.TTL })},
	}
}

// signer opens the key.
func (o StateBundleOptions) signer() (signing.Signer, error) {
	private, err := readFile(o.Key, signing.MaxKeyFile)
	if err != nil {
		return nil, &usageError{err: fmt.Errorf("--state-key: %w", err)}
	}
	password := []byte(os.Getenv(stateKeyPassword))
	if o.PasswordFile != "" {
		if password, err = readFile(o.PasswordFile, 4096); err != nil {
			return nil, &usageError{err: fmt.Errorf("--state-key-password-file: %w", err)}
		}
		password = []byte(strings.TrimRight(string(password), "\r\n"))
	}
	key, err := signing.LoadKey(private, password)
	if err != nil {
		return nil, &usageError{err: fmt.Errorf("--state-key %s: %w; its password is in %s or --state-key-password-file", o.Key, err, stateKeyPassword)}
	}
	return signing.NewKeySigner(key)
}

// openStateBundle signs the first state bundle, if there is a policy to tell of.
func (s *Server) openStateBundle(ctx context.Context) error {
	o := s.options.StateBundle
	if o.Key == "" {
		return nil
	}
	signer, err := o.signer()
	if err != nil {
		return err
	}
	p := &stateProducer{
		signer: signer, ttl: o.TTL, path: filepath.Join(s.options.Data, stateSequenceFile), ask: s.tellState, now: time.Now, log: s.log,
		woken: make(chan struct{}, 1), changed: make(chan struct{}), failed: s.stateBundleFailed,
	}
	if err := p.recall(); err != nil {
		return fmt.Errorf("open the state bundle: %w", err)
	}
	s.metrics.StateBundles(func() metrics.StateBundleStats {
		return metrics.StateBundleStats{Up: !s.faults.has(partStateBundle), Expires: p.expiry()}
	})
	p.produce(ctx)
	s.states = p
	return nil
}

// stateBundles offers the state bundle; nil without a key.
func (s *Server) stateBundles() bundlesapi.Source {
	if s.states == nil {
		return nil // not a nil pointer in an interface
	}
	return s.states
}

// stateBundleFailed degrades the server while nodes elsewhere cannot be told anything.
func (s *Server) stateBundleFailed(err error) {
	s.metrics.StateSigned(err == nil)
	if err == nil {
		s.faults.clear(partStateBundle)
		return
	}
	s.faults.set(partStateBundle, codeStateNotSigned, "nodes elsewhere are not told of changes of the state; the log says more", time.Now())
}

// stateChanged has nodes elsewhere told soon; it waits for nothing.
func (s *Server) stateChanged() {
	if s.states != nil {
		s.states.wake()
	}
}

// telling is what nodes elsewhere are told.
type telling struct {
	charter  string // metadata.name
	document map[string]any
	proofs   []json.RawMessage
}

var errNothingToTell = errors.New("no policy is active")

// tellState puts together what is known now: the document of the operator and what
// follows from the ledger.
func (s *Server) tellState() (telling, error) {
	c := s.charter()
	if c == nil {
		return telling{}, errNothingToTell
	}
	s.reloading.Lock()
	operator := s.operator
	s.reloading.Unlock()
	var own enforcement.Outbound
	if s.enforcer != nil {
		own = s.enforcer.Outbound()
	}
	t := telling{charter: c.Metadata.Name, document: maps.Clone(enforcement.Merge(operator, own.State)), proofs: own.Proofs}
	if t.document == nil {
		t.document = map[string]any{}
	}
	for _, name := range []string{statedoc.StandingSection, statedoc.RevocationsSection, statedoc.OverridesSection} {
		section, given := t.document[name]
		if _, readable := section.(map[string]any); given && !readable {
			return telling{}, fmt.Errorf("the section %s of --state is no object", name)
		}
	}
	given, err := proofsOf(operator)
	if err != nil {
		return telling{}, err
	}
	delete(t.document, operatorProofs)
	if t.proofs = append(given, t.proofs...); len(t.proofs) > bundle.MaxProofs {
		t.proofs = t.proofs[:bundle.MaxProofs] // the oldest lifts are last
	}
	return t, nil
}

// proofsOf returns the signed requests in the document of the operator.
func proofsOf(operator map[string]any) ([]json.RawMessage, error) {
	value, given := operator[operatorProofs]
	if !given {
		return nil, nil
	}
	list, ok := value.([]any)
	if !ok {
		return nil, fmt.Errorf("%s of --state is no list of signed requests", operatorProofs)
	}
	var proofs []json.RawMessage
	for _, item := range list {
		text, err := json.Marshal(item)
		if err != nil {
			return nil, fmt.Errorf("%s of --state: %w", operatorProofs, err)
		}
		proofs = append(proofs, text)
	}
	return proofs, nil
}

// stateProducer signs state bundles, one at a time and outside of any lock, and offers
// the newest. It implements [bundlesapi.Source]. A change is signed at once; those that
// follow soon, together.
type stateProducer struct {
	signer signing.Signer
	ttl    time.Duration
	path   string // of the file with the last sequence
	ask    func() (telling, error)
	now    func() time.Time
	log    *slog.Logger
	failed func(error) // is told of every attempt; nil is success
	woken  chan struct{}

	sequence int64 // last that was used; of who produces
	large    bool  // too large for nodes with their defaults; of who produces

	mu      sync.Mutex
	current bundlesapi.Release // guarded by mu
	expires time.Time          // of current; zero without one; guarded by mu
	changed chan struct{}      // closed when current is another one; guarded by mu
}

// Current implements [bundlesapi.Source].
func (p *stateProducer) Current(r bundlesapi.Request) (bundlesapi.Release, <-chan struct{}, bool) {
	if r.Name != stateBundleName {
		return bundlesapi.Release{}, nil, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current, p.changed, p.current.Archive != nil
}

func (p *stateProducer) wake() {
	select {
	case p.woken <- struct{}{}:
	default:
	}
}

// After a bundle nothing is signed for a while: for a share of the time that it took, and
// since every node fetches every bundle, half a second in any case.
const (
	stateShare = 4
	statePause = 500 * time.Millisecond
	stateRetry = time.Second
)

// run signs until ctx ends: what has changed, and anew at half of the time that the last
// one is good for.
func (p *stateProducer) run(ctx context.Context) {
	wait := p.ttl / 2
	for {
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-p.woken:
			timer.Stop()
		}
		began := time.Now()
		wait = stateRetry
		if p.produce(ctx) {
			wait = p.ttl / 2
		}
		pause := time.NewTimer(max(stateShare*time.Since(began), statePause))
		select {
		case <-ctx.Done():
			pause.Stop()
			return
		case <-pause.C:
		}
	}
}

// produce signs what there is to tell now and reports whether that was possible.
func (p *stateProducer) produce(ctx context.Context) bool {
	t, err := p.ask()
	if errors.Is(err, errNothingToTell) {
		return false // whoever activates a policy wakes
	}
	var next bundlesapi.Release
	var expires time.Time
	if err == nil {
		next, expires, err = p.sign(ctx, t)
	}
	if ctx.Err() != nil {
		return false
	}
	p.failed(err)
	if err != nil {
		p.log.Error("no state bundle can be signed; nodes elsewhere keep the last one until it expires", "error", err.Error())
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.current, p.expires = next, expires
	close(p.changed)
	p.changed = make(chan struct{})
	return true
}

// sign makes a bundle with the next sequence, which is on disk before anybody sees it,
// and says when it ends.
func (p *stateProducer) sign(ctx context.Context, t telling) (signed bundlesapi.Release, expires time.Time, err error) {
	issued := p.now().UTC()
	sequence := max(p.sequence+1, issued.UnixMilli())
	about := release.State{Charter: t.charter, Sequence: sequence, Issued: issued, Expires: issued.Add(p.ttl)}
	if at, readable := statedoc.Time(t.document[statedoc.ExpiresField]); readable && at.Before(about.Expires) || t.document[statedoc.ExpiresField] == nil {
		if !readable {
			at = about.Expires
		}
		t.document[statedoc.ExpiresField] = statedoc.Text(at)
	}
	s, err := bundle.NewState(sequence, t.document, t.proofs)
	if err != nil {
		return bundlesapi.Release{}, time.Time{}, err
	}
	archive, err := s.Archive()
	if err != nil {
		return bundlesapi.Release{}, time.Time{}, err
	}
	p.watchSize(s.Size(), int64(len(archive)))
	layer := release.Digest(archive)
	digest := release.NewManifest(layer, int64(len(archive)), s.Revision()).Digest()
	statement, err := release.NewStatement(digest, release.StateType, about)
	if err != nil {
		return bundlesapi.Release{}, time.Time{}, err
	}
	payload, err := statement.Encode()
	if err != nil {
		return bundlesapi.Release{}, time.Time{}, err
	}
	line, err := p.signer.Sign(ctx, payload)
	if err != nil {
		return bundlesapi.Release{}, time.Time{}, fmt.Errorf("sign the state: %w", err)
	}
	p.sequence = sequence
	if err := durable.WriteFile(p.path, []byte(strconv.FormatInt(sequence, 10)+"\n")); err != nil {
		return bundlesapi.Release{}, time.Time{}, err
	}
	return bundlesapi.Release{Archive: archive, LayerDigest: layer, Statements: distribution.EncodeStatements([][]byte{line}), ReleaseDigest: digest}, about.Expires, nil
}

// expiry is when the bundle that was signed last ends; zero before the first.
func (p *stateProducer) expiry() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.expires
}

// watchSize says once when nodes do not take what is signed.
func (p *stateProducer) watchSize(unpacked, packed int64) {
	large := unpacked > activation.DefaultMaxState || packed > activation.MaxPackedState(activation.DefaultMaxState)
	if large && !p.large {
		p.log.Warn("the state is so large that nodes refuse it, unless their --max-state is larger than the default", "bytes", unpacked, "packed", packed)
	}
	p.large = large
}

// recall reads the last sequence. Without the file the clock alone makes sequences
// grow.
func (p *stateProducer) recall() error {
	text, err := readFile(p.path, 64)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	sequence, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil || sequence < 1 || sequence >= release.MaxSequence {
		return fmt.Errorf("%s does not hold the sequence of the last state bundle: delete it if nodes know of none above %d", p.path, p.now().UnixMilli())
	}
	p.sequence = sequence
	return nil
}

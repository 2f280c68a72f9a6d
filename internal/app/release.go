package app

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/westworld-charter/charter/internal/activation"
	"github.com/westworld-charter/charter/internal/audit"
	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/distribution"
	"github.com/westworld-charter/charter/internal/enforcement"
	"github.com/westworld-charter/charter/internal/engine"
	decisionapi "github.com/westworld-charter/charter/internal/httpapi/decision"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/metrics"
	"github.com/westworld-charter/charter/internal/signing"
	"github.com/westworld-charter/charter/internal/statedoc"
)

const (
	releasesDir = "policy" // below Options.Data
	partTrust   = "trust policy"
	// releaseTick is how often the metrics of the policy are brought up to date.
	releaseTick = time.Second
	// maxTrust bounds a trust policy, and each file that it names, in bytes.
	maxTrust = 4 << 20
	// rememberedActivations bounds the entries that are looked at for the highest
	// sequence that was in force.
	rememberedActivations = 1000
)

// follower follows what is released.
type follower struct {
	*activation.Activator

	wake    chan struct{} // holds one value at most: look now
	changed func()        // called after every event

	polling sync.Mutex // held by Poll and Close
	closed  bool       // guarded by polling
}

// look has the source asked soon.
func (r *follower) look() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// poll asks the source now.
func (r *follower) poll(ctx context.Context) error {
	r.polling.Lock()
	defer r.polling.Unlock()
	if r.closed {
		return errors.New("the server is shutting down")
	}
	_, err := r.Poll(ctx)
	return err
}

// loadTrust is the load of the part trust policy.
func (s *Server) loadTrust(ctx context.Context, from stamps) error {
	path := s.options.Trust
	read := func(name string) ([]byte, error) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(filepath.Dir(path), name)
		}
		from.note(name)
		return readFile(name, maxTrust)
	}
	from.note(path)
	data, err := readFile(path, maxTrust)
	var t *signing.Trust
	if err == nil {
		t, err = signing.ParseTrust(path, data, read)
	}
	if err != nil {
		refused := &PolicyError{Path: path, Code: CodeInvalidTrust, Err: err, read: os.ReadFile}
		if e, ok := errors.AsType[*signing.InvalidTrust](err); ok {
			refused.Findings = e.Findings
		}
		return refused
	}
	s.trust.Store(t)
	s.log.Info("trust policy in force", "channel", t.Channel())
	if s.releases != nil {
		s.releases.look() // what is in force is verified again
	}
	s.verifyFleet(ctx)
	return nil
}

// openReleases puts the newest release in force that is on disk and verified. A node
// may have none yet; a server needs one, since more than decisions depend on it.
func (s *Server) openReleases(ctx context.Context) error {
	o := s.options
	if !o.followsReleases() {
		return nil
	}
	known, err := s.marks(ctx)
	if err != nil {
		return &LedgerError{Err: fmt.Errorf("read which releases were in force: %w", err)}
	}
	a := activation.Options{
		Dir: filepath.Join(o.Data, releasesDir), Known: known, Trust: s.trust.Load, Activate: s.putRelease, Record: s.recordEvent, Repeated: s.countEvent,
		MaxState: o.Releases.MaxState,
		Interval: o.Releases.Poll, LongPoll: o.Releases.LongPoll, Log: s.log,
	}
	if a.Source, err = s.source(o.Bundle, o.Releases.mirrors()...); err != nil {
		return &usageError{err: fmt.Errorf("--bundle: %w", err)}
	}
	if o.Releases.StateBundle != "" {
		if a.StateSource, err = s.sourceOf(o.Releases.StateBundle, activation.MaxPackedState(o.Releases.MaxState)); err != nil {
			return &usageError{err: fmt.Errorf("--state-bundle: %w", err)}
		}
	}
	if s.program.compiler.Build != nil {
		a.Reproduce = func(_ context.Context, b *bundle.Bundle) error {
			_, err := s.program.compiler.verify(o.Bundle, b)
			return err
		}
	}
	r := &follower{wake: make(chan struct{}, 1), changed: func() {}}
	s.metrics.Releases(activation.Codes(), s.releaseStats)
	if r.Activator, err = activation.Open(ctx, a); err != nil {
		return &usageError{err: fmt.Errorf("--data must name a directory that can be written and that no other process uses: %w", err)}
	}
	s.releases = r
	if s.engine.Current() != nil || s.program.node {
		return nil
	}
	if err := r.poll(ctx); err != nil && s.engine.Current() == nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return &PolicyError{Path: redactedRef(o.Bundle), Code: activation.CodeOf(err), Err: err}
	}
	return nil
}

// source is where a reference, and copies of what it names, get releases from.
func (s *Server) source(text string, mirrors ...string) (distribution.Source, error) {
	return s.sourceOf(text, 0, mirrors...)
}

// sourceOf is a source of archives of a size at most, 0 being that of releases.
func (s *Server) sourceOf(text string, most int64, mirrors ...string) (distribution.Source, error) {
	ref, err := distribution.ParseRef(text)
	if err != nil {
		return nil, err
	}
	r := s.options.Releases
	o := distribution.Options{
		Mirrors: mirrors, DockerConfig: r.RegistryConfig, CAFile: r.Server.CA, CertFile: r.Server.Cert, KeyFile: r.Server.Key,
		InsecurePlainHTTP: r.PlainRegistry, UserAgent: s.program.name + "/" + build().Version, Limits: distribution.Limits{Layer: most},
	}
	// The token is for one server, whoever else has bundles.
	server := s.options.Node.Server
	if server == "" && strings.HasPrefix(s.options.Bundle, "http") {
		server = s.options.Bundle
	}
	if strings.HasPrefix(text, "http") && (server == "" || sameOrigin(server, text)) {
		o.TokenFile = r.Server.TokenFile
	}
	return distribution.Open(ref, o)
}

// marks are the releases that were in force, as far as the ledger knows. The directory
// of releases can be put back as a whole; the ledger cannot, unseen by its witnesses.
func (s *Server) marks(ctx context.Context) ([]activation.Mark, error) {
	if s.keeper == nil {
		return nil, nil
	}
	highest := map[string]activation.Mark{}
	for row, err := range s.keeper.relay.Find(ctx, ledger.Filter{Kinds: []ledger.Kind{ledger.Activation}, Newest: true, Limit: rememberedActivations}) {
		if err != nil {
			return nil, err
		}
		if row.Body == nil { // pruned
			continue
		}
		e, err := ledger.ParseEntry(row.Body)
		if err != nil {
			return nil, err
		}
		var a audit.Activation
		if err := json.Unmarshal(e.Data, &a); err != nil {
			return nil, fmt.Errorf("entry %d: %w", row.Index, err)
		}
		if a.Release != "" && a.Sequence > highest[a.Channel].Sequence {
			highest[a.Channel] = activation.Mark{Channel: a.Channel, Sequence: a.Sequence, Digest: a.Release}
		}
	}
	var list []activation.Mark
	for _, m := range highest {
		list = append(list, m)
	}
	return list, nil
}

// putRelease puts a release in force, or the one that is with another state document.
func (s *Server) putRelease(ctx context.Context, a activation.Activation) error {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	start := time.Now()
	p, state := a.Policy, a.State
	if !s.program.node {
		state = enforcement.Merge(s.operator, s.enforced)
		var err error
		if p, err = p.WithState(ctx, state); err != nil {
			return err
		}
	}
	if !a.SameBundle {
		s.engine.Warm(ctx, p)
	}
	stateAlone := a.SameBundle && a.Sequence == a.Previous.Sequence
	switch {
	case s.releases == nil: // what was on disk
	case stateAlone:
		s.trigger = "state"
	default:
		s.trigger = "release"
	}
	defer func() { s.trigger = "" }()
	s.signed = audit.Signed{Release: a.Digest, Channel: a.Channel, Sequence: a.Sequence, Expires: audit.Stamp(a.Expires)}
	if stateAlone && s.releases != nil && (renewed(s.state, state) || s.quieten(start)) {
		s.state = state
		s.rollout.Swap(p, nil) // there is no candidate beside a release
	} else {
		s.activate(ctx, p, state)
	}
	if !p.Mistaken() { // as loadPolicy does
		s.faults.clear(partCache)
	}
	s.tellPut(p, state, a, time.Since(start))
	return nil
}

// tellPut tells everybody of what is in force now. It needs reloading to be held.
func (s *Server) tellPut(p *engine.Policy, state map[string]any, a activation.Activation, took time.Duration) {
	now := metrics.Policy{Charter: p.Charter(), Revision: p.Revision(), State: state}
	if s.proxy != nil {
		if err := s.proxy.put(a); err != nil {
			s.log.Error("the policy is in force and is not offered to other programs of this machine", "error", err.Error())
		}
	}
	if a.SameBundle {
		s.metrics.Promoted(now)
		return
	}
	s.metrics.Activated(now, time.Now(), took)
	tuneHeap()
	s.tellActive(p, nil, took)
}

// renewed reports whether two state documents differ in their end alone: a state bundle
// is signed anew all day long, and nothing is answered otherwise then.
func renewed(before, after map[string]any) bool {
	return before != nil && after != nil && maps.EqualFunc(endless(before), endless(after), func(a, b any) bool { return reflect.DeepEqual(a, b) })
}

func endless(document map[string]any) map[string]any {
	document = maps.Clone(document)
	delete(document, statedoc.ExpiresField)
	return document
}

// recordEvent records a change that is no activation: those record themselves.
func (s *Server) recordEvent(_ context.Context, e activation.Event) {
	load := audit.Load{Part: e.Part, Trigger: "release", At: audit.Stamp(time.Now()), Code: e.Code, Repeats: e.Repeats, Signed: audit.Signed{Release: e.Digest, Channel: e.Channel, Sequence: e.Sequence}}
	if !e.Expires.IsZero() {
		load.Expires = audit.Stamp(e.Expires)
	}
	switch e.Kind {
	case activation.EventActivated:
		s.metrics.ReleaseActivated(e.Part)
	case activation.EventRefused:
		if e.Repeats == 0 { // else they were counted one by one
			s.metrics.ReleaseRefused(e.Part, e.Code)
		}
		load.Result = audit.Refused
	case activation.EventDegraded:
		if e.Repeats == 0 {
			s.countUntrusted(e)
		}
		load.Result = audit.Degraded
	case activation.EventRecovered:
		load.Result = audit.Recovered
	}
	if load.Result != "" && s.keeper != nil {
		if entry, err := load.Entry(e.Revision); err == nil {
			s.keeper.leave(audit.Once(entry, rand.Text()))
		}
	}
	if s.releases != nil {
		s.releases.changed()
	}
}

// countEvent counts a change that has no entry of its own, since the same happened before.
func (s *Server) countEvent(_ context.Context, e activation.Event) {
	switch e.Kind {
	case activation.EventRefused:
		s.metrics.ReleaseRefused(e.Part, e.Code)
	case activation.EventDegraded:
		s.countUntrusted(e)
	}
}

// countUntrusted counts what is in force and would be refused now, by another trust
// policy, as refused: at the next start it is.
func (s *Server) countUntrusted(e activation.Event) {
	if e.Untrusted {
		s.metrics.ReleaseRefused(e.Part, e.Code)
	}
}

// follow keeps up with what is released until ctx ends.
func (s *Server) follow(ctx context.Context) {
	var parts sync.WaitGroup
	parts.Go(func() { _ = s.releases.Run(ctx) }) // returns when ctx ends
	parts.Go(func() {
		ticker := time.NewTicker(releaseTick)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-s.releases.wake:
				_ = s.releases.poll(ctx) // told by its events
			case <-ticker.C:
				s.confirmRelease()
				s.recordQuietened(ctx, false)
			}
		}
	})
	parts.Wait()
}

// confirmRelease brings the metrics of the policy up to date.
func (s *Server) confirmRelease() {
	st := s.releases.Status()
	if st.Digest == "" {
		return
	}
	s.metrics.Degraded(st.Degraded)
	if at := st.LastChecked; at.After(st.Activated) {
		s.metrics.Confirmed(at)
	}
}

func (s *Server) closeReleases() error {
	if s.releases == nil {
		return nil
	}
	s.releases.polling.Lock()
	defer s.releases.polling.Unlock()
	if s.releases.closed {
		return nil
	}
	s.releases.closed = true
	s.recordQuietened(context.Background(), true)
	return s.releases.Close()
}

func (s *Server) releaseStats() metrics.ReleaseStats {
	if s.releases == nil { // not opened yet
		return metrics.ReleaseStats{}
	}
	st := s.releases.Status()
	stats := metrics.ReleaseStats{Sequence: st.Sequence, Expires: st.Expires, LastChecked: st.LastChecked, Degraded: st.Degraded}
	if st.State != nil {
		stats.State, stats.StateSequence, stats.StateExpires = true, st.State.Sequence, st.State.Expires
	}
	return stats
}

// unreleased is what is wrong with what is released, for /health; nil when nothing is.
// Places and contents are in the log alone.
func (s *Server) unreleased() *decisionapi.Degraded {
	if s.releases == nil {
		return nil
	}
	problems := s.releases.Status().Problems
	if len(problems) == 0 {
		return nil
	}
	p := problems[len(problems)-1]
	// That the network is down must not hide that something was refused.
	if i := slices.IndexFunc(problems, func(p activation.Problem) bool {
		return !slices.Contains([]string{distribution.CodeUnreachable, distribution.CodeUnauthorized, distribution.CodeNotFound}, p.Code)
	}); i >= 0 {
		p = problems[i]
	}
	what := "what is released for this machine"
	if p.Part == activation.PartState {
		what = "the state bundle"
	}
	again := ""
	if p.Repeats > 0 {
		again = fmt.Sprintf(", %d times more within the hour", p.Repeats)
	}
	return &decisionapi.Degraded{
		Code: p.Code, Since: p.Since.UTC(),
		Message: what + " cannot be had, is refused or has ended" + again + "; what was verified before decides, the log says more",
	}
}

// unserved says why there is no policy.
func (s *Server) unserved() string {
	const none = "no policy is active"
	if d := s.unreleased(); d != nil {
		return none + ": no release was accepted so far [" + d.Code + "]; the log says more"
	}
	if s.releases != nil {
		return none + ": no release was seen so far"
	}
	return none
}

package app

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/westworld-charter/charter/internal/activation"
	"github.com/westworld-charter/charter/internal/diag"
	"github.com/westworld-charter/charter/internal/enforcement"
	"github.com/westworld-charter/charter/internal/engine"
	decisionapi "github.com/westworld-charter/charter/internal/httpapi/decision"
	"github.com/westworld-charter/charter/internal/metrics"
)

// maxLogged bounds the findings of one refused policy in the log.
const maxLogged = 20

// part is something that is made from files and can be made again while the
// server runs: the policy, certificates, tokens. Its fields are owned by whoever
// holds Server.reloading.
type part struct {
	name string // of a faults entry, and in the log
	// load makes the part and puts it in force, noting in from every file it
	// looks at. After a failure the part in force stays.
	load func(ctx context.Context, from stamps) error
	seen stamps // what the last load looked at, failed or not
	// pending is what watching saw change and not come to rest yet.
	pending stamps
}

// fault is why a part is older than its files.
type fault struct {
	code, message string
	since         time.Time
}

// faults are the parts that could not be loaded anew. Safe for concurrent use.
type faults struct {
	mu sync.Mutex
	by map[string]fault // by the name of the part; guarded by mu
}

// set records a failure; the time of the first one in a row stays.
func (f *faults) set(part, code, message string, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if old, ok := f.by[part]; ok {
		now = old.since
	}
	if f.by == nil {
		f.by = map[string]fault{}
	}
	f.by[part] = fault{code, message, now}
}

// clear reports whether there was a fault.
func (f *faults) clear(part string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, had := f.by[part]
	delete(f.by, part)
	return had
}

func (f *faults) has(part string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, is := f.by[part]
	return is
}

// gravest returns the fault that matters most to who asks for decisions, nil
// when there is none.
func (f *faults) gravest() *decisionapi.Degraded {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range []string{partCache, partPolicy, partTokens, partTLS, partTrust, partReleases, partOPABundle, partCandidate, partWitnesses, partEnforcement, partStateBundle, partNotify, partMirror, partReports} {
		if x, ok := f.by[name]; ok {
			return &decisionapi.Degraded{Code: x.code, Message: x.message, Since: x.since.UTC()}
		}
	}
	return nil
}

// Names of the parts.
const (
	partPolicy = "policy"
	partTokens = "tokens"
	partTLS    = "certificates"
	partCache  = "cache" // which is not loaded, but can fail

	partCandidate = "candidate"
)

// codeCacheMismatch is what /health says after a wrong answer of the cache.
const codeCacheMismatch = "cache_mismatch"

// Reloaded says what a reload did to the policy.
type Reloaded struct {
	Previous string `json:"previous"` // the revision before
	Revision string `json:"revision"` // the revision in force now
	Changed  bool   `json:"changed"`  // false when the files hold what was in force already
}

// Reload reads everything again that came from files: policy, state,
// certificates, tokens. What cannot be loaded stays as it was, and the joined
// errors say why; those of the policy are [*PolicyError]. Decisions under way
// finish on the policy they began with. Why is for the log.
func (s *Server) Reload(ctx context.Context, why string) (Reloaded, error) {
	before := s.engine.Current()
	failed := s.reloadParts(ctx, why)
	if s.releases != nil {
		failed = append(failed, s.releases.poll(ctx))
	}
	after := s.engine.Current()
	return Reloaded{Previous: revisionOf(before), Revision: revisionOf(after), Changed: before != after}, errors.Join(failed...)
}

func (s *Server) reloadParts(ctx context.Context, why string) []error {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	s.asked = true
	defer func() { s.asked = false }()
	var failed []error
	for _, p := range s.parts {
		failed = append(failed, s.reloadPart(ctx, p, why))
	}
	return failed
}

func revisionOf(p *engine.Policy) string {
	if p == nil {
		return ""
	}
	return p.Revision()
}

// reloadPart needs reloading to be held.
func (s *Server) reloadPart(ctx context.Context, p *part, why string) error {
	log := s.log.With("part", p.name, "trigger", why)
	from := stamps{}
	s.trigger = why
	defer func() { s.trigger = "" }()
	err := s.loadTraced(ctx, p, why, from)
	if err != nil && ctx.Err() != nil {
		return err // the server stops; nothing is wrong with the files
	}
	p.seen, p.pending = from, nil
	if err != nil {
		s.faults.set(p.name, p.code(err), healthMessage(p.name, err), time.Now())
		logRefused(log, err)
		if p.name == partPolicy || p.name == partCandidate {
			s.recordRefused(p.name, err)
		}
	} else if s.faults.clear(p.name) {
		log.Info("no longer degraded")
	}
	return err
}

// code names an error for /health, where a candidate that cannot be loaded must
// not look like a policy that cannot.
func (p *part) code(err error) string {
	if p.name == partCandidate {
		return codeInvalidCandidate
	}
	return codeOf(err)
}

// codeOf names an error for /health and the API.
func codeOf(err error) string {
	if e, ok := errors.AsType[*PolicyError](err); ok {
		return e.Code
	}
	if e, ok := errors.AsType[*accessError](err); ok {
		return e.code
	}
	return activation.CodeOf(err) // internal_error for what is none of its own
}

// healthMessage tells anybody who may see /health that something is wrong, and
// nothing about paths and contents: those are in the log.
func healthMessage(part string, err error) string {
	what := "the " + part + " on disk cannot be loaded"
	if e, ok := errors.AsType[*PolicyError](err); ok && e.Code == CodeBundleNotReproducible {
		what = "the bundle on disk is not what its charter compiles to"
	}
	return what + "; what was loaded before stays in force, the log says more"
}

func logRefused(log *slog.Logger, err error) {
	log.Error("not loaded; what was loaded before stays in force", "code", codeOf(err), "error", err.Error())
	e, ok := errors.AsType[*PolicyError](err)
	if !ok {
		return
	}
	for i, f := range e.Findings {
		if i == maxLogged {
			log.Error("more findings are not shown", "findings", len(e.Findings))
			return
		}
		log.Error("charter: "+f.Message, "code", f.Code, "location", f.Pos.String(), "fix", f.Fix)
	}
}

// loadPolicy is the load of the part policy.
func (s *Server) loadPolicy(ctx context.Context, from stamps) error {
	now := s.active.again(time.Now())
	if len(now) > 0 && s.active.same(now) && !s.returning() {
		for path, st := range now {
			from[path] = st
		}
		s.metrics.Degraded(false)
		s.metrics.Confirmed(time.Now())
		return nil
	}
	start := time.Now()
	p, state, warnings, err := s.renewPolicy(ctx, now, from)
	if err != nil && ctx.Err() != nil {
		return err
	}
	if err != nil {
		s.metrics.LoadFailed(time.Since(start))
		s.metrics.Degraded(s.engine.Current() != nil)
		return err
	}
	if len(now) == 0 || !onlyChanged(s.active, now, s.options.State) { // a new state must count at once
		s.engine.Warm(ctx, p)
	}
	s.active, s.operator = from, state
	state = enforcement.Merge(state, s.enforced)
	s.activate(ctx, p, state)
	if !p.Mistaken() { // a new cache; a defect of the old one is in the log and the metrics
		s.faults.clear(partCache)
	}
	s.metrics.Activated(metrics.Policy{Charter: p.Charter(), Revision: p.Revision(), State: state}, time.Now(), time.Since(start))
	s.metrics.Degraded(false)
	tuneHeap()
	s.tellActive(p, warnings, time.Since(start))
	return nil
}

// loadOperatorState is the load of the part policy where the policy itself comes from
// releases.
func (s *Server) loadOperatorState(ctx context.Context, from stamps) error {
	from.note(s.options.State)
	state, err := loadState(s.options.State)
	if err != nil {
		return &PolicyError{Path: s.options.State, Code: CodeInvalidState, Err: err}
	}
	current := s.engine.Current()
	if current == nil { // it is merged with the first release
		s.operator = state
		return nil
	}
	merged := enforcement.Merge(state, s.enforced)
	p, err := current.WithState(ctx, merged)
	if err != nil {
		return &PolicyError{Path: s.options.State, Code: CodeInvalidState, Err: err}
	}
	s.operator = state
	s.activate(ctx, p, merged)
	s.metrics.Promoted(metrics.Policy{Charter: p.Charter(), Revision: p.Revision(), State: merged})
	return nil
}

// returning reports whether a promoted candidate has to make room for what is on
// disk. A new state document alone does not end a promotion.
func (s *Server) returning() bool { return s.promoted && s.asked }

// renewPolicy reads the policy, or only the state when nothing else changed. Now
// are the stamps of what the policy before was made from. The document is that on
// disk; in the policy, what follows from the ledger is beside it.
func (s *Server) renewPolicy(ctx context.Context, now, from stamps) (*engine.Policy, map[string]any, diag.List, error) {
	current := s.engine.Current()
	stateAlone := current != nil && len(now) > 0 && onlyChanged(s.active, now, s.options.State) && !s.returning()
	if stateAlone {
		for path, st := range now {
			from[path] = st
		}
	}
	from.note(s.options.State)
	state, err := loadState(s.options.State)
	if err != nil {
		return nil, nil, nil, &PolicyError{Path: s.options.State, Code: CodeInvalidState, Err: err}
	}
	var warnings diag.List
	if !stateAlone {
		if current, warnings, err = s.program.compiler.loadPolicy(ctx, s.options, from); err != nil {
			return nil, nil, nil, err
		}
	}
	p, err := current.WithState(ctx, enforcement.Merge(state, s.enforced))
	if err != nil {
		return nil, nil, nil, &PolicyError{Path: s.options.State, Code: CodeInvalidState, Err: err}
	}
	s.promoted = s.promoted && stateAlone
	return p, state, warnings, nil
}

// onlyChanged reports whether all contents but that of one path are equal.
func onlyChanged(before, after stamps, path string) bool {
	for p, st := range before {
		if p != path && after[p].sum != st.sum {
			return false
		}
	}
	return path != ""
}

func (s *Server) tellActive(p *engine.Policy, warnings diag.List, took time.Duration) {
	logFindings(s.log, warnings)
	if p.Charter().Enforcement.State == "required" && s.options.State == "" && s.options.Releases.StateBundle == "" {
		hint := "--state FILE"
		if s.program.node {
			hint = "--state-bundle REF"
		}
		s.log.Warn("the charter requires a state document and none was given: collect and export are denied", "hint", hint)
	}
	s.log.Info("policy active", "charter", p.Charter().Metadata.Name, "revision", p.Revision(), "seconds", took.Seconds())
}

// watch looks at all files every interval until ctx ends.
func (s *Server) watch(ctx context.Context, interval time.Duration) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			s.poll(ctx, now)
		}
	}
}

// poll reloads the parts whose files changed and then stayed the same from one
// poll to the next: half of a charter can be a valid charter, with half of its
// prohibitions.
func (s *Server) poll(ctx context.Context, now time.Time) {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	for _, p := range s.parts {
		before := p.seen
		if p.pending != nil {
			before = p.pending
		}
		next := before.again(now)
		switch {
		case p.seen.same(next):
			p.seen, p.pending = next, nil
			s.confirm(p, now)
		case p.pending == nil || !p.pending.same(next):
			p.pending = next
		default:
			_ = s.reloadPart(ctx, p, "watch") // logged, and told by /health
		}
	}
}

// confirm notes that what is on disk is what is in force.
func (s *Server) confirm(p *part, now time.Time) {
	if p.name == partPolicy && !s.promoted && !s.faults.has(partPolicy) {
		s.metrics.Confirmed(now)
	}
}

// watched lists the paths that are looked at, sorted.
func (s *Server) watched() []string {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	var paths []string
	for _, p := range s.parts {
		for path := range p.seen {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

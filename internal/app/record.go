package app

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/westworld-charter/charter/internal/audit"
	"github.com/westworld-charter/charter/internal/engine"
	decisionapi "github.com/westworld-charter/charter/internal/httpapi/decision"
	"github.com/westworld-charter/charter/internal/ledger"
)

// partWitnesses is the part of faults about witnesses; code what /health says.
const (
	partWitnesses       = "witnesses"
	codeTooFewWitnesses = "too_few_witnesses"
)

// openLedger opens the ledger and records which policy is in force.
func (s *Server) openLedger(ctx context.Context) error {
	if s.options.Ledger.InsecureNone {
		return nil
	}
	p := &ledgerOpener{data: s.options.Data, options: s.options.Ledger, origin: s.options.defaultOrigin(s.program.node), log: s.log, metrics: s.metrics}
	if err := p.prepare(); err != nil {
		return err
	}
	k := &keeper{
		open: p.open, metrics: s.metrics, log: s.log, origin: p.keys.Origin(), cosigned: p.cosigner != nil, wake: make(chan struct{}, 1),
	}
	k.auditor = audit.New(audit.Options{Next: s.rollout, Log: k, Rules: s.rules, Unreported: p.path("unreported.json")})
	if err := k.start(ctx); err != nil {
		if own, ok := errors.AsType[*LedgerError](err); ok {
			return own
		}
		return &LedgerError{fmt.Errorf("%s: %w", p.name(), err), ledgerHint}
	}
	s.keeper, s.ledgerKeys = k, &ledgerKeys{k, p}
	err := k.auditor.Recover(ctx, k.current.Load().log.Reader())
	if err == nil {
		if p := s.engine.Current(); p != nil { // else it comes when the ledger is there
			s.recordLoaded(partPolicy, p)
			s.recordActive(ctx, nil, p)
		}
		err = k.drain(ctx)
	}
	if err == nil && len(p.keys.Public()) == 0 { // the ledger was empty when it was opened
		err = p.finishKeys(ctx, k.current.Load().log)
	}
	if err != nil {
		return &LedgerError{errors.Join(fmt.Errorf("%s: %w", p.name(), err), s.closeLedger(ctx)), ledgerHint}
	}
	s.metrics.Ledger(k.stats)
	s.log.Info("ledger", "path", p.name(), "origin", p.keys.Origin(), "entries", k.stats().Size, "key", p.keys.Key())
	return nil
}

// ledgerHint ends the messages about a ledger that cannot be used.
const ledgerHint = "Without a ledger nothing is decided: --data or --ledger must name one that can be written. --insecure-no-ledger does without a record."

// rules are those of the charter that is in force.
func (s *Server) rules() audit.Rules {
	if p := s.engine.Current(); p != nil {
		return audit.RulesOf(p.Charter())
	}
	return audit.Rules{Critical: ledger.Witnessed}
}

// decider answers questions, and records them unless somebody chose not to.
func (s *Server) decider() decisionapi.Decider {
	if s.keeper == nil {
		return decisionapi.Batching(s.rollout)
	}
	return s.keeper.auditor
}

// refusals records what is refused before it is decided; nil without a ledger.
func (s *Server) refusals() decisionapi.Auditor {
	if s.keeper == nil {
		return nil // not a nil pointer in an interface
	}
	return s.keeper.auditor
}

// recordLoaded records a policy that is ready to decide.
func (s *Server) recordLoaded(part string, p *engine.Policy) {
	c := p.Charter()
	s.note(audit.Load{
		Result: audit.Loaded, Part: part, Charter: c.Metadata.Name, Version: c.Metadata.Version, Digest: c.Digest(), Signed: s.signed,
	}, p.Revision())
}

// recordRefused records a policy that could not be loaded.
func (s *Server) recordRefused(part string, err error) {
	s.note(audit.Load{Result: audit.Refused, Part: part, Code: codeOf(err)}, "")
}

func (s *Server) note(l audit.Load, revision string) {
	if s.keeper == nil {
		return
	}
	l.Trigger, l.By, l.At = s.triggered(), s.by, audit.Stamp(time.Now())
	if e, err := l.Entry(revision); err == nil {
		s.keeper.leave(audit.Once(e, rand.Text()))
	}
}

// recordActive records that p is about to decide, and returns when that is in the
// ledger or is known to be impossible now. It needs reloading to be held, once
// the server runs.
func (s *Server) recordActive(ctx context.Context, previous, p *engine.Policy) {
	s.recordActivation(ctx, audit.Activation{Trigger: s.triggered(), Previous: revisionOf(previous), Signed: s.signed}, p)
}

// recordCanary records that a candidate is about to answer some of the nodes. It
// needs reloading to be held.
func (s *Server) recordCanary(ctx context.Context, p *engine.Policy, percent int) {
	s.recordActivation(ctx, audit.Activation{Trigger: "canary", Previous: revisionOf(s.engine.Current()), Percent: &percent}, p)
}

// recordCanaryEnd records that a candidate answers nobody any more. It waits for
// nothing.
func (s *Server) recordCanaryEnd(revision, code string) {
	if s.keeper == nil {
		return
	}
	a := audit.Activation{Trigger: code, At: audit.Stamp(time.Now()), Percent: new(int)}
	if e, err := a.Entry(revision); err == nil {
		s.keeper.leave(audit.Once(e, rand.Text()))
	}
}

func (s *Server) recordActivation(ctx context.Context, a audit.Activation, p *engine.Policy) {
	if s.keeper == nil {
		return
	}
	c := p.Charter()
	a.At, a.By, a.State = audit.Stamp(time.Now()), s.by, digestOf(s.state)
	if a.Percent == nil { // a candidate has the same state
		a.Skipped, s.stateQuiet.skipped = s.stateQuiet.skipped, 0
	}
	a.Charter, a.Version, a.Digest, a.Retention = c.Metadata.Name, c.Metadata.Version, c.Digest(), c.Audit.Retention
	if e, err := a.Entry(p.Revision()); err == nil {
		s.keeper.record(ctx, audit.Once(e, rand.Text()))
	}
}

// triggered is what brought about what is being loaded.
func (s *Server) triggered() string { return first(s.trigger, "start") }

// digestOf is that of a state document, "" for none.
func digestOf(state map[string]any) string {
	if state == nil {
		return ""
	}
	text, err := json.Marshal(state)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// audited is the state of the record for /health: a code when questions cannot be
// answered for want of it.
func (s *Server) audited() (code, message string) {
	if s.keeper == nil || s.keeper.fault.Load() == nil {
		return "", ""
	}
	message = "the ledger cannot be written, so what has to be recorded is not allowed; the log says more"
	if s.keeper.auditor.Stats().Unkept != nil {
		message += "; how many denials are answered unrecorded cannot be kept on disk either, a crash would lose that count"
	}
	return codeAuditUnavailable, message
}

// watchWitnesses degrades the server while witnesses are missing.
func (s *Server) watchWitnesses(now time.Time) {
	o := s.keeper.current.Load()
	if o == nil || !s.keeper.cosigned {
		return
	}
	if o.log.Stats().Unwitnessed != nil {
		s.faults.set(partWitnesses, codeTooFewWitnesses, "too few witnesses cosign the ledger; entries are durable, the log says more", now)
	} else {
		s.faults.clear(partWitnesses)
	}
}

// record keeps the record while the server runs. The returned function ends that:
// what was decided is in the ledger, the last window included, before it is
// closed. Nobody may ask any more then.
func (s *Server) record(ctx context.Context) (settle func() error) {
	if s.keeper == nil {
		return func() error { return nil }
	}
	ctx = context.WithoutCancel(ctx) // requests outlive it
	auditing, stopAuditing := context.WithCancel(ctx)
	enforcing, stopEnforcing := context.WithCancel(ctx)
	enforced := make(chan error, 1)
	go func() { enforced <- s.enforce(enforcing) }()
	undelivered := s.deliver(ctx)
	keeping, stopKeeping := context.WithCancel(ctx)
	var kept sync.WaitGroup
	audited := make(chan error, 1)
	go func() { audited <- s.keeper.auditor.Run(auditing) }()
	kept.Go(func() {
		s.keeper.run(keeping, func(now time.Time) {
			s.watchWitnesses(now)
			s.watchEnforcement(now)
			s.watchNotify(now)
		})
	})
	return func() error {
		stopAuditing()
		err := <-audited
		stopEnforcing()
		err = errors.Join(err, <-enforced, undelivered())
		stopKeeping()
		kept.Wait()
		if err = errors.Join(err, s.keeper.stop(ctx)); err != nil {
			return fmt.Errorf("the end of the record is missing from the ledger, which will say so when it is opened again: %w", err)
		}
		return nil
	}
}

// closeLedger closes the ledger, once. Whatever was decided is in it then.
func (s *Server) closeLedger(ctx context.Context) error {
	if s.keeper == nil {
		return nil
	}
	return s.keeper.stop(ctx)
}

// redactedRef is where a ledger is, without a password.
func redactedRef(ref string) string {
	if !strings.Contains(ref, "://") {
		return ref
	}
	u, err := url.Parse(ref)
	if err != nil {
		return "postgres://…"
	}
	return u.Redacted()
}

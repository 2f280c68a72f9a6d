package app

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/enforcement"
	"github.com/westworld-charter/charter/internal/metrics"
	"github.com/westworld-charter/charter/internal/rollout"
)

// Names below Options.Data.
const (
	evidenceDir = "evidence"
	markFile    = "enforcement.mark" // may be deleted: the next start takes longer
)

// partEnforcement is the part of faults about consequences; the code is what /health
// says.
const (
	partEnforcement        = "enforcement"
	codeEnforcementDelayed = "enforcement_delayed"
)

// EnforcementOptions say how violations get their consequences. They are off without
// a ledger.
type EnforcementOptions struct {
	// Quiet is for how long after one denial the next of that node and clause belongs
	// to the same incident.
	Quiet time.Duration
	// SLA is how long an investigation may take.
	SLA time.Duration
	// Evidence is the directory of what people wrote and sent; "" is evidence below
	// Options.Data.
	Evidence string
}

// openEnforcement learns from the ledger what is in force, and brings it in force.
// Nobody is served yet.
func (s *Server) openEnforcement(ctx context.Context) error {
	if s.keeper == nil {
		return nil // /health says so
	}
	o := s.options.Enforcement
	evidence, err := enforcement.OpenDir(first(o.Evidence, filepath.Join(s.options.Data, evidenceDir)))
	if err != nil {
		return &usageError{err: fmt.Errorf("--evidence must be a directory that can be written: %w", err)}
	}
	e, err := enforcement.New(enforcement.Options{
		Log: s.keeper, History: &s.keeper.relay, Charter: s.charter, Publish: s.publishState, Announce: s.tellNotice, Observer: s.metrics,
		Quiet: o.Quiet, SLA: o.SLA, Mark: filepath.Join(s.options.Data, markFile), Evidence: evidence, Logger: s.log,
	})
	if err != nil {
		return err
	}
	start := time.Now()
	if err := e.Recover(ctx); err != nil {
		return &LedgerError{err, "What violations have brought about is not known without the ledger, so nothing is decided."}
	}
	s.enforcer, s.keeper.auditor.Enforcer = e, e
	s.metrics.Enforcement(s.enforcementStats)
	st := e.Stats()
	s.log.Info("enforcement", "violations", st.Violations, "standings", st.Standings, "overrides", st.OverridesActive,
		"revocations", st.Revocations, "seconds", time.Since(start).Seconds())
	return nil
}

// charter is the one in force; nil without a policy.
func (s *Server) charter() *charter.Charter {
	if p := s.engine.Current(); p != nil {
		return p.Charter()
	}
	return nil
}

// publishState brings in force what follows from the ledger, beside the document of
// the operator. The answer to the next question obeys.
func (s *Server) publishState(ctx context.Context, own map[string]any) error {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	current := s.engine.Current()
	if current == nil {
		return errors.New("no policy is active")
	}
	merged := enforcement.Merge(s.operator, own)
	p, err := current.WithState(ctx, merged)
	if err != nil {
		return err
	}
	candidate := s.rollout.Candidate()
	if candidate != nil {
		if candidate, err = candidate.WithState(ctx, merged); err != nil {
			_ = s.rollout.Stop(rollout.Stop{Code: rollout.EvaluationError, Message: "the candidate cannot take the state document", Err: err}) // or it is out already
			candidate = nil
		}
	}
	s.enforced, s.state = own, merged
	s.rollout.Swap(p, candidate)
	s.metrics.Promoted(metrics.Policy{Charter: p.Charter(), Revision: p.Revision(), State: merged})
	s.stateChanged()
	return nil
}

// enforce keeps doing what follows from the ledger until ctx ends.
func (s *Server) enforce(ctx context.Context) error {
	if s.enforcer == nil {
		return nil
	}
	return s.enforcer.Run(ctx)
}

// watchEnforcement degrades the server while consequences wait.
func (s *Server) watchEnforcement(now time.Time) {
	if s.enforcer == nil {
		return
	}
	if s.enforcer.Stats().Err != nil {
		s.faults.set(partEnforcement, codeEnforcementDelayed, "consequences of violations are not in force yet; the log says more", now)
	} else {
		s.faults.clear(partEnforcement)
	}
}

func (s *Server) enforcementStats() metrics.EnforcementStats {
	st := s.enforcer.Stats()
	return metrics.EnforcementStats{
		Investigations: st.UnderInvestigation, Overdue: st.Overdue, Overrides: st.OverridesActive, Standings: st.Standings, Revoked: st.Revocations,
		Late: st.Late, Up: st.Err == nil,
	}
}

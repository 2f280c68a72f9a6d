package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/westworld-charter/charter/internal/engine"
	decisionapi "github.com/westworld-charter/charter/internal/httpapi/decision"
	"github.com/westworld-charter/charter/internal/metrics"
	"github.com/westworld-charter/charter/internal/rollout"
	"github.com/westworld-charter/charter/internal/wire"
)

// Codes of /health and of the API about a candidate.
const (
	codeInvalidCandidate = "invalid_candidate" // it cannot be loaded
	codeCandidateStopped = "candidate_stopped" // it was out of its own accord, or is when it may not be
	codeNoCandidate      = "no_candidate"
)

// maxChange bounds the body of POST /v1/candidate.
const maxChange = 4 << 10

// loadCandidate is the load of the part candidate. A stopped candidate begins
// again when its files changed, or when somebody asked for the reload.
func (s *Server) loadCandidate(ctx context.Context, from stamps) error {
	now := s.tried.again(time.Now())
	if len(now) > 0 && s.tried.same(now) && (s.rollout.Candidate() != nil || !s.asked) {
		for path, st := range now {
			from[path] = st
		}
		return nil
	}
	start := time.Now()
	bare, warnings, err := s.program.compiler.loadPolicy(ctx, s.options.asPolicy(), from)
	if err != nil {
		return err
	}
	p, err := bare.WithState(ctx, s.state)
	if err != nil {
		return fmt.Errorf("candidate: %w", err)
	}
	s.tried = from
	s.recordLoaded(partCandidate, p)
	if percent := s.options.Candidate.Percent; percent > 0 {
		s.recordCanary(ctx, p, percent)
	}
	if err := s.rollout.Offer(p, s.options.Candidate.Percent); err != nil {
		return fmt.Errorf("candidate: %w", err)
	}
	logFindings(s.log, warnings)
	s.log.Info("candidate on trial", "charter", p.Charter().Metadata.Name, "revision", p.Revision(), "digest", p.Charter().Digest(),
		"percent", s.options.Candidate.Percent, "seconds", time.Since(start).Seconds())
	return nil
}

// activate puts a policy in force; a candidate gets the same state document. It
// needs reloading to be held.
func (s *Server) activate(ctx context.Context, p *engine.Policy, state map[string]any) {
	var next *engine.Policy
	if c := s.rollout.Candidate(); c != nil {
		var err error
		if next, err = c.WithState(context.WithoutCancel(ctx), state); err != nil {
			_ = s.rollout.Stop(rollout.Stop{Code: rollout.EvaluationError, Message: "the candidate cannot take the state document", Err: err}) // or it is out already
		}
	}
	s.state = state
	s.recordLoaded(partPolicy, p) // while the ledger is not open yet, opening it does
	s.recordActive(ctx, s.engine.Current(), p)
	s.rollout.Swap(p, next)
	if s.enforcer != nil {
		s.enforcer.Activated()
	}
	s.stateChanged()
}

// candidateStopped tells operators that a candidate is out.
func (s *Server) candidateStopped(revision string, stop rollout.Stop) {
	s.recordCanaryEnd(revision, stop.Code)
	log := s.log.With("revision", revision, "code", stop.Code, "reason", stop.Message)
	if stop.Code == rollout.Operator {
		log.Info("candidate stopped")
		return
	}
	if stop.Err != nil {
		log = log.With("error", stop.Err.Error())
	}
	log.Error("candidate stopped; the active policy answers all nodes")
}

// degraded is what is wrong although decisions are made, nil when nothing is.
func (s *Server) degraded() *decisionapi.Degraded {
	fault, released := s.faults.gravest(), s.unreleased()
	// A server that is away must not hide that something was refused.
	if fault != nil && (fault.Code != codeReportFailed || released == nil) {
		return fault
	}
	if released != nil {
		return released
	}
	stop := s.rollout.Stopped()
	if stop == nil || stop.Code == rollout.Operator {
		return nil
	}
	return &decisionapi.Degraded{
		Code: codeCandidateStopped, Since: stop.Since,
		Message: "the candidate is stopped and the active policy answers all nodes: " + stop.Message,
	}
}

// candidateStatus is the answer of /v1/candidate.
type candidateStatus struct {
	State     string          `json:"state"`  // none, shadow, canary or stopped
	Active    string          `json:"active"` // the active revision
	Candidate *rollout.Status `json:"candidate"`
	Message   string          `json:"message,omitempty"`
}

func (s *Server) candidateStatus() candidateStatus {
	answer := candidateStatus{State: "none", Active: revisionOf(s.engine.Current()), Candidate: s.rollout.Status()}
	switch c := answer.Candidate; {
	case c == nil:
	case c.Stopped != nil:
		answer.State = "stopped"
	case c.Percent == 0:
		answer.State = "shadow"
	default:
		answer.State = "canary"
	}
	return answer
}

func (s *Server) serveCandidate(w http.ResponseWriter, _ *http.Request) {
	decisionapi.WriteJSON(w, http.StatusOK, s.candidateStatus())
}

// candidateChange is the body of POST /v1/candidate: one of these.
type candidateChange struct {
	Percent *int  `json:"percent"`
	Stop    *bool `json:"stop"`
	Promote *bool `json:"promote"`
}

var errOneChange = errors.New(`the body must be one of {"percent": 0 to 100}, {"stop": true} and {"promote": true}`)

func readChange(w http.ResponseWriter, r *http.Request) (candidateChange, error) {
	var c candidateChange
	body, err := wire.Body(w, r, maxChange)
	if err == nil {
		err = wire.Decode(body, &c)
	}
	if err != nil {
		return c, err
	}
	given := 0
	for _, is := range []bool{c.Percent != nil, c.Stop != nil && *c.Stop, c.Promote != nil && *c.Promote} {
		if is {
			given++
		}
	}
	never := c.Stop != nil && !*c.Stop || c.Promote != nil && !*c.Promote
	if given != 1 || never {
		return c, errOneChange
	}
	return c, nil
}

func (s *Server) changeCandidate(w http.ResponseWriter, r *http.Request) {
	change, err := readChange(w, r)
	message := ""
	switch {
	case err != nil:
	case change.Percent != nil:
		if err = s.setPercent(r.Context(), *change.Percent); err == nil {
			s.log.Info("candidate percentage changed", "percent", *change.Percent)
		}
	case change.Stop != nil:
		err = s.rollout.Stop(rollout.Stop{Code: rollout.Operator, Message: "stopped by an operator"})
	default:
		message, err = s.promote(r.Context())
	}
	if err != nil {
		wire.Refuse(w, s.log, wire.From(err, candidateRefusal))
		return
	}
	answer := s.candidateStatus()
	answer.Message = message
	decisionapi.WriteJSON(w, http.StatusOK, answer)
}

func candidateRefusal(err error) *wire.Error {
	switch {
	case errors.Is(err, rollout.ErrNoCandidate):
		return &wire.Error{Status: http.StatusConflict, Code: codeNoCandidate, Message: "there is no candidate: give --candidate, or mend the one on disk"}
	case errors.Is(err, rollout.ErrStopped):
		return &wire.Error{Status: http.StatusConflict, Code: codeCandidateStopped, Message: "the candidate is stopped: change its files, or POST /v1/reload to try it again"}
	case errors.Is(err, rollout.ErrPercent):
		return wire.Wrong(wire.CodeInvalidValue, "percent", "%s", err)
	default:
		return wire.Wrong(wire.CodeInvalidValue, "input", "%s", err)
	}
}

// setPercent has the candidate answer some of the nodes, and records that first.
func (s *Server) setPercent(ctx context.Context, percent int) error {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	if c := s.rollout.Candidate(); c != nil && percent >= 0 && percent <= 100 {
		s.recordCanary(ctx, c, percent)
	}
	return s.rollout.SetPercent(percent)
}

// promote makes the candidate the active policy of this process. What is on disk
// stays: the next reload that is asked for returns to it.
func (s *Server) promote(ctx context.Context) (message string, err error) {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	before, p, err := s.rollout.Promote()
	if err != nil {
		return "", err
	}
	s.trigger = "promotion"
	defer func() { s.trigger = "" }()
	s.recordActive(ctx, before, p)
	s.promoted = true
	if s.enforcer != nil {
		s.enforcer.Activated()
	}
	s.metrics.Promoted(metrics.Policy{Charter: p.Charter(), Revision: p.Revision(), State: s.state})
	const hint = "put it where --charter or --bundle points: a restart, a reload and a change of that file return to what is there"
	s.log.Warn("candidate promoted for this process alone", "revision", p.Revision(), "hint", hint)
	return p.Revision() + " is active in this process alone; " + hint, nil
}

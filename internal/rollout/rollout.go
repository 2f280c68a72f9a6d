// Package rollout tries a candidate policy beside the active one.
//
// Start with [New]; [Rollout.Offer] begins a trial, [Rollout.Decide] and
// [Rollout.DecideBatch] answer. In shadow every caller gets the active answer,
// and the candidate is asked afterwards, by a fixed number of workers behind a
// bounded queue; what does not fit is dropped and counted. As a canary the
// candidate answers the nodes whose [Bucket] is below a percentage.
//
// Guaranteed are: without a candidate an answer costs one atomic read more than
// that of the engine. A trial never fails an answer: a candidate that panics,
// fails or takes too long is stopped and the active answer is given. Stopping
// is at once, for all nodes, and lasts until somebody offers a candidate. What
// the active policy forbids by a protected entry is never allowed, whatever the
// candidate says. Both answers to a question are of one state document, or they
// are not compared. Every answer names the revision that gave it. What is kept
// of questions has no label value in it.
package rollout

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/engine"
)

// Options are those of a [Rollout]. The zero value compares everything and never
// stops a candidate for its differences.
type Options struct {
	// Engine is for the engine of the candidate. OnMismatch is not used: a wrong
	// answer of its cache stops the candidate.
	Engine engine.Options
	// Skip is the share of questions that are not compared in shadow, in percent:
	// always the same ones. The questions of canary nodes always are.
	Skip      int
	Threshold Threshold
	// Timeout bounds one evaluation by a worker; 5 s when 0.
	Timeout time.Duration
	// Workers compare in shadow; 1 when 0, which leaves the other cores alone.
	Workers int
	// Queue is how many questions may wait for a worker; 1,024 when 0.
	Queue int
	// OnStop is called once for every trial that stops, in the goroutine that
	// found the reason. It may be called while the candidate is offered.
	OnStop func(revision string, s Stop)
}

// Errors of what is asked of a trial that does not run.
var (
	ErrNoCandidate = errors.New("there is no candidate")
	ErrStopped     = errors.New("the candidate is stopped; offer it again")
	ErrPercent     = errors.New("a percentage is a number from 0 to 100")
)

// Rollout answers with the active policy, and with a candidate where a trial
// says so. It is safe for concurrent use.
type Rollout struct {
	active  *engine.Engine
	options Options

	running atomic.Pointer[trial] // nil while no candidate may be asked
	// generation is odd while policies are being replaced. Two answers are of one
	// state of things when it was even before the first and is the same after
	// the second.
	generation atomic.Uint64
	promises   atomic.Pointer[promises] // of the active policy

	counts  [kinds]atomic.Uint64 // of all trials
	dropped atomic.Uint64

	mu      sync.Mutex            // held while something is offered, replaced or ended
	shown   atomic.Pointer[trial] // the last trial, stopped or not; written under mu
	workers sync.WaitGroup        // of all trials; Go under mu
	closed  bool                  // guarded by mu
}

// New returns a rollout without a candidate around the engine that is active.
// The active policy is replaced with [Rollout.Swap] from then on.
func New(active *engine.Engine, o Options) *Rollout {
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	if o.Workers == 0 {
		o.Workers = 1
	}
	if o.Queue == 0 {
		o.Queue = 1024
	}
	r := &Rollout{active: active, options: o}
	r.promises.Store(promisesOf(active.Current()))
	return r
}

// Decide answers like [engine.Engine.Decide] of the policy that the node of the
// question has.
func (r *Rollout) Decide(ctx context.Context, in decision.Input) (decision.Decision, error) {
	t := r.running.Load()
	if t == nil {
		return r.active.Decide(ctx, in)
	}
	return r.try(ctx, t, in)
}

// DecideBatch answers like [engine.Engine.DecideBatch]: all questions that the
// active policy answers with one snapshot of it, and all that the candidate
// answers with one of the candidate.
func (r *Rollout) DecideBatch(ctx context.Context, questions []decision.Input) []decision.Decision {
	t := r.running.Load()
	if t == nil {
		return r.active.DecideBatch(ctx, questions)
	}
	return r.tryBatch(ctx, t, questions)
}

// Offer begins a trial of p, which replaces the one before, stopped or not. The
// state document of p must be that of the active policy.
func (r *Rollout) Offer(p *engine.Policy, percent int) error {
	if percent < 0 || percent > 100 {
		return ErrPercent
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil // nobody asks any more
	}
	t := r.newTrial(p, percent)
	if before := r.shown.Swap(t); before != nil && before.end(Stop{Code: replaced}) {
		before.cancel()
	}
	r.running.Store(t)
	for range r.options.Workers {
		r.workers.Go(func() { r.work(t) })
	}
	return nil
}

// Swap replaces the active policy and, unless it is nil, the candidate of the
// running trial by one that differs in its state document alone. No two answers
// across the swap are compared. It returns the policy before.
func (r *Rollout) Swap(active, candidate *engine.Policy) (previous *engine.Policy) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.generation.Add(1)
	defer r.generation.Add(1)
	previous = r.swapActive(active)
	if t := r.running.Load(); t != nil {
		if candidate != nil {
			t.engine.Swap(candidate)
		}
		// What differed counts on under another state: a node that gets itself
		// suspended must not keep a bad candidate from being stopped.
		if previous == nil || active == nil || previous.Revision() != active.Revision() {
			t.window.reset() // it was about other policies
		}
	}
	return previous
}

// swapActive needs an odd generation.
func (r *Rollout) swapActive(p *engine.Policy) (previous *engine.Policy) {
	r.promises.Store(promisesOf(p))
	return r.active.Swap(p)
}

// Candidate returns the policy on trial, nil when none is running.
func (r *Rollout) Candidate() *engine.Policy {
	if t := r.running.Load(); t != nil {
		return t.engine.Current()
	}
	return nil
}

// SetPercent changes how many nodes the candidate answers. What counts towards
// the threshold begins anew when it was none.
func (r *Rollout) SetPercent(percent int) error {
	if percent < 0 || percent > 100 {
		return ErrPercent
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	t, err := r.trial()
	if err != nil {
		return err
	}
	if t.percent.Swap(int32(percent)) == 0 {
		t.window.reset()
	}
	return nil
}

// trial returns the one that runs; it needs mu.
func (r *Rollout) trial() (*trial, error) {
	t := r.shown.Load()
	switch {
	case t == nil:
		return nil, ErrNoCandidate
	case t.stopped.Load() != nil:
		return nil, ErrStopped
	default:
		return t, nil
	}
}

// Stop ends the trial; the active policy answers all nodes.
func (r *Rollout) Stop(s Stop) error {
	r.mu.Lock()
	t, err := r.trial()
	r.mu.Unlock()
	if err != nil {
		return err
	}
	r.stop(t, s)
	return nil
}

// stop ends a trial once.
func (r *Rollout) stop(t *trial, s Stop) {
	s.Since = time.Now().UTC()
	if !t.end(s) {
		return
	}
	r.running.CompareAndSwap(t, nil)
	t.cancel()
	if r.options.OnStop != nil {
		r.options.OnStop(t.revision, s)
	}
}

// Promote makes the candidate the active policy and ends the trial. It returns
// both policies.
func (r *Rollout) Promote() (previous, promoted *engine.Policy, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t, err := r.trial()
	if err != nil {
		return nil, nil, err
	}
	if !t.end(Stop{Code: replaced}) {
		return nil, nil, ErrStopped // just now
	}
	r.generation.Add(1)
	defer r.generation.Add(1)
	r.running.Store(nil)
	r.shown.Store(nil)
	t.cancel()
	promoted = t.engine.Current()
	return r.swapActive(promoted), promoted, nil
}

// Close ends the trial and returns when no worker is left. The active policy
// goes on answering.
func (r *Rollout) Close() {
	r.mu.Lock()
	r.closed = true
	if t := r.shown.Swap(nil); t != nil {
		t.end(Stop{Code: replaced})
		t.cancel()
	}
	r.running.Store(nil)
	r.mu.Unlock()
	r.workers.Wait()
}

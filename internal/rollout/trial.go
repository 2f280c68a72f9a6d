package rollout

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/engine"
)

// trial is one candidate from its offer to its end.
type trial struct {
	revision, digest string
	since            time.Time
	engine           *engine.Engine
	asked            decider // the engine, but for tests
	percent          atomic.Int32
	stopped          atomic.Pointer[Stop] // set once

	queue  chan question
	ctx    context.Context //nolint:containedctx // it is the life of the trial
	cancel context.CancelFunc

	counts  [kinds]atomic.Uint64
	dropped atomic.Uint64
	window  window
	recent  recent
}

// decider is what is asked of a candidate.
type decider interface {
	Decide(ctx context.Context, in decision.Input) (decision.Decision, error)
	DecideBatch(ctx context.Context, questions []decision.Input) []decision.Decision
}

// question waits for a worker, with its active answer.
type question struct {
	input      decision.Input
	active     decision.Decision
	generation uint64
	stake      bool // the candidate answered some nodes when it was asked
}

func (r *Rollout) newTrial(p *engine.Policy, percent int) *trial {
	t := &trial{
		revision: p.Revision(), digest: p.Charter().Digest(), since: time.Now().UTC(),
		queue: make(chan question, r.options.Queue), window: window{length: r.options.Threshold.Window},
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.percent.Store(int32(percent))
	o := r.options.Engine
	o.OnMismatch = func(engine.Mismatch) { r.cacheFailed(t) }
	t.engine = engine.NewWith(o)
	t.engine.Swap(p)
	t.asked = t.engine
	return t
}

func (r *Rollout) cacheFailed(t *trial) {
	r.stop(t, Stop{Code: CacheMismatch, Message: "a decision of the candidate was not that of the reference evaluator"})
}

// end reports whether the trial ends with this call.
func (t *trial) end(s Stop) bool { return t.stopped.CompareAndSwap(nil, &s) }

// try answers while a trial runs.
func (r *Rollout) try(ctx context.Context, t *trial, in decision.Input) (decision.Decision, error) {
	generation := r.generation.Load()
	active, err := r.active.Decide(ctx, in)
	if err != nil || generation%2 == 1 || !telling(&active) {
		return active, err
	}
	if !t.answers(in.Node) {
		if r.sampled(&in) {
			r.enqueue(t, &in, &active, generation)
		}
		return active, nil
	}
	candidate, err := t.decide(ctx, in)
	switch {
	case r.generation.Load() != generation:
		r.drop(t)
	case err != nil && ctx.Err() != nil: // too late for this caller; a worker finds out why
		r.enqueue(t, &in, &active, generation)
	case r.judge(t, &in, &active, &candidate, true, err):
		return candidate, nil
	}
	return active, nil
}

// tryBatch is try for many questions. The candidate answers all of its questions
// or, when it was stopped by one of them, none.
func (r *Rollout) tryBatch(ctx context.Context, t *trial, questions []decision.Input) []decision.Decision {
	generation := r.generation.Load()
	answers := r.active.DecideBatch(ctx, questions)
	if generation%2 == 1 {
		return answers
	}
	var places []int
	var own []decision.Input
	for i := range questions {
		switch in := &questions[i]; {
		case !telling(&answers[i]) || undetermined(&answers[i]):
		case t.answers(in.Node):
			places, own = append(places, i), append(own, *in)
		case r.sampled(in):
			r.enqueue(t, in, &answers[i], generation)
		}
	}
	if len(places) == 0 {
		return answers
	}
	candidates, err := t.decideBatch(ctx, own)
	if err != nil {
		r.judge(t, &own[0], nil, nil, true, err)
		return answers
	}
	replace := make([]bool, len(places))
	for j, i := range places {
		err := t.failure(ctx, &own[j], &candidates[j])
		switch {
		case r.generation.Load() != generation:
			r.drop(t)
		case err != nil && ctx.Err() != nil:
			r.enqueue(t, &own[j], &answers[i], generation)
		default:
			replace[j] = r.judge(t, &own[j], &answers[i], &candidates[j], true, err)
		}
	}
	if t.stopped.Load() != nil {
		return answers
	}
	for j, i := range places {
		if replace[j] {
			answers[i] = candidates[j]
		}
	}
	return answers
}

// decide never panics: a defect of a candidate must not become one of the
// server.
func (t *trial) decide(ctx context.Context, in decision.Input) (d decision.Decision, err error) {
	defer rescue(&err)
	return t.asked.Decide(ctx, in)
}

func (t *trial) decideBatch(ctx context.Context, questions []decision.Input) (all []decision.Decision, err error) {
	defer rescue(&err)
	all = t.asked.DecideBatch(ctx, questions)
	if len(all) != len(questions) {
		return nil, fmt.Errorf("%d answers to %d questions", len(all), len(questions))
	}
	return all, nil
}

func rescue(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("panic: %v", p)
	}
}

// failure asks again for the error behind an answer of a batch, which has none.
func (t *trial) failure(ctx context.Context, in *decision.Input, d *decision.Decision) error {
	if !undetermined(d) {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	_, err := t.decide(ctx, *in)
	return err
}

// enqueue leaves a question to the workers, or drops it.
func (r *Rollout) enqueue(t *trial, in *decision.Input, active *decision.Decision, generation uint64) {
	if len(t.queue) == cap(t.queue) { // before anything is copied
		r.drop(t)
		return
	}
	q := question{input: *in, active: *active, generation: generation, stake: t.percent.Load() > 0}
	q.input.Labels = namesOf(in.Labels)
	select {
	case t.queue <- q:
	default:
		r.drop(t)
	}
}

func (r *Rollout) drop(t *trial) {
	t.dropped.Add(1)
	r.dropped.Add(1)
}

// namesOf are labels without their values, which no decision reads: those of a
// whole queue could be large, and they are nobody's business.
func namesOf(labels map[string]string) map[string]string {
	if len(labels) == 0 {
		return nil
	}
	names := make(map[string]string, len(labels))
	for name, value := range labels {
		if value != "" { // which is the same as being absent
			names[name] = "x"
		}
	}
	return names
}

// work compares what is in the queue until the trial ends.
func (r *Rollout) work(t *trial) {
	for {
		select {
		case <-t.ctx.Done():
			return
		case q := <-t.queue:
			r.compare(t, &q)
		}
	}
}

func (r *Rollout) compare(t *trial, q *question) {
	if r.generation.Load() != q.generation {
		r.drop(t)
		return
	}
	ctx, cancel := context.WithTimeout(t.ctx, r.options.Timeout)
	defer cancel()
	candidate, err := t.decide(ctx, q.input)
	switch {
	case t.ctx.Err() != nil: // it has ended
	case r.generation.Load() != q.generation:
		r.drop(t)
	default:
		r.judge(t, &q.input, &q.active, &candidate, q.stake, err)
	}
}

// judge counts the answer of a candidate, stops the trial if that is due, and
// reports whether a caller may have the answer. What was asked without a stake
// does not count towards the threshold.
func (r *Rollout) judge(t *trial, in *decision.Input, active, candidate *decision.Decision, stake bool, err error) bool {
	if err != nil {
		r.stop(t, Stop{Code: EvaluationError, Message: "the candidate could not decide a question", Err: err})
		return false
	}
	kind := difference(active, candidate)
	t.counts[kind].Add(1)
	r.counts[kind].Add(1)
	if kind != None {
		t.recent.add(kind, in, active, candidate, time.Now())
	}
	if stake && t.percent.Load() > 0 {
		if m := t.window.add(time.Now(), r.options.Threshold, kind); m != "" {
			r.stop(t, Stop{Code: ThresholdReached, Message: m})
		}
	}
	return t.stopped.Load() == nil && (kind == None || !r.promises.Load().broken(active, candidate))
}

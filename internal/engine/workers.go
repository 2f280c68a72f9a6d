package engine

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/westworld-charter/charter/internal/decision"
)

// idleWorker is how long a worker waits for the next question before it ends.
const idleWorker = 5 * time.Second

// workers evaluate on goroutines that live on. An evaluation recurses deeply: on a
// goroutine that is new, or that was idle when garbage was collected, growing
// the stack takes as long as the evaluation itself. There are no more of them than
// keep all cores busy. The zero value is ready; it is safe for concurrent use.
type workers struct {
	jobs    atomic.Pointer[chan *job]
	running atomic.Int32
}

// job is one question for a worker.
type job struct {
	ctx    context.Context
	policy *Policy
	in     decision.Input

	done     chan struct{} // closed when the fields below are set
	answer   decision.Decision
	err      error
	panicked any
}

// decide is [Policy.Decide] on a worker. It waits for one as long as ctx lasts.
func (w *workers) decide(ctx context.Context, p *Policy, in *decision.Input) (decision.Decision, error) {
	j := &job{ctx: ctx, policy: p, in: *in, done: make(chan struct{})}
	if err := w.give(ctx, j); err != nil {
		return decision.Undetermined(p.revision, wording(err)), err
	}
	<-j.done // the evaluation ends when ctx does
	if j.panicked != nil {
		panic(j.panicked)
	}
	return j.answer, j.err
}

// give hands a job to an idle worker, to a new one, or to the first that is free.
func (w *workers) give(ctx context.Context, j *job) error {
	jobs := w.queue()
	select {
	case jobs <- j:
		return nil
	default:
	}
	if w.running.Add(1) <= int32(2*runtime.GOMAXPROCS(0)) {
		go w.work(jobs, j)
		return nil
	}
	w.running.Add(-1)
	select {
	case jobs <- j:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for an evaluation to end: %w", context.Cause(ctx))
	}
}

func (w *workers) queue() chan *job {
	if jobs := w.jobs.Load(); jobs != nil {
		return *jobs
	}
	jobs := make(chan *job)
	w.jobs.CompareAndSwap(nil, &jobs)
	return *w.jobs.Load()
}

// work answers one question after another until there has been none for a while.
func (w *workers) work(jobs chan *job, first *job) {
	first.do()
	idle := time.NewTimer(idleWorker)
	defer idle.Stop()
	for {
		select {
		case j := <-jobs:
			j.do()
			idle.Reset(idleWorker)
		case <-idle.C:
			w.running.Add(-1)
			return
		}
	}
}

// do never panics: whoever asked does.
func (j *job) do() {
	defer close(j.done)
	defer func() {
		if cause := recover(); cause != nil {
			j.panicked = fmt.Sprintf("%v\n\n%s", cause, debug.Stack())
		}
	}()
	j.answer, j.err = j.policy.Decide(j.ctx, j.in)
}

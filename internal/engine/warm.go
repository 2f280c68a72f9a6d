package engine

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/westworld-charter/charter/internal/decision"
)

const (
	// maxRecent is how many questions are evaluated before a policy is swapped in.
	maxRecent = 1 << 10
	// warmFor bounds how long a new policy waits for that.
	warmFor = 500 * time.Millisecond
)

// recent is a sample of the questions that were evaluated lately, for [Engine.Warm].
// The zero value is ready; it is safe for concurrent use.
type recent struct {
	mu        sync.Mutex
	questions []decision.Input
}

// add notes a question, in the place of any other when there are many. Of labels
// it keeps names alone: no answer depends on their values.
func (r *recent) add(in *decision.Input) {
	kept := *in
	kept.Claims, kept.Labels = slices.Clone(in.Claims), maps.Clone(in.Labels)
	for name, value := range kept.Labels {
		if value != "" {
			kept.Labels[name] = "-"
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.questions) < maxRecent {
		r.questions = append(r.questions, kept)
		return
	}
	r.questions[rand.IntN(maxRecent)] = kept
}

func (r *recent) list() []decision.Input {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.questions)
}

// Warm fills the cache that p will begin with when it is the next to be swapped in:
// it evaluates what was asked lately, so that after [Engine.Swap] questions need not
// wait for each other's evaluation. Meanwhile the active policy answers. It takes
// half a second at most and ends with ctx; leaving it out is never wrong.
func (e *Engine) Warm(ctx context.Context, p *Policy) {
	ctx, cancel := context.WithTimeout(ctx, warmFor)
	defer cancel()
	next := e.snapshot(p)
	now := time.Now().UTC().Format(time.RFC3339)
	for _, in := range e.recent.list() {
		if ctx.Err() != nil {
			break
		}
		in.Time = now
		if k, ok := next.key(&in); ok {
			if _, known := next.answers.GetIfPresent(k); !known {
				_, _ = next.learn(ctx, k, &in) // what fails is not kept
			}
		}
	}
	e.next.Store(next)
}

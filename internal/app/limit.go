package app

import (
	"sync"
	"time"

	decisionapi "github.com/westworld-charter/charter/internal/httpapi/decision"
	"github.com/westworld-charter/charter/internal/tokenbucket"
)

// maxBuckets bounds the identities whose budgets are remembered. Identities are
// proven, so there are no more of them than authorities and the token file say;
// the bound holds whatever they say.
const maxBuckets = 10_000

// limiter gives every identity a budget of questions: rate a second, saved up for
// a second at most. One batch may overdraw it, so that a batch can be larger than
// what a second brings; the debt is paid back before the next question. So in any
// time t an identity asks at most rate*(t+1) questions and one batch. It
// implements [decisionapi.Limiter].
type limiter struct {
	now func() time.Time

	mu      sync.Mutex
	budgets *tokenbucket.Keyed[string] // by kind and name; guarded by mu
}

func newLimiter(rate int, now func() time.Time) *limiter {
	r := tokenbucket.Rate{Burst: float64(rate), Every: 1 / float64(rate)}
	return &limiter{now: now, budgets: tokenbucket.NewKeyed[string](r, maxBuckets)}
}

// Admit takes one question from the budget of id.
func (l *limiter) Admit(id *decisionapi.Identity) time.Duration { return l.take(id, 1, 1) }

// Charge takes n questions from the budget of id, unless it is overdrawn.
func (l *limiter) Charge(id *decisionapi.Identity, n int) time.Duration { return l.take(id, n, 0) }

// take takes n from the budget of id and returns 0 when at least least is left,
// or else how long until there is one. Whoever may say anything on this machine
// is not limited.
func (l *limiter) take(id *decisionapi.Identity, n int, least float64) time.Duration {
	if id.Kind == decisionapi.KindSelf {
		return 0
	}
	key := id.Kind + " " + id.Name
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	b := l.budgets.Get(key)
	wait := b.Wait(l.budgets.Rate, now, least)
	if wait == 0 {
		b.Take(n)
	}
	l.budgets.Put(key, b, now)
	return wait
}

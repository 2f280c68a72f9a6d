package app

import (
	"sync"
	"time"

	decisionapi "github.com/westworld-charter/charter/internal/httpapi/decision"
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
	rate float64
	now  func() time.Time

	mu      sync.Mutex
	buckets map[string]bucket // by kind and name; guarded by mu
	swept   time.Time         // when full buckets were last forgotten; guarded by mu
}

// bucket is a budget: left at a time, less than 0 after a batch overdrew it.
type bucket struct {
	left float64
	at   time.Time
}

func newLimiter(rate int, now func() time.Time) *limiter {
	return &limiter{rate: float64(rate), now: now, buckets: map[string]bucket{}}
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
	b, known := l.buckets[key]
	if !known {
		l.makeRoom(now)
		b = bucket{left: l.rate, at: now}
	}
	if passed := now.Sub(b.at); passed > 0 {
		b.left, b.at = min(b.left+passed.Seconds()*l.rate, l.rate), now
	}
	var wait time.Duration
	if b.left >= least {
		b.left -= float64(n)
	} else {
		wait = time.Duration((1 - b.left) / l.rate * float64(time.Second))
	}
	l.buckets[key] = b
	return wait
}

// makeRoom forgets the buckets that are full again, which changes nothing for
// anybody, and when there are none, an arbitrary one. It needs mu. Looking for
// full ones is not worth its time more often than they fill up.
func (l *limiter) makeRoom(now time.Time) {
	if len(l.buckets) < maxBuckets {
		return
	}
	if now.Sub(l.swept).Abs() >= time.Second {
		l.swept = now
		for key, b := range l.buckets {
			if b.left+now.Sub(b.at).Seconds()*l.rate >= l.rate {
				delete(l.buckets, key)
			}
		}
	}
	for key := range l.buckets {
		if len(l.buckets) < maxBuckets {
			return
		}
		delete(l.buckets, key)
	}
}

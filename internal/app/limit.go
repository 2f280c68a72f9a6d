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

// limiter gives every identity a budget of requests: rate a second, saved up for
// a second at most. Safe for concurrent use.
type limiter struct {
	rate float64
	now  func() time.Time

	mu      sync.Mutex
	buckets map[string]bucket // by kind and name; guarded by mu
	swept   time.Time         // when full buckets were last forgotten; guarded by mu
}

// bucket is a budget: left at a time.
type bucket struct {
	left float64
	at   time.Time
}

func newLimiter(rate int, now func() time.Time) *limiter {
	return &limiter{rate: float64(rate), now: now, buckets: map[string]bucket{}}
}

// take takes one request from the budget of id and returns 0, or how long until
// there is one again. Whoever may say anything on this machine is not limited.
func (l *limiter) take(id *decisionapi.Identity) time.Duration {
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
	if b.left >= 1 {
		b.left--
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

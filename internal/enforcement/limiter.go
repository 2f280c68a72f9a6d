package enforcement

import (
	"sync"
	"time"
)

const (
	// burst is how many reports somebody may send at once, and each is after how long
	// there may be another. Those who do not say who they are count as one.
	burst         = 60
	namedEach     = time.Second
	anonymousEach = 10 * time.Second
	maxReporters  = 10_000
)

// limiter bounds reports by who sends them.
type limiter struct {
	mu sync.Mutex
	// full is when the budget of a reporter will be whole again; guarded by mu.
	full map[string]time.Time
}

func newLimiter() limiter { return limiter{full: map[string]time.Time{}} }

// allow takes one report from the budget of a reporter, unless it is used up.
func (l *limiter) allow(reporter string, now time.Time) bool {
	each := namedEach
	if reporter == "" {
		each = anonymousEach
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	full := l.full[reporter]
	if full.Before(now) {
		full = now
	}
	if full.Sub(now) > (burst-1)*each {
		return false
	}
	if len(l.full) >= maxReporters {
		for who, at := range l.full {
			if at.Before(now) {
				delete(l.full, who)
			}
		}
	}
	if _, known := l.full[reporter]; !known && len(l.full) >= maxReporters {
		return false
	}
	l.full[reporter] = full.Add(each)
	return true
}

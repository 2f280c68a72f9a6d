package notify

import (
	"math"
	"time"
)

// The two ways that messages to a receiver take. One never waits for the other.
const (
	urgent   = 0 // what is critical
	ordinary = 1
	lanes    = 2
)

// rule limits how often a lane sends: a token bucket.
type rule struct {
	burst  float64       // messages that may follow each other
	refill time.Duration // until there may be one more
	gap    time.Duration // between any two
}

// ruleOf is the rule of a lane. Both together are at most 10 messages in 10 s, and 8
// a minute while something goes on and on.
func ruleOf(lane int) rule {
	if lane == urgent {
		return rule{burst: 4, refill: 10 * time.Second, gap: 500 * time.Millisecond}
	}
	return rule{burst: 1, refill: 30 * time.Second}
}

// pace is where a token bucket stands. The zero value is full.
type pace struct {
	Tokens float64   `json:"tokens"` // after the last message
	At     time.Time `json:"at"`     // of the last message
}

func (p pace) tokens(now time.Time, r rule) float64 {
	if p.At.IsZero() {
		return r.burst
	}
	return min(r.burst, p.Tokens+max(0, float64(now.Sub(p.At))/float64(r.refill)))
}

// wait returns how long until the next message may go.
func (p pace) wait(now time.Time, r rule) time.Duration {
	if p.At.IsZero() {
		return 0
	}
	missing := 1 - p.tokens(now, r)
	// A nanosecond of rounding must not make a worker spin.
	return max(0, r.gap-now.Sub(p.At), time.Duration(math.Ceil(missing*float64(r.refill))))
}

// take returns the pace after a message at now.
func (p pace) take(now time.Time, r rule) pace {
	return pace{max(0, p.tokens(now, r)-1), now}
}

// sound returns the pace as it can be used by a process whose clock may be behind the
// one that wrote it.
func (p pace) sound(now time.Time) pace {
	if p.At.After(now) {
		p.At = now
	}
	if math.IsNaN(p.Tokens) || p.Tokens < 0 || p.Tokens > 100 {
		p.Tokens = 0
	}
	return p
}

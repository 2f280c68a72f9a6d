// Package tokenbucket bounds how often something may be done: so many times at once, and
// then at a rate.
//
// [Bucket] is one budget; [Keyed] are those of many, of whom a bounded number is
// remembered. Neither is safe for concurrent use. Guaranteed are: in any time t not more
// is taken than the burst and what the rate brings in t, but for what overdraws it; a
// clock that goes back gives nothing.
package tokenbucket

import "time"

// Rate is what a budget holds at most, and after how many seconds one comes back.
type Rate struct{ Burst, Every float64 }

// Bucket is a budget: left at a time, less than 0 when it was overdrawn. The zero value
// is full.
type Bucket struct {
	left float64
	at   time.Time
}

// Wait is 0 when at least least is left, or else how long it takes until there is one.
func (b *Bucket) Wait(r Rate, now time.Time, least float64) time.Duration {
	if b.at.IsZero() {
		b.left, b.at = r.Burst, now
	}
	if passed := now.Sub(b.at); passed > 0 {
		b.left, b.at = min(b.left+passed.Seconds()/r.Every, r.Burst), now
	}
	if b.left >= least {
		return 0
	}
	return max(time.Duration((1-b.left)*r.Every*float64(time.Second)), 1)
}

// Take takes n, whether it is there or not.
func (b *Bucket) Take(n int) { b.left -= float64(n) }

// Keyed are budgets by key.
type Keyed[K comparable] struct {
	Rate
	most    int
	buckets map[K]Bucket
	swept   time.Time // when full ones were last forgotten
}

// NewKeyed returns full budgets, of which it remembers at most most.
func NewKeyed[K comparable](r Rate, most int) *Keyed[K] {
	return &Keyed[K]{Rate: r, most: most, buckets: map[K]Bucket{}}
}

// Len is how many are remembered.
func (k *Keyed[K]) Len() int { return len(k.buckets) }

// Get returns the budget of a key.
func (k *Keyed[K]) Get(key K) Bucket { return k.buckets[key] }

// Put remembers the budget of a key.
func (k *Keyed[K]) Put(key K, b Bucket, now time.Time) {
	if _, known := k.buckets[key]; !known && len(k.buckets) >= k.most {
		k.makeRoom(now)
	}
	k.buckets[key] = b
}

// makeRoom forgets the budgets that are full again, which changes nothing for anybody,
// and when there are none, an arbitrary one. Looking for full ones is not worth its time
// more often than they fill up.
func (k *Keyed[K]) makeRoom(now time.Time) {
	if now.Sub(k.swept).Abs() >= time.Second {
		k.swept = now
		for key, b := range k.buckets {
			if b.left+now.Sub(b.at).Seconds()/k.Every >= k.Burst {
				delete(k.buckets, key)
			}
		}
	}
	for key := range k.buckets {
		if len(k.buckets) < k.most {
			return
		}
		delete(k.buckets, key)
	}
}

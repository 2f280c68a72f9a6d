package tokenbucket

import (
	"testing"
	"time"
)

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func TestBucket(t *testing.T) {
	r := Rate{Burst: 2, Every: 10}
	var b Bucket
	for _, c := range []struct {
		after time.Duration // of noon
		least float64
		want  time.Duration
		take  int
	}{
		{0, 1, 0, 1},
		{0, 1, 0, 1},
		{0, 1, 10 * time.Second, 0},
		{4 * time.Second, 1, 6 * time.Second, 0},
		{-time.Hour, 1, 6 * time.Second, 0}, // a clock that goes back
		{10 * time.Second, 1, 0, 1},
		{10 * time.Second, 0, 0, 3}, // overdraws
		{10 * time.Second, 0, 40 * time.Second, 0},
		{50 * time.Second, 1, 0, 0},
		{24 * time.Hour, 2, 0, 2}, // not more than the burst
		{24 * time.Hour, 1, 10 * time.Second, 0},
	} {
		got := b.Wait(r, noon.Add(c.after), c.least)
		if diff := (got - c.want).Abs(); diff > time.Microsecond || (got == 0) != (c.want == 0) {
			t.Errorf("after %v: waits %v, want %v", c.after, got, c.want)
		}
		b.Take(c.take)
	}
}

// Whoever comes with many names pushes out those who rest first, and no more than there
// is room for are remembered.
func TestKeyed(t *testing.T) {
	k := NewKeyed[int](Rate{Burst: 2, Every: 1}, 100)
	now := noon
	take := func(key, n int) bool {
		b := k.Get(key)
		if b.Wait(k.Rate, now, 1) > 0 {
			return false
		}
		b.Take(n)
		k.Put(key, b, now)
		return true
	}
	if !take(1, 1000) || take(1, 1) || !take(2, 1) {
		t.Fatal("budgets are not one for each key")
	}
	for i := range 1000 {
		now = now.Add(100 * time.Millisecond)
		if !take(1000+i, 1) || k.Len() > 100 {
			t.Fatalf("key %d: %d are remembered", i, k.Len())
		}
	}
	if take(1, 1) {
		t.Error("who has overdrawn was forgotten before those who rest")
	}
	now = now.Add(time.Hour)
	for i := range 100 { // all rest; then there is room
		take(i+5000, 1)
	}
	if k.Len() > 100 {
		t.Errorf("%d are remembered", k.Len())
	}
	for i := range 1000 { // nobody rests
		if !take(10_000+i, 2) || k.Len() > 100 {
			t.Fatalf("key %d: %d are remembered", i, k.Len())
		}
	}
}

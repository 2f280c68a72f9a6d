package activation

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/westworld-charter/charter/internal/distribution"
	"github.com/westworld-charter/charter/internal/engine"
	"github.com/westworld-charter/charter/tests/releases"
)

// fakeSource is a source without a network. Offer replaces what it offers and wakes
// who waits, when it holds.
type fakeSource struct {
	holds bool

	mu      sync.Mutex
	made    *releases.Made
	err     error
	changed chan struct{}
	asked   []time.Time
}

func newFake(m *releases.Made, err error) *fakeSource {
	return &fakeSource{made: m, err: err, changed: make(chan struct{})}
}

func (s *fakeSource) offer(m *releases.Made, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made, s.err = m, err
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *fakeSource) Resolve(ctx context.Context, previous distribution.Resolved, wait time.Duration) (distribution.Resolved, error) {
	s.mu.Lock()
	s.asked = append(s.asked, time.Now())
	m, changed := s.made, s.changed
	s.mu.Unlock()
	if s.holds && wait > 0 && m != nil && m.Digest() == previous.Digest {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-changed:
		case <-ctx.Done():
			return distribution.Resolved{}, ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return distribution.Resolved{}, s.err
	}
	r := distribution.Resolved{Digest: s.made.Digest(), Manifest: s.made.Manifest.Bytes(), Statements: s.made.Statements}
	r.Unchanged = r.Digest == previous.Digest
	return r, nil
}

func (s *fakeSource) Layer(context.Context, distribution.Resolved) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.made.Archive, nil
}

// gaps returns how long it took from each question to the next.
func (s *fakeSource) gaps() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	var gaps []time.Duration
	for i := 1; i < len(s.asked); i++ {
		gaps = append(gaps, s.asked[i].Sub(s.asked[i-1]))
	}
	s.asked = nil
	return gaps
}

// runs starts a node on a source, in the bubble of synctest. The clock of the node is
// that of the bubble.
func runs(t *testing.T, source distribution.Source, change func(o *Options)) *node {
	t.Helper()
	n := newNode(t, source)
	n.trust.Store(releases.Trust(t, releases.Channel, "", releases.TrustedKey(t)))
	n.Now = time.Now
	n.Interval = 30 * time.Second
	change(&n.Options)
	n.engine = engine.NewWith(engine.Options{CacheSize: -1})
	a, err := Open(t.Context(), n.Options)
	if err != nil {
		t.Fatal(err)
	}
	n.Activator = a
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := a.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	n.halt = func() {
		cancel()
		<-done
		n.stop(t)
	}
	t.Cleanup(func() {
		n.halt()
		pass(time.Minute) // until the engine's workers are idle
	})
	return n
}

// pass lets time go by in the bubble of synctest.
func pass(d time.Duration) { <-time.After(d) }

func offered(t *testing.T, version int, sequence int64) *releases.Made {
	t.Helper()
	return releases.Release{Version: version, Sequence: sequence, Key: releases.TrustedKey(t)}.Make(t)
}

// The first poll is at once, then they come at the interval, varied so that a fleet
// does not march in step.
func TestPollsAtIntervals(t *testing.T) {
	first := offered(t, 1, 1)
	synctest.Test(t, func(t *testing.T) {
		source := newFake(first, nil)
		n := runs(t, source, func(o *Options) { o.Jitter = 0.2 })
		synctest.Wait()
		n.serves(t, 1)
		pass(20 * time.Minute)
		gaps := source.gaps()
		if len(gaps) < 36 || len(gaps) > 44 {
			t.Errorf("%d polls in 20 minutes", len(gaps))
		}
		if low, high := slices.Min(gaps), slices.Max(gaps); low < 24*time.Second || high > 36*time.Second || high-low < 3*time.Second {
			t.Errorf("intervals from %s to %s", low, high)
		}
		n.wantEvents(t, "activated")
	})
}

// A source in trouble is asked less and less often, and told about once.
func TestBacksOff(t *testing.T) {
	first := offered(t, 1, 1)
	synctest.Test(t, func(t *testing.T) {
		down := &distribution.Error{Code: distribution.CodeUnreachable, Where: "oci://x", Err: errors.New("no route")}
		source := newFake(first, down)
		n := runs(t, source, func(o *Options) { o.MaxBackoff = 4 * time.Minute })
		pass(time.Hour)
		gaps := source.gaps()
		for i, gap := range gaps {
			want := min(time.Minute<<min(i, 4), 4*time.Minute)
			if gap < want*9/10 || gap > want*11/10 {
				t.Errorf("gap %d is %s, want about %s", i, gap, want)
			}
		}
		n.wantEvents(t, "degraded unreachable")
		source.offer(first, nil)
		pass(5 * time.Minute)
		n.serves(t, 1)
		n.wantEvents(t, "activated", "recovered unreachable")
		source.gaps()
		pass(5 * time.Minute)
		if gaps := source.gaps(); slices.Max(gaps) > 33*time.Second {
			t.Errorf("after it is back: %v", gaps)
		}
	})
}

// What is refused is asked for again at the interval: the release that mends it must not
// come late. A source that holds polls and offers it at once is not asked in a row.
func TestRefusalsDoNotBackOff(t *testing.T) {
	bad, good := offered(t, 1, 1), offered(t, 1, 1)
	bad.Statements = nil
	for _, wait := range []time.Duration{0, 5 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			source := newFake(bad, nil)
			n := runs(t, source, func(o *Options) { o.LongPoll = wait })
			pass(20 * time.Minute)
			if gaps := source.gaps(); len(gaps) < 30 || len(gaps) > 44 {
				t.Errorf("%d polls in 20 minutes", len(gaps))
			}
			source.offer(good, nil)
			pass(34 * time.Second)
			n.serves(t, 1)
			n.wantEvents(t, "refused unsigned", "activated", "recovered unsigned")
		})
	}
}

// With long polls a release is in force when it is published, twice in a row as well,
// and nobody is asked more often than the poll lasts.
func TestLongPolls(t *testing.T) {
	first, second, third := offered(t, 1, 1), offered(t, 2, 3), offered(t, 3, 5)
	synctest.Test(t, func(t *testing.T) {
		source := newFake(first, nil)
		source.holds = true
		n := runs(t, source, func(o *Options) { o.LongPoll = 5 * time.Minute })
		pass(time.Hour)
		if gaps := source.gaps(); len(gaps) > 14 {
			t.Errorf("%d polls in an hour: %v", len(gaps), gaps)
		}
		source.offer(second, nil)
		synctest.Wait()
		n.serves(t, 2)
		source.offer(third, nil)
		synctest.Wait()
		n.serves(t, 3)

		// Somebody who wants to know now need not wait for the end of the long poll.
		began := time.Now()
		if _, err := n.Poll(t.Context()); err != nil || time.Since(began) != 0 {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		n.wantEvents(t, "activated", "activated", "activated")
	})
}

// With long polls, too, it is known at the next poll that a source is back, and news come
// at once from then on.
func TestLongPollsAfterAFailure(t *testing.T) {
	first, second := offered(t, 1, 1), offered(t, 2, 3)
	synctest.Test(t, func(t *testing.T) {
		source := newFake(first, nil)
		source.holds = true
		n := runs(t, source, func(o *Options) { o.LongPoll = time.Hour })
		pass(time.Minute)
		source.offer(nil, &distribution.Error{Code: distribution.CodeUnreachable, Where: "x", Err: errors.New("gone")})
		pass(10 * time.Minute)
		n.problem(t, distribution.CodeUnreachable)
		source.offer(first, nil)
		pass(5 * time.Minute) // the longest time between two polls
		n.problem(t, "")
		source.offer(second, nil)
		synctest.Wait()
		n.serves(t, 2)
	})
}

// A source that does not hold polls is asked at the interval.
func TestLongPollsWithoutSupport(t *testing.T) {
	first := offered(t, 1, 1)
	synctest.Test(t, func(t *testing.T) {
		source := newFake(first, nil)
		runs(t, source, func(o *Options) { o.LongPoll = 5 * time.Minute })
		pass(10 * time.Minute)
		if gaps := source.gaps(); len(gaps) > 24 {
			t.Errorf("%d polls in 10 minutes: %v", len(gaps), gaps)
		}
	})
}

// A statement that expires while there is no network shows when it happens, not with
// the next answer.
func TestExpiresWithoutNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		expires := time.Now().Add(90*time.Minute + 7*time.Second)
		source := newFake(releases.Release{Version: 1, Sequence: 1, Expires: expires, Key: releases.TrustedKey(t)}.Make(t), nil)
		n := runs(t, source, func(o *Options) { o.Interval, o.MaxBackoff = time.Hour, 24*time.Hour })
		synctest.Wait()
		source.offer(nil, &distribution.Error{Code: distribution.CodeUnreachable, Where: "oci://x", Err: errors.New("no route")})
		pass(time.Until(expires) - time.Second)
		if slices.Contains(n.take(), "degraded release_expired") {
			t.Error("too early")
		}
		pass(time.Second + time.Millisecond)
		synctest.Wait()
		n.wantEvents(t, "degraded release_expired")
		n.serves(t, 1)
		pass(24 * time.Hour)
		n.wantEvents(t)
	})
}

// Another trust policy counts at once. What does not satisfy it is served on, degraded,
// until something does, and not started with again.
func TestTrustChanges(t *testing.T) {
	w := newWorld(t)
	n := w.node
	n.start(t)
	made := w.publish(t, releases.Release{Version: 1, Sequence: 1})
	n.poll(t)
	n.take()
	n.trust.Store(releases.Trust(t, releases.Channel, "", releases.StrangeKey(t)))
	w.registry.Lie(silence)
	n.poll(t)
	n.wantEvents(t, "degraded untrusted_key", "degraded unreachable")
	n.serves(t, 1)
	w.registry.Lie(nil)
	if code := n.poll(t); code != "untrusted_key" {
		t.Errorf("code %q", code)
	}
	n.serves(t, 1)

	// The new signer states the same, and the disk gets to know.
	made.Statements = releases.Release{Version: 1, Sequence: 1, Key: releases.StrangeKey(t)}.Sign(t, made.Digest())
	w.registry.Publish(t, releases.Channel, made)
	if code := n.poll(t); code != "" {
		t.Errorf("code %q", code)
	}
	n.problem(t, "")
	w.registry.Lie(silence)
	n.start(t)
	n.serves(t, 1)
	n.problem(t, "")
}

// What puts a policy in force can fail; then nothing changed, and it is tried again.
func TestActivateFails(t *testing.T) {
	w := newWorld(t)
	n := w.node
	works := n.Activate
	n.start(t)
	w.publish(t, releases.Release{Version: 1, Sequence: 1})
	n.poll(t)
	n.take()
	w.publish(t, releases.Release{Version: 2, Sequence: 3})
	n.o.Activate = func(context.Context, Activation) error { return errors.New("the ledger is full") }
	for range 2 {
		if code := n.poll(t); code != CodeActivateFailed {
			t.Errorf("code %q", code)
		}
	}
	n.serves(t, 1)
	n.wantEvents(t, "degraded activate_failed")
	if s := n.Status(); s.Sequence != 1 || s.HighWater.Sequence != 1 {
		t.Errorf("%+v", s)
	}
	n.o.Activate = works
	n.poll(t)
	n.serves(t, 2)
	n.wantEvents(t, "activated", "recovered activate_failed")
}

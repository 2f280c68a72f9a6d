package engine

import (
	"context"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/westworld-charter/charter/internal/decision"
)

const (
	defaultCacheSize   = 1 << 16
	defaultVerifyEvery = 1 << 10
	verifyPause        = 20 * time.Millisecond
)

// Options are those of an [Engine]. The zero value is the recommended one.
type Options struct {
	// CacheSize is how many answers are kept per policy: 65,536 when 0, none and
	// no cache at all when negative. An entry takes about a kilobyte.
	CacheSize int
	// VerifyEvery is how many hits go by for one that is evaluated all the same
	// and compared: all are when 1, none when negative. 0 is one in 1,024 and at
	// most fifty a second, so that many hits stay cheap.
	VerifyEvery int
	// OnMismatch is called, in the goroutine that found it, when a cached answer
	// was not the evaluated one: a defect of the engine. The cache of that policy
	// is off by then.
	OnMismatch func(Mismatch)
}

// Mismatch is a question whose cached answer was wrong. Neither decision has an
// id, and neither may be modified.
type Mismatch struct {
	Input             decision.Input
	Cached, Evaluated decision.Decision
}

// Stats counts decisions since the engine was made, over all policies.
type Stats struct {
	Hits     uint64 // answered from the cache; those verified are among them
	Misses   uint64 // evaluated and kept
	Bypassed uint64 // evaluated because the question has no key, or there is no cache
	Repeated uint64 // answered like an equal question of the same batch
	Verified uint64 // hits that were evaluated and compared
	// Mismatches are hits that were not confirmed; more than 0 is an alarm.
	Mismatches uint64
	// Entries is how many answers the cache of the active policy holds, about.
	Entries int
	// Off says why the active policy has no cache, "" when it has.
	Off string
}

// pace lets something happen at most once in a pause; always when that is 0.
type pace struct {
	pause time.Duration
	next  atomic.Int64 // nanoseconds since 1970
}

func (p *pace) ready() bool {
	if p.pause == 0 {
		return true
	}
	now, next := time.Now().UnixNano(), p.next.Load()
	return (now >= next || now < next-int64(p.pause)) && p.next.CompareAndSwap(next, now+int64(p.pause))
}

// stripes is how many sets of counters there are, so that cores that count at
// the same time seldom share one; a power of two.
const stripes = 16

// counters is one stripe, alone on its cache lines.
type counters struct {
	hits, misses, bypassed, repeated, verified, mismatches atomic.Uint64

	_ [128 - 6*8]byte
}

// snapshot is a policy with its answers. It is made anew for every swap, so that no
// answer outlives its policy and what of its state it depends on.
type snapshot struct {
	*Policy
	*shared

	engine *Engine
}

// shared are the answers of the snapshots of a family. They hold also when a snapshot
// that is active no more adds one.
type shared struct {
	// answers is nil when there is no cache. Decisions in it are shared.
	answers *otter.Cache[key, *decision.Decision]
	broken  atomic.Bool // a mismatch was found
}

// following is the snapshot of p that follows another one, nil for none. It keeps the
// answers when both are of one family.
func (e *Engine) following(before *snapshot, p *Policy) *snapshot {
	if before == nil || before.keys == nil || p.keys == nil || before.keys.family != p.keys.family || before.broken.Load() {
		return e.snapshot(p)
	}
	return &snapshot{Policy: p, shared: before.shared, engine: e}
}

func (e *Engine) snapshot(p *Policy) *snapshot {
	s := &snapshot{Policy: p, shared: &shared{}, engine: e}
	if p.keys == nil || e.options.CacheSize < 0 {
		return s
	}
	cache, err := otter.New(&otter.Options[key, *decision.Decision]{MaximumSize: e.options.CacheSize})
	if err == nil { // it is about options that exclude each other
		s.answers = cache
	}
	return s
}

// off says why there is no cache, "" when there is one.
func (s *snapshot) off() string {
	switch {
	case s.answers == nil && s.keys != nil:
		return "caching is turned off"
	case s.broken.Load():
		return "a cached decision was not the evaluated one"
	default:
		return s.uncached
	}
}

// key returns the key of a question, false when it has to be evaluated.
func (s *snapshot) key(in *decision.Input) (key, bool) {
	if s.answers == nil {
		return key{}, false
	}
	return s.batchKey(in)
}

// batchKey is the same for questions of one batch, of which equal ones are decided
// once also when nothing is kept.
func (s *snapshot) batchKey(in *decision.Input) (key, bool) {
	if s.keys == nil || s.broken.Load() {
		return key{}, false
	}
	return s.keys.key(in)
}

// stripe spreads questions of different classes over the counters.
func (s *snapshot) stripe(k key) *counters {
	return &s.engine.counters[(k.metric*7+k.node)%stripes]
}

// decide answers from the cache or by evaluation. The answer is shared.
func (s *snapshot) decide(ctx context.Context, in *decision.Input) (*decision.Decision, error) {
	k, ok := s.key(in)
	if !ok {
		s.stripe(key{metric: uint32(len(in.Metric))}).bypassed.Add(1)
		return s.evaluate(ctx, in, anywhere)
	}
	return s.recall(ctx, k, in, anywhere)
}

func (s *snapshot) recall(ctx context.Context, k key, in *decision.Input, on where) (*decision.Decision, error) {
	if s.answers == nil {
		s.stripe(k).bypassed.Add(1)
		return s.evaluate(ctx, in, on)
	}
	cached, ok := s.answers.GetIfPresent(k)
	if !ok {
		s.stripe(k).misses.Add(1)
		s.engine.recent.add(in)
		return s.learn(ctx, k, in, on)
	}
	hits := s.stripe(k).hits.Add(1)
	if every := s.engine.options.VerifyEvery; every > 0 && hits%uint64(every) == 0 && s.engine.pace.ready() {
		return s.verify(ctx, k, in, on, cached)
	}
	return cached, nil
}

// evaluate decides by evaluation. What is kept of it names its sources already, so
// that a hit costs nothing more.
func (s *snapshot) evaluate(ctx context.Context, in *decision.Input, on where) (*decision.Decision, error) {
	var d decision.Decision
	var err error
	if on == here {
		d, err = s.Policy.Decide(ctx, *in)
	} else {
		d, err = s.engine.workers.decide(ctx, s.Policy, in)
	}
	d = s.Locate(d)
	return &d, err
}

// where is the goroutine of an evaluation.
type where bool

const (
	anywhere where = false // one of a worker: this one may be new
	here     where = true  // this one, which evaluates many questions
)

func (s *snapshot) learn(ctx context.Context, k key, in *decision.Input, on where) (*decision.Decision, error) {
	d, err := s.evaluate(ctx, in, on)
	if err == nil && ordinary(d) {
		s.answers.Set(k, d)
	}
	return d, err
}

// ordinary reports whether an answer may be kept: not that to a question which
// the rules find invalid, and not one for which they know no reason.
func ordinary(d *decision.Decision) bool {
	if d.Outcome == decision.InvalidRequest {
		return false
	}
	for i := range d.Reasons {
		if d.Reasons[i].Code == decision.CodeUndetermined {
			return false
		}
	}
	return true
}

// verify evaluates a hit. When the cache was wrong, it is off from then on and
// the evaluated answer counts.
func (s *snapshot) verify(ctx context.Context, k key, in *decision.Input, on where, cached *decision.Decision) (*decision.Decision, error) {
	d, err := s.evaluate(ctx, in, on)
	if err != nil && ctx.Err() != nil {
		return cached, nil // no time left to verify: a hit like any other
	}
	s.stripe(k).verified.Add(1)
	if err == nil && reflect.DeepEqual(*d, *cached) {
		return d, nil
	}
	s.stripe(k).mismatches.Add(1)
	s.broken.Store(true)
	if report := s.engine.options.OnMismatch; report != nil {
		report(Mismatch{Input: *in, Cached: *cached, Evaluated: *d})
	}
	return d, err
}

package engine

import (
	"context"
	"math/bits"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/westworld-charter/charter/internal/decision"
)

const (
	defaultCacheSize   = 1 << 16
	defaultVerifyEvery = 1 << 10
	maxAsked           = 1 << 14 // a power of two
	verifyPause        = 20 * time.Millisecond
	verifyShare        = 100
	maxRest            = 10 * time.Second
)

// Options are those of an [Engine]. The zero value is the recommended one.
type Options struct {
	// CacheSize is how many answers are kept per policy: 65,536 when 0, none and
	// no cache at all when negative. An entry takes about a kilobyte.
	CacheSize int
	// VerifyEvery is how many hits go by for one that the reference evaluator decides
	// as well, to compare, and how many evaluations: all are when 1, none when negative.
	// 0 is one in 1,024, at most fifty a second and for a hundredth of the time, so that
	// many answers stay cheap.
	VerifyEvery int
	// OnMismatch is called, in the goroutine that found it, when an answer was not
	// that of the reference: a defect of the engine. Cache and plan of that policy
	// are off by then, whatever state it gets.
	OnMismatch func(Mismatch)
}

// Mismatch is a question whose answer was wrong. Neither decision has an id, and
// neither may be modified.
type Mismatch struct {
	Input            decision.Input
	Given, Reference decision.Decision
}

// Stats counts decisions since the engine was made, over all policies.
type Stats struct {
	Hits     uint64 // answered from the cache; those verified are among them
	Misses   uint64 // evaluated and kept
	Bypassed uint64 // evaluated because the question has no key, or there is no cache
	Repeated uint64 // answered like an equal question of the same batch
	Verified uint64 // answers that were compared with those of the reference
	// Mismatches are answers that were not confirmed; more than 0 is an alarm.
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
	return (now >= next || now < next-int64(maxRest)) && p.next.CompareAndSwap(next, now+int64(p.pause))
}

// rest makes the pause after something that took long so long that it happens for a
// hundredth of the time at most.
func (p *pace) rest(took time.Duration) {
	if rest := min(took*verifyShare, maxRest); p.pause > 0 && rest > p.pause {
		p.next.Store(time.Now().UnixNano() + int64(rest))
	}
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

	reference *Policy // the same, evaluated by the reference
	engine    *Engine

	// asked are questions that were answered, in front of answers: for them nobody
	// need make a key.
	asked *memo[answered]
}

// answered is what is remembered of a question.
type answered struct {
	holds      span // in which the key, and so the answer, is the same
	answer     *decision.Decision
	suggestion string
	counted    *counters
}

// shared are the answers of the snapshots of a family. They hold also when a snapshot
// that is active no more adds one.
type shared struct {
	// answers is nil when there is no cache. Decisions in it are shared.
	answers *otter.Cache[key, *decision.Decision]
}

// following is the snapshot of p that follows another one, nil for none. It keeps the
// answers when both are of one family.
func (e *Engine) following(before *snapshot, p *Policy) *snapshot {
	if before == nil || before.keys == nil || p.keys == nil || before.keys.family != p.keys.family {
		return e.snapshot(p)
	}
	return &snapshot{Policy: p, shared: before.shared, reference: p.Reference(), engine: e, asked: e.newAsked()}
}

func (e *Engine) snapshot(p *Policy) *snapshot {
	s := &snapshot{Policy: p, shared: &shared{}, reference: p.Reference(), engine: e}
	if p.keys == nil || e.options.CacheSize < 0 {
		return s
	}
	cache, err := otter.New(&otter.Options[key, *decision.Decision]{MaximumSize: e.options.CacheSize})
	if err == nil { // it is about options that exclude each other
		s.answers, s.asked = cache, e.newAsked()
	}
	return s
}

// newAsked has no more room than the cache; nil when there is none.
func (e *Engine) newAsked() *memo[answered] {
	if e.options.CacheSize < 0 {
		return nil
	}
	return newMemo[answered](1 << bits.Len(uint(min(e.options.CacheSize, maxAsked-1))))
}

// off says why there is no cache, "" when there is one.
func (s *snapshot) off() string {
	switch {
	case s.answers == nil && s.keys != nil:
		return "caching is turned off"
	case s.mistaken.Load():
		return "a decision was not that of the reference evaluator"
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
	if s.keys == nil || s.mistaken.Load() {
		return key{}, false
	}
	return s.keys.key(in)
}

// stripe spreads questions of different classes over the counters.
func (s *snapshot) stripe(k key) *counters {
	return &s.engine.counters[(k.metric*7+k.node)%stripes]
}

// decide answers from the cache or by evaluation. The answer is shared, the suggestion
// belongs to the question.
func (s *snapshot) decide(ctx context.Context, in *decision.Input) (d *decision.Decision, suggestion string, err error) {
	var r reading
	if s.answers == nil || s.mistaken.Load() || !s.keys.read(in, &r) {
		return s.bypass(ctx, in)
	}
	if last := s.asked.getBytes(r.text()); last != nil && last.holds.has(r.now) {
		d, err = s.hit(ctx, last.counted, in, last.answer)
		return d, last.suggestion, err
	}
	k, holds, ok := s.keys.keyOf(in, &r)
	if !ok {
		return s.bypass(ctx, in)
	}
	d, err = s.recall(ctx, k, in)
	suggestion = s.suggestion(d, in.Metric)
	if err == nil && r.size > 0 && ordinary(d) && !s.mistaken.Load() {
		s.asked.put(r.text(), answered{holds, d, suggestion, s.stripe(k)})
	}
	return d, suggestion, err
}

func (s *snapshot) bypass(ctx context.Context, in *decision.Input) (*decision.Decision, string, error) {
	s.stripe(key{metric: uint32(len(in.Metric))}).bypassed.Add(1)
	d, err := s.evaluate(ctx, in)
	return d, s.suggestion(d, in.Metric), err
}

func (s *snapshot) recall(ctx context.Context, k key, in *decision.Input) (*decision.Decision, error) {
	if s.answers == nil {
		s.stripe(k).bypassed.Add(1)
		return s.evaluate(ctx, in)
	}
	cached, ok := s.answers.GetIfPresent(k)
	if !ok {
		s.stripe(k).misses.Add(1)
		s.engine.recent.add(in)
		return s.learn(ctx, k, in)
	}
	return s.hit(ctx, s.stripe(k), in, cached)
}

// hit counts an answer from the cache and, now and then, has it verified.
func (s *snapshot) hit(ctx context.Context, counted *counters, in *decision.Input, cached *decision.Decision) (*decision.Decision, error) {
	if s.engine.due(counted.hits.Add(1)) {
		return s.verify(ctx, in, cached)
	}
	return cached, nil
}

// due reports whether the nth answer is to be compared with that of the reference.
func (e *Engine) due(n uint64) bool {
	every := e.options.VerifyEvery
	return every > 0 && n%uint64(every) == 0 && e.pace.ready()
}

// evaluate decides by evaluation: by the plan as long as it was never wrong.
func (s *snapshot) evaluate(ctx context.Context, in *decision.Input) (*decision.Decision, error) {
	if s.mistaken.Load() {
		return s.ask(ctx, s.reference, in)
	}
	d, err := s.ask(ctx, s.Policy, in)
	if err == nil && s.engine.due(s.engine.evaluations.Add(1)) {
		return s.verify(ctx, in, d)
	}
	return d, err
}

// ask has a policy evaluate. What is kept of the answer names its sources already, so
// that a hit costs nothing more.
func (s *snapshot) ask(ctx context.Context, p *Policy, in *decision.Input) (*decision.Decision, error) {
	d, err := p.Decide(ctx, *in)
	d = s.Locate(d)
	return &d, err
}

func (s *snapshot) learn(ctx context.Context, k key, in *decision.Input) (*decision.Decision, error) {
	d, err := s.evaluate(ctx, in)
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

// verify has the reference decide what was answered. When the answer was wrong, that of
// the reference counts, and neither cache nor plan is used from then on.
func (s *snapshot) verify(ctx context.Context, in *decision.Input, given *decision.Decision) (*decision.Decision, error) {
	began := time.Now()
	d, err := s.ask(ctx, s.reference, in)
	s.engine.pace.rest(time.Since(began))
	if err != nil && ctx.Err() != nil {
		return given, nil // no time left to verify
	}
	counted := &s.engine.counters[len(in.Metric)%stripes]
	counted.verified.Add(1)
	if err == nil && reflect.DeepEqual(*d, *given) {
		return d, nil
	}
	counted.mismatches.Add(1)
	s.mistaken.Store(true)
	if report := s.engine.options.OnMismatch; report != nil {
		report(Mismatch{Input: *in, Given: *given, Reference: *d})
	}
	return d, err
}

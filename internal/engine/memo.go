package engine

import (
	"hash/maphash"
	"math/rand/v2"
	"strings"
	"sync/atomic"

	"github.com/westworld-charter/charter/internal/decision"
)

const (
	// memoSize is how many names of metrics or nodes are remembered at most, and
	// fewNames how many of what there are not many of; powers of two.
	memoSize = 1 << 14
	fewNames = 1 << 8
	// memoEvery is how often a remembered name gives way to another: rarely, so
	// that a flood of new names does not push out those that come again.
	memoEvery = 8
)

// memo remembers what follows from a name, for as many names as have room: each
// has two slots to stand in, found by hash. It never waits and is safe for
// concurrent use.
type memo[T any] struct {
	seed  maphash.Seed
	slots []atomic.Pointer[remembered[T]]
}

// remembered never changes.
type remembered[T any] struct {
	name  string
	value T
}

// newMemo remembers up to size names, a power of two.
func newMemo[T any](size int) *memo[T] {
	return &memo[T]{seed: maphash.MakeSeed(), slots: make([]atomic.Pointer[remembered[T]], size)}
}

// pair returns the two slots of a name: neighbours, which are on one line of the processor's cache.
func (m *memo[T]) pair(name string) (first, second *atomic.Pointer[remembered[T]]) {
	i := maphash.String(m.seed, name) & uint64(len(m.slots)-1)
	return &m.slots[i], &m.slots[i^1]
}

func (m *memo[T]) get(name string) (value T, ok bool) {
	first, second := m.pair(name)
	if last := first.Load(); last != nil && last.name == name {
		return last.value, true
	}
	if last := second.Load(); last != nil && last.name == name {
		return last.value, true
	}
	return value, false
}

func (m *memo[T]) put(name string, value T) {
	if len(name) > decision.MaxNameBytes {
		return // no valid question has it
	}
	slot, second := m.pair(name)
	if slot.Load() != nil && (second.Load() == nil || rand.Uint32()%2 == 0) {
		slot = second
	}
	if slot.Load() == nil || rand.Uint32()%memoEvery == 0 {
		slot.Store(&remembered[T]{strings.Clone(name), value})
	}
}

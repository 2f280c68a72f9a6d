package engine

import (
	"hash/maphash"
	"math/rand/v2"
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

// pair returns the two slots of a hash: neighbours, which are on one line of the processor's cache.
func (m *memo[T]) pair(hash uint64) (first, second *atomic.Pointer[remembered[T]]) {
	i := hash & uint64(len(m.slots)-1)
	return &m.slots[i], &m.slots[i^1]
}

// get returns what is remembered of a name, nil for nothing. It never changes.
func (m *memo[T]) get(name string) *T {
	first, second := m.pair(maphash.String(m.seed, name))
	if last := first.Load(); last != nil && last.name == name {
		return &last.value
	}
	if last := second.Load(); last != nil && last.name == name {
		return &last.value
	}
	return nil
}

// getBytes is get for a name that is no string yet.
func (m *memo[T]) getBytes(name []byte) *T {
	first, second := m.pair(maphash.Bytes(m.seed, name))
	if last := first.Load(); last != nil && last.name == string(name) {
		return &last.value
	}
	if last := second.Load(); last != nil && last.name == string(name) {
		return &last.value
	}
	return nil
}

// put remembers a name in the place of what was known of it, in a free slot or, now and
// then, in that of another.
func (m *memo[T]) put(name []byte, value T) {
	if len(name) > decision.MaxNameBytes {
		return // no valid question has it
	}
	first, second := m.pair(maphash.Bytes(m.seed, name))
	slot := first
	switch a, b := first.Load(), second.Load(); {
	case a != nil && a.name == string(name):
	case b != nil && b.name == string(name):
		slot = second
	case a == nil:
	case b == nil:
		slot = second
	case rand.Uint32()%memoEvery != 0:
		return
	case rand.Uint32()%2 == 0:
		slot = second
	}
	slot.Store(&remembered[T]{string(name), value})
}

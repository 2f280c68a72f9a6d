package engine

import (
	"hash/maphash"
	"math/rand/v2"
	"strings"
	"sync/atomic"

	"github.com/westworld-charter/charter/internal/decision"
)

const (
	// memoSize is how many names are remembered at most; a power of two.
	memoSize = 1 << 12
	// memoEvery is how often a remembered name gives way to another: rarely, so
	// that a flood of new names does not push out those that come again.
	memoEvery = 8
)

// memo remembers what follows from a name, for as many names as have room: one
// per slot, found by hash. It never waits and is safe for concurrent use.
type memo[T any] struct {
	seed  maphash.Seed
	slots [memoSize]atomic.Pointer[remembered[T]]
}

// remembered never changes.
type remembered[T any] struct {
	name  string
	value T
}

func (m *memo[T]) slot(name string) *atomic.Pointer[remembered[T]] {
	return &m.slots[maphash.String(m.seed, name)%memoSize]
}

func (m *memo[T]) get(name string) (value T, ok bool) {
	if last := m.slot(name).Load(); last != nil && last.name == name {
		return last.value, true
	}
	return value, false
}

func (m *memo[T]) put(name string, value T) {
	slot := m.slot(name)
	if len(name) > decision.MaxNameBytes {
		return // no valid question has it
	}
	if slot.Load() == nil || rand.Uint32()%memoEvery == 0 {
		slot.Store(&remembered[T]{strings.Clone(name), value})
	}
}

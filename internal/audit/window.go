package audit

import (
	"cmp"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/ledger"
)

const (
	// maxTuple is how many bytes of a window one question may take: more is not
	// told apart, since a window has to fit into entries and into memory.
	maxTuple = 8 << 10
	// perTuple is how many bytes questions may take on average.
	perTuple = 512
)

// shards is how many parts of a window are counted in independently; a power of
// two.
const shards = 32

// window counts allowances between two times.
type window struct {
	id       string
	from     time.Time
	seed     maphash.Seed
	limit    int64 // of distinct questions
	parts    [shards]shard
	distinct atomic.Int64
	bytes    atomic.Int64  // of distinct questions, as they are recorded
	overflow atomic.Uint64 // counted, not told apart
	used     atomic.Bool
}

type shard struct {
	mu     sync.Mutex
	closed bool                // nothing is counted any more; guarded by mu
	byHash map[uint64][]*tuple // guarded by mu
}

// tuple is a question that was allowed, and how often.
type tuple struct {
	ledger.Counted
	count uint64
}

func newWindow(id string, from time.Time, limit int) *window {
	return &window{id: id, from: from, seed: maphash.MakeSeed(), limit: int64(limit)}
}

// count adds one; false when the window is closed.
func (w *window) count(in *decision.Input, d *decision.Decision) bool {
	hash := w.hash(in, d)
	s := &w.parts[hash%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	for _, t := range s.byHash[hash] {
		if t.is(in, d) {
			t.count++
			return true
		}
	}
	w.used.Store(true)
	t := w.admit(in, d)
	if t == nil {
		w.overflow.Add(1)
		return true
	}
	if s.byHash == nil {
		s.byHash = map[uint64][]*tuple{}
	}
	s.byHash[hash] = append(s.byHash[hash], t)
	return true
}

// admit makes a tuple, nil when there is no room for it.
func (w *window) admit(in *decision.Input, d *decision.Decision) *tuple {
	if w.distinct.Load() >= w.limit || w.bytes.Load() >= w.limit*perTuple {
		return nil
	}
	t := newTuple(in, d)
	text, err := json.Marshal(t.Counted)
	size := int64(len(text))
	if err != nil || size > maxTuple {
		return nil
	}
	if w.distinct.Add(1) > w.limit || w.bytes.Add(size) > w.limit*perTuple {
		return nil // the window is full from now on, if not to the last byte
	}
	return t
}

// close ends counting and returns what was counted, in an order of its own.
func (w *window) close() []ledger.Counted {
	var all []ledger.Counted
	for i := range w.parts {
		s := &w.parts[i]
		s.mu.Lock()
		s.closed = true
		for _, tuples := range s.byHash {
			for _, t := range tuples {
				t.Count = t.count
				all = append(all, t.Counted)
			}
		}
		s.mu.Unlock()
	}
	slices.SortFunc(all, compareCounted)
	return all
}

// hash does not allocate. Labels and claims count as sets: the order in which a
// map gives them does not matter.
func (w *window) hash(in *decision.Input, d *decision.Decision) uint64 {
	var h maphash.Hash
	h.SetSeed(w.seed)
	for _, s := range [...]string{in.Metric, in.Node, in.Role, in.Operation, in.Purpose, in.Retention, d.Clause, d.Outcome, d.Revision} {
		_, _ = h.WriteString(s) // it cannot fail
		_ = h.WriteByte(0xff)   // in no UTF-8 text
	}
	sum := h.Sum64()
	for name, value := range in.Labels {
		if value != "" {
			sum += maphash.String(w.seed, name) * 3
		}
	}
	for i, claim := range in.Claims {
		if !slices.Contains(in.Claims[:i], claim) {
			sum += maphash.String(w.seed, claim) * 5
		}
	}
	return sum
}

func newTuple(in *decision.Input, d *decision.Decision) *tuple {
	return &tuple{count: 1, Counted: ledger.Counted{
		Metric: strings.Clone(in.Metric), Node: strings.Clone(in.Node), Role: strings.Clone(in.Role),
		Operation: strings.Clone(in.Operation), Purpose: strings.Clone(in.Purpose), Retention: strings.Clone(in.Retention),
		Labels: clones(names(in.Labels)), Claims: clones(claims(in.Claims)),
		Clause: d.Clause, Outcome: d.Outcome, Revision: d.Revision,
	}}
}

// is reports whether it is the same question with the same answer. It does not
// allocate.
func (t *tuple) is(in *decision.Input, d *decision.Decision) bool {
	if t.Metric != in.Metric || t.Node != in.Node || t.Role != in.Role || t.Operation != in.Operation ||
		t.Purpose != in.Purpose || t.Retention != in.Retention ||
		t.Clause != d.Clause || t.Outcome != d.Outcome || t.Revision != d.Revision {
		return false
	}
	sent := 0
	for name, value := range in.Labels {
		if value == "" {
			continue
		}
		sent++
		if _, found := slices.BinarySearch(t.Labels, name); !found {
			return false
		}
	}
	held := 0
	for i, claim := range in.Claims {
		if slices.Contains(in.Claims[:i], claim) {
			continue
		}
		held++
		if _, found := slices.BinarySearch(t.Claims, claim); !found {
			return false
		}
	}
	return sent == len(t.Labels) && held == len(t.Claims)
}

func compareCounted(a, b ledger.Counted) int {
	return cmp.Or(
		cmp.Compare(a.Metric, b.Metric), cmp.Compare(a.Node, b.Node), cmp.Compare(a.Role, b.Role),
		cmp.Compare(a.Operation, b.Operation), cmp.Compare(a.Purpose, b.Purpose), cmp.Compare(a.Retention, b.Retention),
		cmp.Compare(a.Clause, b.Clause), cmp.Compare(a.Outcome, b.Outcome), cmp.Compare(a.Revision, b.Revision),
		slices.Compare(a.Labels, b.Labels), slices.Compare(a.Claims, b.Claims),
	)
}

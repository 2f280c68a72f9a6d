package enforcement

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/westworld-charter/charter/internal/durable"
	"github.com/westworld-charter/charter/internal/ledger"
)

const (
	// markEvery is by how many entries a mark may be behind.
	markEvery = 10_000
	maxMark   = 256 << 20 // bytes of the file
)

// mark is how far denials were counted, in a file that spares reading all of them at
// every start. It holds nothing that loosens anything: whatever has a consequence is
// read from the ledger all the same. A mark that does not fit the ledger is passed
// over, and all denials are read.
type mark struct {
	Schema int    `json:"schema"`
	Next   uint64 `json:"next"` // index of the first denial that is not counted
	// Leaf is the hash of the entry before, which says that it is of this ledger.
	Leaf      string            `json:"leaf"`
	Incidents map[string]counts `json:"incidents"` // by id of the violation
}

// counts are the denials that belong to an incident.
type counts struct {
	Denials int       `json:"denials"`
	Last    time.Time `json:"last"`
}

// recall reads the mark and folds what is before it without the denials. It returns
// without a trace when there is no mark that fits. It needs mu.
func (e *Enforcer) recall(ctx context.Context, size uint64) error {
	if e.Mark == "" {
		return nil
	}
	var at time.Time
	m, err := readMark(e.Mark)
	if err == nil {
		at, err = e.fits(ctx, m, size)
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		e.Logger.Warn("the mark of what was counted is of no use; all denials are read", "path", e.Mark, "error", err.Error())
		return nil
	}
	filter := ledger.Filter{Kinds: own(), Before: m.Next}
	if m.Next > 0 {
		if err := e.each(e.History.Find(ctx, filter), func(ev *event) { e.state.apply(ev) }); err != nil {
			return err
		}
	}
	if err := e.state.resume(m, at); err != nil {
		e.Logger.Warn("the mark of what was counted is of no use; all denials are read", "path", e.Mark, "error", err.Error())
		e.state = newState()
	}
	return nil
}

func readMark(path string) (*mark, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxMark {
		return nil, fmt.Errorf("it is larger than %d bytes", maxMark)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	m := &mark{}
	if err := json.Unmarshal(text, m); err != nil {
		return nil, err
	}
	if m.Schema != 1 {
		return nil, fmt.Errorf("its schema is %d", m.Schema)
	}
	return m, nil
}

// fits reports whether a mark is of this ledger, and of what time.
func (e *Enforcer) fits(ctx context.Context, m *mark, size uint64) (time.Time, error) {
	if m.Next == 0 || m.Next > size {
		return time.Time{}, fmt.Errorf("it is of index %d, and there are %d entries", m.Next, size)
	}
	leaf, at, err := e.leaf(ctx, m.Next-1)
	if err == nil && leaf != m.Leaf {
		err = fmt.Errorf("entry %d is another one", m.Next-1)
	}
	return at, err
}

func (e *Enforcer) leaf(ctx context.Context, index uint64) (hash string, at time.Time, err error) {
	for row, err := range e.History.Rows(ctx, index, index+1) {
		return hex.EncodeToString(row.Hash[:]), time.Unix(0, row.Time), err
	}
	return "", at, fmt.Errorf("entry %d: %w", index, ledger.ErrNotFound)
}

// resume takes over what was counted until a time.
func (s *state) resume(m *mark, at time.Time) error {
	for id, v := range s.violations {
		if v.Source != ledger.FromDenial {
			continue
		}
		c, counted := m.Incidents[id]
		if !counted || c.Denials < 1 || c.Last.Before(v.Time) || c.Last.After(at) {
			return fmt.Errorf("it does not agree about %s", id)
		}
		v.Denials, v.Last = c.Denials, c.Last
		if t := s.threads[thread{v.Node, v.Clause}]; t.incident == id {
			t.last = c.Last
		}
	}
	s.next = m.Next
	return nil
}

// keepMark writes the mark when the one before is far behind, or at the end. Whoever
// calls it holds turn.
func (e *Enforcer) keepMark(ctx context.Context, final bool) {
	if e.Mark == "" {
		return
	}
	e.mu.RLock()
	m := mark{Schema: 1, Next: e.state.next, Incidents: map[string]counts{}}
	settled := len(e.state.waiting) == 0 && len(e.state.due) == 0
	if due := m.Next > e.marked && (final || m.Next-e.marked >= markEvery); !due || !settled {
		e.mu.RUnlock()
		return
	}
	for id, v := range e.state.violations {
		if v.Source == ledger.FromDenial {
			m.Incidents[id] = counts{v.Denials, v.Last}
		}
	}
	e.mu.RUnlock()
	leaf, _, err := e.leaf(ctx, m.Next-1)
	var text []byte
	if m.Leaf = leaf; err == nil {
		text, err = json.Marshal(m)
	}
	if err == nil {
		err = durable.WriteFile(e.Mark, text)
	}
	if err != nil {
		e.Logger.Warn("the mark of what was counted cannot be written; the next start reads all denials", "path", e.Mark, "error", err.Error())
	}
	e.marked = m.Next // also after a failure: it will be tried again later
}

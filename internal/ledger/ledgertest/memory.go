// Package ledgertest helps to test what writes or reads a ledger: a store in
// memory that can be made to fail. Nothing that runs in production imports it.
package ledgertest

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"

	"github.com/westworld-charter/charter/internal/ledger"
)

// Memory is a [ledger.Store] in memory. The fields and the methods may be used at
// the same time only under [Memory.Lock].
type Memory struct {
	sync.Mutex
	Entries   []ledger.Row
	Full      map[[2]uint64][]byte // by level and index
	Signed    map[uint64][]byte    // checkpoints by size
	Cosigned  map[uint64][]byte
	Misfiled  *uint64                         // what Reconcile finds
	FailProbe error                           // returned by Probe
	Closed    bool                            // Close was called
	OnCommit  func(ledger.Commit) error       // asked before a commit; its error fails it
	AfterFail func(ledger.Commit) (done bool) // whether the failed commit has happened all the same
}

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{Full: make(map[[2]uint64][]byte), Signed: make(map[uint64][]byte), Cosigned: make(map[uint64][]byte)}
}

var _ ledger.Store = (*Memory)(nil)

// Head returns the size and the latest checkpoint.
func (m *Memory) Head(ctx context.Context) (uint64, []byte, error) {
	m.Lock()
	defer m.Unlock()
	size := uint64(len(m.Entries))
	if size == 0 {
		return 0, nil, ctx.Err()
	}
	signed := m.Signed[size]
	if signed == nil {
		return 0, nil, fmt.Errorf("%w: no checkpoint of size %d", ledger.ErrDamaged, size)
	}
	return size, bytes.Clone(signed), ctx.Err()
}

// Commit appends, unless OnCommit refuses.
func (m *Memory) Commit(ctx context.Context, c ledger.Commit) error {
	if m.OnCommit != nil {
		if err := m.OnCommit(c); err != nil {
			if m.AfterFail != nil && m.AfterFail(c) {
				m.Lock()
				defer m.Unlock()
				m.apply(c)
			}
			return err
		}
	}
	m.Lock()
	defer m.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.From != uint64(len(m.Entries)) {
		return fmt.Errorf("%w: size is %d, not %d", ledger.ErrOutrun, len(m.Entries), c.From)
	}
	if c.Witnessed != nil {
		if _, size, _, err := ledger.ParseCheckpoint(c.Witnessed); err != nil || size > c.From+uint64(len(c.Rows)) {
			return fmt.Errorf("%w: a checkpoint of size %d was cosigned (%v)", ledger.ErrOutrun, size, err)
		}
	}
	m.apply(c)
	return nil
}

func (m *Memory) apply(c ledger.Commit) {
	for _, row := range c.Rows {
		row.Body = bytes.Clone(row.Body)
		m.Entries = append(m.Entries, row)
	}
	for _, tile := range c.Tiles {
		m.Full[[2]uint64{uint64(tile.Level), tile.Index}] = bytes.Clone(tile.Data)
	}
	if len(c.Rows) > 0 {
		m.Signed[uint64(len(m.Entries))] = bytes.Clone(c.Checkpoint)
	}
	if c.Witnessed != nil {
		if _, size, _, err := ledger.ParseCheckpoint(c.Witnessed); err == nil {
			m.Cosigned[size] = bytes.Clone(c.Witnessed)
		}
	}
}

// Tile returns a full tile.
func (m *Memory) Tile(ctx context.Context, level int, index uint64) ([]byte, error) {
	m.Lock()
	defer m.Unlock()
	data := m.Full[[2]uint64{uint64(level), index}]
	if data == nil {
		return nil, ledger.ErrNotFound
	}
	return bytes.Clone(data), ctx.Err()
}

// Rows visits entries in order.
func (m *Memory) Rows(ctx context.Context, from, to uint64) iter.Seq2[ledger.Row, error] {
	return func(yield func(ledger.Row, error) bool) {
		for i := from; i < to; i++ {
			m.Lock()
			if i >= uint64(len(m.Entries)) {
				m.Unlock()
				return
			}
			row := m.Entries[i]
			row.Body = bytes.Clone(row.Body)
			m.Unlock()
			if err := ctx.Err(); err != nil {
				yield(ledger.Row{}, err)
				return
			}
			if !yield(row, nil) {
				return
			}
		}
	}
}

// Find looks at every entry.
func (m *Memory) Find(ctx context.Context, f ledger.Filter) iter.Seq2[ledger.Row, error] {
	return func(yield func(ledger.Row, error) bool) {
		m.Lock()
		rows := slices.Clone(m.Entries)
		m.Unlock()
		if f.Newest {
			slices.Reverse(rows)
		}
		found := 0
		for _, row := range rows {
			if row.Index < f.From || f.Before > 0 && row.Index >= f.Before || row.Body == nil || !f.Match(row.Columns, row.Body) {
				continue
			}
			if err := ctx.Err(); err != nil {
				yield(ledger.Row{}, err)
				return
			}
			found++
			if !yield(row, nil) || found == f.Limit {
				return
			}
		}
	}
}

// Request looks at every entry.
func (m *Memory) Request(ctx context.Context, principal, id string) ([32]byte, uint64, error) {
	m.Lock()
	defer m.Unlock()
	for _, row := range m.Entries {
		if row.Request != [32]byte{} && row.Principal == principal && row.RequestID == id {
			return row.Request, row.Index, ctx.Err()
		}
	}
	return [32]byte{}, 0, ledger.ErrNotFound
}

// Checkpoints visits all checkpoints.
func (m *Memory) Checkpoints(ctx context.Context, from uint64) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		m.Lock()
		var all [][]byte
		for size := from; size <= uint64(len(m.Entries)); size++ {
			if signed := m.Cosigned[size]; signed != nil {
				all = append(all, signed)
			} else if signed := m.Signed[size]; signed != nil {
				all = append(all, signed)
			}
		}
		m.Unlock()
		for _, signed := range all {
			if err := ctx.Err(); err != nil {
				yield(nil, err)
				return
			}
			if !yield(bytes.Clone(signed), nil) {
				return
			}
		}
	}
}

// Witnessed returns the first checkpoint with cosignatures of a size from on.
func (m *Memory) Witnessed(ctx context.Context, from uint64) ([]byte, error) {
	m.Lock()
	defer m.Unlock()
	for size := from; size <= uint64(len(m.Entries)); size++ {
		if signed := m.Cosigned[size]; signed != nil {
			return bytes.Clone(signed), ctx.Err()
		}
	}
	return nil, ledger.ErrNotFound
}

// Reconcile returns Misfiled.
func (m *Memory) Reconcile(ctx context.Context) (uint64, error) {
	m.Lock()
	defer m.Unlock()
	if m.Misfiled != nil {
		return *m.Misfiled, nil
	}
	return uint64(len(m.Entries)), ctx.Err()
}

// Prune forgets bodies and columns.
func (m *Memory) Prune(ctx context.Context, below uint64) error {
	m.Lock()
	defer m.Unlock()
	for i := range m.Entries[:min(below, uint64(len(m.Entries)))] {
		row := &m.Entries[i]
		*row = ledger.Row{Index: row.Index, Hash: row.Hash}
	}
	return ctx.Err()
}

// Probe returns FailProbe.
func (m *Memory) Probe(ctx context.Context) error {
	m.Lock()
	defer m.Unlock()
	if m.FailProbe != nil {
		return m.FailProbe
	}
	return ctx.Err()
}

// Close takes note that it was called.
func (m *Memory) Close() error {
	m.Lock()
	defer m.Unlock()
	m.Closed = true
	return nil
}

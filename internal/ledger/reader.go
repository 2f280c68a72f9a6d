package ledger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"sync"

	"golang.org/x/mod/sumdb/tlog"
)

// Reader reads a log and proves what is in it. It verifies no signatures: what it
// returns convinces whoever holds the keys. Methods are safe for concurrent use.
type Reader struct {
	store  Store
	origin string

	mu   sync.Mutex
	edge *frontier // of some size that the log had; hashes below it are final
}

// NewReader returns a reader of a store that another process may append to.
func NewReader(s Store, origin string) *Reader { return &Reader{store: s, origin: origin} }

// Origin returns the name of the log.
func (r *Reader) Origin() string { return r.origin }

// Checkpoint returns the latest checkpoint; [ErrNotFound] for an empty log.
func (r *Reader) Checkpoint(ctx context.Context) ([]byte, error) {
	_, signed, err := r.head(ctx)
	return signed, err
}

// Size returns the number of entries.
func (r *Reader) Size(ctx context.Context) (uint64, error) {
	size, _, err := r.store.Head(ctx)
	return size, err
}

// Witnessed returns the first checkpoint with cosignatures of a size from on;
// [ErrNotFound].
func (r *Reader) Witnessed(ctx context.Context, from uint64) ([]byte, error) {
	return r.store.Witnessed(ctx, from)
}

// Checkpoints visits the checkpoints that were kept, as [Store] does.
func (r *Reader) Checkpoints(ctx context.Context, from uint64) iter.Seq2[[]byte, error] {
	return r.store.Checkpoints(ctx, from)
}

// Rows visits entries, as [Store] does.
func (r *Reader) Rows(ctx context.Context, from, to uint64) iter.Seq2[Row, error] {
	return r.store.Rows(ctx, from, to)
}

// Find visits the entries that a filter selects.
func (r *Reader) Find(ctx context.Context, f Filter) iter.Seq2[Row, error] {
	return r.store.Find(ctx, f)
}

// Entry returns one entry; [ErrNotFound] beyond the end.
func (r *Reader) Entry(ctx context.Context, index uint64) (Row, error) {
	if index+1 == 0 {
		return Row{}, fmt.Errorf("entry %d: %w", index, ErrNotFound)
	}
	for row, err := range r.store.Rows(ctx, index, index+1) {
		if err == nil && row.Index != index {
			err = fmt.Errorf("%w: entry %d was asked for and %d returned", ErrDamaged, index, row.Index)
		}
		return row, err
	}
	return Row{}, fmt.Errorf("entry %d: %w", index, ErrNotFound)
}

// Inclusion proves that the entry at index is in the tree of a size (RFC 6962):
// hashes from the leaf's sibling up. [ErrNotFound] outside of the log.
func (r *Reader) Inclusion(ctx context.Context, index, size uint64) (tlog.RecordProof, error) {
	if err := r.holds(ctx, size); err != nil {
		return nil, err
	}
	if index >= size {
		return nil, fmt.Errorf("entry %d in the tree of size %d: %w", index, size, ErrNotFound)
	}
	proof, err := tlog.ProveRecord(int64(size), int64(index), r.hashes(ctx, size))
	if err != nil {
		return nil, fmt.Errorf("prove entry %d: %w", index, err)
	}
	return proof, nil
}

// Consistency proves that the tree of size continues that of an older size. For
// old 0 the proof is empty.
func (r *Reader) Consistency(ctx context.Context, old, size uint64) (tlog.TreeProof, error) {
	if err := r.holds(ctx, size); err != nil {
		return nil, err
	}
	if old > size {
		return nil, fmt.Errorf("tree of size %d before that of size %d: %w", old, size, ErrNotFound)
	}
	if old == 0 || old == size {
		return tlog.TreeProof{}, nil
	}
	proof, err := tlog.ProveTree(int64(size), int64(old), r.hashes(ctx, size))
	if err != nil {
		return nil, fmt.Errorf("prove that size %d continues size %d: %w", size, old, err)
	}
	return proof, nil
}

// Tile returns a tile of hashes as C2SP tlog-tiles serves it: width hashes of 32
// bytes, [TileWidth] for a full one. [ErrNotFound] for a tile that is not there
// or not that wide.
func (r *Reader) Tile(ctx context.Context, level int, index uint64, width int) ([]byte, error) {
	missing := fmt.Errorf("tile %d of level %d with %d hashes: %w", index, level, width, ErrNotFound)
	if level < 0 || level > maxTileLevel || width < 1 || width > TileWidth || index >= 1<<54 {
		return nil, missing
	}
	size, _, err := r.head(ctx)
	if err != nil {
		return nil, err
	}
	if index*TileWidth+uint64(width) > size>>(level*tileHeight) {
		return nil, missing
	}
	data, err := r.tile(ctx, level, index, size)
	if err != nil {
		return nil, err
	}
	return data[:width*tlog.HashSize], nil
}

// Entries returns a bundle of entries as C2SP tlog-tiles serves it: width bodies
// of the tile with this index, each after its length in 16 bits. [ErrNotFound]
// when they are not there, or pruned.
func (r *Reader) Entries(ctx context.Context, index uint64, width int) ([]byte, error) {
	missing := fmt.Errorf("bundle %d with %d entries: %w", index, width, ErrNotFound)
	if width < 1 || width > TileWidth || index >= 1<<54 {
		return nil, missing
	}
	var bundle []byte
	next := index * TileWidth
	for row, err := range r.store.Rows(ctx, next, next+uint64(width)) {
		if err != nil {
			return nil, err
		}
		if row.Index != next || row.Body == nil || len(row.Body) > MaxBody {
			return nil, missing
		}
		bundle = binary.BigEndian.AppendUint16(bundle, uint16(len(row.Body)))
		bundle = append(bundle, row.Body...)
		next++
	}
	if next != index*TileWidth+uint64(width) {
		return nil, missing
	}
	return bundle, nil
}

// ParseBundle reads a bundle of entries. The error wraps [ErrMalformed].
func ParseBundle(data []byte) ([][]byte, error) {
	var bodies [][]byte
	for len(data) > 0 {
		if len(bodies) == TileWidth {
			return nil, fmt.Errorf("%w: a bundle of more than %d entries", ErrMalformed, TileWidth)
		}
		if len(data) < 2 || len(data)-2 < int(binary.BigEndian.Uint16(data)) {
			return nil, fmt.Errorf("%w: the bundle ends within an entry", ErrMalformed)
		}
		end := 2 + int(binary.BigEndian.Uint16(data))
		bodies = append(bodies, data[2:end:end])
		data = data[end:]
	}
	return bodies, nil
}

func (r *Reader) head(ctx context.Context) (uint64, []byte, error) {
	size, signed, err := r.store.Head(ctx)
	if err == nil && signed == nil {
		err = fmt.Errorf("checkpoint: %w: the log is empty", ErrNotFound)
	}
	return size, signed, err
}

func (r *Reader) holds(ctx context.Context, size uint64) error {
	r.mu.Lock()
	known := r.edge != nil && size <= r.edge.size
	r.mu.Unlock()
	if known {
		return nil
	}
	have, _, err := r.store.Head(ctx)
	if err != nil {
		return err
	}
	if size > have {
		return fmt.Errorf("tree of size %d: %w: there are %d entries", size, ErrNotFound, have)
	}
	return nil
}

// root is the hash of the tree of a size that the log has.
func (r *Reader) root(ctx context.Context, size uint64) (tlog.Hash, error) {
	return tlog.TreeHash(int64(size), r.hashes(ctx, size))
}

// follow tells the reader the right edge after a commit.
func (r *Reader) follow(f *frontier) {
	c := f.clone()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.edge = c
}

// hashes reads single hashes of the tree of a size out of its tiles.
func (r *Reader) hashes(ctx context.Context, size uint64) tlog.HashReader {
	tiles := make(map[tlog.Tile][]byte) // a proof asks for many hashes of few tiles
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			t := tlog.TileForIndex(tileHeight, index)
			key := tlog.Tile{L: t.L, N: t.N}
			data, ok := tiles[key]
			if !ok {
				var err error
				if data, err = r.tile(ctx, t.L, uint64(t.N), size); err != nil {
					return nil, err
				}
				tiles[key] = data
			}
			h, err := tlog.HashFromTile(t, data, index)
			if err != nil {
				return nil, errors.Join(ErrDamaged, err)
			}
			hashes[i] = h
		}
		return hashes, nil
	})
}

// tile returns a tile of the tree of a size, partial if it is there.
func (r *Reader) tile(ctx context.Context, level int, index, size uint64) ([]byte, error) {
	width := size>>(level*tileHeight) - index*TileWidth
	if width >= TileWidth {
		return fullTile(ctx, r.store, level, index)
	}
	if data, ok := r.edgeTile(level, index, int(width)); ok {
		return data, nil
	}
	// The edge has moved on, or was never known. What was partial at this size may
	// be full by now.
	data, err := r.store.Tile(ctx, level, index)
	if err == nil && len(data) == TileWidth*tlog.HashSize {
		return data, nil
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	f, err := loadFrontier(ctx, r.store, size)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	if r.edge == nil || r.edge.size < size {
		r.edge = f.clone()
	}
	r.mu.Unlock()
	return joinHashes(f.edge[level]), nil
}

func (r *Reader) edgeTile(level int, index uint64, width int) ([]byte, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.edge
	if f == nil || level >= len(f.edge) || f.size>>(level*tileHeight)/TileWidth != index || len(f.edge[level]) < width {
		return nil, false
	}
	return joinHashes(f.edge[level]), true
}

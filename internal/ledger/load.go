package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// load verifies what the store holds, as far as appending depends on it, and
// takes the right edge of the tree from it.
func (l *Log) load(ctx context.Context) error {
	size, head, err := l.store.Head(ctx)
	if err != nil {
		return err
	}
	l.tree = &frontier{}
	if size > 0 || head != nil {
		c, err := l.keys.OpenCheckpoint(head)
		if err != nil {
			return fmt.Errorf("head: %w", err)
		}
		if c.Size != size {
			return fmt.Errorf("%w: the head is of size %d, and there are %d entries", ErrDamaged, c.Size, size)
		}
		if l.tree, err = loadFrontier(ctx, l.store, size); err != nil {
			return err
		}
		if l.tree.root() != c.Root {
			return fmt.Errorf("%w: entries and tiles do not hash to the head of size %d", ErrDamaged, size)
		}
		if err := l.loadLast(ctx); err != nil {
			return err
		}
	}
	if err := l.checkRotation(ctx); err != nil {
		return err
	}
	l.head, l.stats.Size = head, size
	l.reader.follow(l.tree)
	if err := l.loadWitnessed(ctx); err != nil {
		return err
	}
	heads := l.opts.Heads
	if a, ok := l.store.(Anchored); ok {
		heads = append(heads[:len(heads):len(heads)], a.Anchor())
	}
	for _, source := range heads {
		if err := l.checkHead(ctx, source); err != nil {
			return err
		}
	}
	return nil
}

// checkRotation refuses to go on with a key that another one has replaced:
// verifiers would refuse what it signs.
func (l *Log) checkRotation(ctx context.Context) error {
	for row, err := range l.store.Find(ctx, Filter{Kinds: []Kind{KeyRotation}, Newest: true, Limit: 1}) {
		if err != nil {
			return err
		}
		r, err := rotationOf(row.Body)
		if err != nil {
			return fmt.Errorf("%w: entry %d: %w", ErrDamaged, row.Index, err)
		}
		if !slices.ContainsFunc(l.signers, func(s Signer) bool { return s.VerifierKey() == r.New }) {
			return fmt.Errorf("%w: since entry %d the ledger is signed with the key %s", ErrKey, row.Index, r.New)
		}
	}
	return nil
}

func rotationOf(body []byte) (r Rotation, err error) {
	e, err := ParseEntry(body)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(e.Data, &r); err != nil {
		return r, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return r, nil
}

func (l *Log) loadLast(ctx context.Context) error {
	row, err := l.reader.Entry(ctx, l.tree.size-1)
	if err != nil {
		return err
	}
	if row.Body == nil {
		return fmt.Errorf("%w: the latest entry was pruned", ErrDamaged)
	}
	e, err := ParseEntry(row.Body)
	if err != nil {
		return fmt.Errorf("%w: entry %d: %w", ErrDamaged, row.Index, err)
	}
	l.last, err = e.At()
	return err
}

// loadWitnessed finds the latest checkpoint with cosignatures. Whether one exists
// from a size on is monotone in the size.
func (l *Log) loadWitnessed(ctx context.Context) error {
	low, high := uint64(0), l.tree.size+1
	for low < high {
		middle := low + (high-low)/2
		if l.witness.checkpoint == nil {
			middle = low // ask whether there is any, first
		}
		signed, err := l.store.Witnessed(ctx, middle)
		if errors.Is(err, ErrNotFound) {
			if l.witness.checkpoint == nil {
				return nil
			}
			high = middle
			continue
		}
		if err != nil {
			return err
		}
		c, err := l.keys.OpenCheckpoint(signed)
		if err != nil {
			return fmt.Errorf("witnessed checkpoint: %w", err)
		}
		if c.Size < middle {
			return fmt.Errorf("%w: a witnessed checkpoint of size %d is filed under %d or later", ErrDamaged, c.Size, middle)
		}
		l.witness.size, l.witness.checkpoint, low = c.Size, signed, c.Size+1
	}
	return nil
}

// checkHead compares the log with a head known elsewhere.
func (l *Log) checkHead(ctx context.Context, source HeadSource) error {
	signed, err := source.Head(ctx)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil
	case errors.Is(err, ErrDamaged):
		return fmt.Errorf("known head: %w", err)
	case err != nil:
		l.opts.Log.Warn("a head of the ledger that is known elsewhere cannot be read", "error", err)
		return nil
	}
	c, err := l.keys.OpenCheckpoint(signed)
	if err != nil {
		// Whoever could stop the log with a head of their own would.
		l.opts.Log.Warn("a head that claims to be of the ledger is not signed by its key", "error", err)
		return nil
	}
	return l.reader.continues(ctx, c, l.tree.size)
}

// continues tells whether the log, of a size, is a continuation of a checkpoint.
func (r *Reader) continues(ctx context.Context, c Checkpoint, size uint64) error {
	if c.Size > size {
		return fmt.Errorf("%w: size %d was signed, and the ledger holds %d entries: an old copy was restored, or its end is lost", ErrBehind, c.Size, size)
	}
	root, err := r.root(ctx, c.Size)
	if err != nil {
		return err
	}
	if root != c.Root {
		return fmt.Errorf("%w: at size %d, another root was signed: there are two histories", ErrBehind, c.Size)
	}
	return nil
}

// loadFrontier rebuilds the right edge of a tree from the entries after the last
// full tile and the tiles left of it.
func loadFrontier(ctx context.Context, s Store, size uint64) (*frontier, error) {
	f := &frontier{size: size}
	for level := 0; size>>(level*tileHeight) > 0; level++ {
		end := size >> (level * tileHeight)
		begin := end / TileWidth * TileWidth
		hashes := make([]tlog.Hash, 0, TileWidth)
		var err error
		if level == 0 {
			hashes, err = leafHashes(ctx, s, hashes, begin, end)
		} else {
			hashes, err = tileHashes(ctx, s, hashes, level-1, begin, end)
		}
		if err != nil {
			return nil, err
		}
		f.edge = append(f.edge, hashes)
	}
	for level := len(f.edge) - 1; level >= 0; level-- {
		rest := f.edge[level]
		for width := TileWidth / 2; width > 0; width /= 2 {
			if len(rest)&width != 0 {
				f.peaks = append(f.peaks, subtree(rest[:width]))
				rest = rest[width:]
			}
		}
	}
	return f, nil
}

func leafHashes(ctx context.Context, s Store, hashes []tlog.Hash, begin, end uint64) ([]tlog.Hash, error) {
	next := begin
	for row, err := range s.Rows(ctx, begin, end) {
		if err != nil {
			return nil, err
		}
		if row.Index != next {
			break
		}
		if row.Body != nil && tlog.RecordHash(row.Body) != row.Hash {
			return nil, fmt.Errorf("%w: entry %d is not what its hash was made of", ErrDamaged, row.Index)
		}
		hashes = append(hashes, row.Hash)
		next++
	}
	if next != end {
		return nil, fmt.Errorf("%w: entry %d is missing", ErrDamaged, next)
	}
	return hashes, nil
}

func tileHashes(ctx context.Context, s Store, hashes []tlog.Hash, level int, begin, end uint64) ([]tlog.Hash, error) {
	for i := begin; i < end; i++ {
		data, err := fullTile(ctx, s, level, i)
		if err != nil {
			return nil, err
		}
		hashes = append(hashes, subtree(splitHashes(data)))
	}
	return hashes, nil
}

// fullTile reads a tile that must be there.
func fullTile(ctx context.Context, s Store, level int, index uint64) ([]byte, error) {
	data, err := s.Tile(ctx, level, index)
	if errors.Is(err, ErrNotFound) || err == nil && len(data) != TileWidth*tlog.HashSize {
		return nil, fmt.Errorf("%w: tile %d of level %d is missing or short", ErrDamaged, index, level)
	}
	return data, err
}

func signCheckpoint(origin string, size uint64, root tlog.Hash, signers []Signer) ([]byte, error) {
	all := make([]note.Signer, len(signers))
	for i, s := range signers {
		all[i] = s
	}
	signed, err := note.Sign(&note.Note{Text: checkpointText(origin, size, root)}, all...)
	if err != nil {
		return nil, fmt.Errorf("sign checkpoint: %w", err)
	}
	return signed, nil
}

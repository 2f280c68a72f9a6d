package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Limits of an [Extension].
const (
	MaxExtension        = 16 << 20 // bytes as JSON
	MaxExtensionEntries = 8192
)

// Extension is what a log has more than a copy of it: entries from an index on, and
// the checkpoint over them. Its entries are canonical JSON and stay as they are, byte
// for byte.
type Extension struct {
	From       uint64 `json:"from"`
	Entries    Bodies `json:"entries"`
	Checkpoint string `json:"checkpoint"`
}

// Bodies are entries as they are in a log, at most [MaxExtensionEntries] when they are
// read.
type Bodies []jsontext.Value

// UnmarshalJSONFrom stops at the first entry that is too many: millions of items of a byte
// each would cost far more memory than they were sent with.
func (b *Bodies) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	*b = nil
	switch token, err := d.ReadToken(); {
	case err != nil:
		return err
	case token.Kind() == 'n':
		return nil
	case token.Kind() != '[':
		return errors.New("entries are no list")
	}
	for d.PeekKind() != ']' {
		if len(*b) == MaxExtensionEntries {
			return fmt.Errorf("%w: more than %d entries", ErrTooLarge, MaxExtensionEntries)
		}
		body, err := d.ReadValue()
		if err != nil {
			return err
		}
		*b = append(*b, body.Clone())
	}
	_, err := d.ReadToken()
	return err
}

// Since returns what follows after the first size entries, as far as the next
// checkpoint that was kept. With nothing new it is the latest checkpoint alone. The
// error wraps [ErrNotFound] for an empty log and where bodies were pruned.
func (r *Reader) Since(ctx context.Context, size uint64) (Extension, error) {
	signed, err := r.Checkpoint(ctx)
	if err != nil {
		return Extension{}, err
	}
	for kept, err := range r.Checkpoints(ctx, size+1) {
		if err != nil {
			return Extension{}, err
		}
		signed = kept
		break
	}
	_, end, _, err := ParseCheckpoint(signed)
	if err != nil {
		return Extension{}, err
	}
	x := Extension{From: size, Checkpoint: string(signed), Entries: []jsontext.Value{}}
	if end <= size {
		return x, nil
	}
	if end-size > MaxExtensionEntries {
		return Extension{}, fmt.Errorf("%w: the next checkpoint after entry %d is %d entries later", ErrTooLarge, size, end-size)
	}
	for row, err := range r.Rows(ctx, size, end) {
		if err != nil {
			return Extension{}, err
		}
		if row.Body == nil {
			return Extension{}, fmt.Errorf("entry %d: %w: it was pruned", row.Index, ErrNotFound)
		}
		x.Entries = append(x.Entries, row.Body)
	}
	if size+uint64(len(x.Entries)) != end {
		return Extension{}, fmt.Errorf("entry %d: %w", size+uint64(len(x.Entries)), ErrNotFound)
	}
	return x, nil
}

// Continues tells whether the log is a continuation of a checkpoint, whose signature is
// not looked at. The error wraps [ErrBehind] when it is not.
func (r *Reader) Continues(ctx context.Context, c Checkpoint) error {
	size, err := r.Size(ctx)
	if err != nil {
		return err
	}
	return r.continues(ctx, c, size)
}

// ErrDiverged marks entries that do not hash to the checkpoint that the log has signed
// over them: they were altered on the way, or the log does not continue what it showed
// before. Which of both, a copy cannot tell; a log that goes on like that has forked.
var ErrDiverged = errors.New("the entries do not go with the checkpoint that the log has signed")

// Mirror is a copy of a log that somebody else writes. Every commit to it is an
// [Extension] that was verified as [Verify] does: entries that hash to a checkpoint
// which the key of the log has signed. Methods are safe for concurrent use.
type Mirror struct {
	mu    sync.Mutex
	store Store
	keys  Keys // as given, and those of rotations; guarded by mu
	v     *verifier
	head  []byte
}

// SizeError says that an extension does not begin where the copy ends.
type SizeError struct{ Size uint64 }

func (e *SizeError) Error() string { return fmt.Sprintf("the copy holds %d entries", e.Size) }

// ForkError is proof that a log does not continue what it once signed: both
// checkpoints are signed by its key.
type ForkError struct{ Held, Shown []byte }

func (e *ForkError) Error() string {
	_, held, _, _ := ParseCheckpoint(e.Held)
	_, shown, _, _ := ParseCheckpoint(e.Shown)
	return fmt.Sprintf("the log has signed two histories: %d entries were shown before, and the %d shown now do not go with them", held, shown)
}

// Unwrap returns [ErrBehind].
func (e *ForkError) Unwrap() error { return ErrBehind }

// OpenMirror opens a copy in a store, or begins one in an empty store. Keys are those
// of the log at its beginning; those that replaced them are in its entries.
func OpenMirror(ctx context.Context, s Store, keys Keys) (*Mirror, error) {
	if keys.Origin == "" || len(keys.Log) == 0 {
		return nil, fmt.Errorf("%w: a mirror needs an origin and a key", ErrKey)
	}
	m := &Mirror{store: s, keys: keys}
	if err := m.load(ctx); err != nil {
		return nil, fmt.Errorf("open mirror: %w", err)
	}
	return m, nil
}

// load takes over what the store holds. It needs mu.
func (m *Mirror) load(ctx context.Context) error {
	size, head, err := m.store.Head(ctx)
	if err != nil {
		return err
	}
	v := &verifier{store: m.store, opts: VerifyOptions{Keys: m.keys}, tree: &frontier{}}
	if size > 0 {
		if v.tree, err = loadFrontier(ctx, m.store, size); err != nil {
			return err
		}
		for row, err := range m.store.Find(ctx, Filter{Kinds: []Kind{KeyRotation}}) {
			if err != nil {
				return err
			}
			r, err := rotationOf(row.Body)
			if err != nil {
				return fmt.Errorf("%w: entry %d: %w", ErrDamaged, row.Index, err)
			}
			if err := v.rotate(row.Index, &r); err != nil {
				return err
			}
		}
		for row, err := range m.store.Rows(ctx, size-1, size) {
			if err != nil {
				return err
			}
			if v.last = row.Columns.Time; row.Derived || v.last == 0 {
				c, _, err := ScanBody(row.Body)
				if err != nil {
					return fmt.Errorf("%w: entry %d: %w", ErrDamaged, row.Index, err)
				}
				v.last = c.Time
			}
		}
		if err := v.covered(head); err != nil {
			return err
		}
	}
	m.v, m.head = v, head
	return nil
}

// Head returns how many entries the copy holds, and the checkpoint over them; 0 and
// nil for an empty one.
func (m *Mirror) Head() (size uint64, checkpoint []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.v.tree.size, m.head
}

// Keys returns the keys of the log as far as the copy knows them.
func (m *Mirror) Keys() []note.Verifier {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.v.opts.Keys.Log)
}

// Extend appends what the log has more. Nothing is kept unless all of it is right. The
// error is a [*SizeError] when the extension begins elsewhere, a [*ForkError] when it
// proves that the log has forked; it wraps [ErrMalformed], [ErrSignature],
// [ErrCheckpoint], [ErrTooLarge] or [ErrDiverged] when the extension is wrong, and
// [ErrBehind] when the log now ends before the copy does. Others are those of the store.
func (m *Mirror) Extend(ctx context.Context, x Extension) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	signed := []byte(x.Checkpoint)
	c, err := m.v.opts.Keys.OpenCheckpoint(signed)
	if err != nil {
		return err
	}
	size := m.v.tree.size
	switch {
	case len(x.Entries) > MaxExtensionEntries:
		return fmt.Errorf("%w: %d entries, at most %d", ErrTooLarge, len(x.Entries), MaxExtensionEntries)
	case c.Size <= size:
		return m.known(ctx, x, c)
	case x.From != size:
		return &SizeError{size}
	case c.Size != size+uint64(len(x.Entries)):
		return fmt.Errorf("%w: a checkpoint of size %d after %d entries", ErrMalformed, c.Size, size+uint64(len(x.Entries)))
	}
	commit, err := m.take(ctx, x, c, signed)
	if err == nil {
		err = m.store.Commit(ctx, commit)
	}
	if err != nil { // the tree in memory holds more than the store, perhaps
		return errors.Join(err, m.load(context.WithoutCancel(ctx)))
	}
	m.head = signed
	return nil
}

// known compares a checkpoint with entries that the copy holds already.
func (m *Mirror) known(ctx context.Context, x Extension, c Checkpoint) error {
	r := NewReader(m.store, m.keys.Origin)
	r.follow(m.v.tree)
	root, err := r.root(ctx, c.Size)
	switch {
	case err != nil:
		return err
	case root != c.Root:
		return &ForkError{m.head, []byte(x.Checkpoint)}
	case len(x.Entries) > 0: // sent again, since the answer was lost
		return &SizeError{m.v.tree.size}
	case c.Size < m.v.tree.size:
		return fmt.Errorf("%w: it shows %d entries, and %d were shown before", ErrBehind, c.Size, m.v.tree.size)
	}
	return nil
}

// take takes the entries into the tree in memory, and returns what the store has to
// append.
func (m *Mirror) take(ctx context.Context, x Extension, c Checkpoint, signed []byte) (Commit, error) {
	commit := Commit{From: x.From, Checkpoint: signed, Rows: make([]Row, 0, len(x.Entries))}
	for i, body := range x.Entries {
		index := x.From + uint64(i)
		row := Row{Index: index, Body: body, Hash: tlog.RecordHash(body)}
		var err error
		if row.Columns, row.Request, err = ScanBody(body); err != nil {
			return Commit{}, fmt.Errorf("entry %d: %w", index, err)
		}
		found := lookAt(&row)
		switch {
		case found.err != nil:
			return Commit{}, fmt.Errorf("entry %d: %w", index, found.err)
		case row.Time < m.v.last:
			return Commit{}, fmt.Errorf("entry %d: %w: its time is before that of the entry before", index, ErrMalformed)
		}
		m.v.last = row.Time
		if found.rotation != nil {
			if err := m.v.rotate(index, found.rotation); err != nil {
				return Commit{}, err
			}
		}
		commit.Rows = append(commit.Rows, row)
		commit.Tiles = append(commit.Tiles, m.v.tree.add(row.Hash)...)
	}
	if err := ctx.Err(); err != nil {
		return Commit{}, err
	}
	if m.v.tree.root() != c.Root {
		return Commit{}, fmt.Errorf("%w: of size %d", ErrDiverged, c.Size)
	}
	if err := m.v.covered(signed); err != nil {
		return Commit{}, err
	}
	return commit, nil
}

// ParseExtension reads an extension from an untrusted source, as JSON. Nothing in it is
// verified. The error wraps [ErrMalformed] or [ErrTooLarge].
func ParseExtension(data []byte) (Extension, error) {
	if len(data) > MaxExtension {
		return Extension{}, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, MaxExtension)
	}
	var x Extension
	err := json.Unmarshal(data, &x, json.RejectUnknownMembers(true))
	if errors.Is(err, ErrTooLarge) {
		return Extension{}, err
	}
	if err != nil {
		return Extension{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return x, nil
}

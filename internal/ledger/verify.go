package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/bits"
	"runtime"
	"slices"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Assurance is what a verified log is good for: it depends on where the keys and
// heads come from that it was verified against.
type Assurance string

// Assurances, the weakest first.
const (
	// AssuredSelf is a log that agrees with itself. Whoever can write the log and
	// the key beside it can write another one that does, too.
	AssuredSelf Assurance = "self-consistent"
	// AssuredAnchored is one that agrees with a key or a head kept elsewhere.
	AssuredAnchored Assurance = "anchored"
	// AssuredWitnessed is one that a quorum of witnesses has cosigned, up to
	// [Report.Witnessed] entries.
	AssuredWitnessed Assurance = "witnessed"
)

// VerifyOptions say what a log is verified against.
type VerifyOptions struct {
	Keys Keys
	// Pinned says that the keys come from elsewhere, not from beside the log.
	Pinned bool
	// Heads are heads known elsewhere. One that cannot be read, or is not signed
	// by a key of the log, fails the verification.
	Heads []HeadSource
	// Resume continues after what an earlier report has verified. It is as good as
	// the place where it was kept. nil begins at the first entry.
	Resume *VerifyState
	// Progress is told now and then how many of all entries are done.
	Progress func(done, total uint64)
	// Visit, unless nil, gets the entries in their order, each before the checkpoint
	// that covers it was verified: what follows from them counts when Verify returns
	// no error. Its error ends the verification.
	Visit func(row Row) error
	// Workers hash and parse at the same time; 0 is one per CPU.
	Workers int
}

// VerifyState is how far a verification came: the tree up to there.
type VerifyState struct {
	Size  uint64      `json:"size"`
	Peaks []tlog.Hash `json:"peaks"` // roots of perfect subtrees, the largest first
	Time  int64       `json:"time"`  // of the latest entry, nanoseconds since 1970
	// Key is the verifier key that the latest rotation introduced; empty without.
	Key string `json:"key,omitempty"`
	// RotatedAt is the index of that rotation.
	RotatedAt uint64 `json:"rotated_at,omitempty"`
}

// Report is what a verification has found.
type Report struct {
	Level       Assurance
	Size        uint64 // entries, all of them verified
	Pruned      uint64 // of them without a body: their hashes are in the tree
	Checkpoints uint64 // signatures of the log that were verified
	Witnessed   uint64 // size of the latest checkpoint with a quorum of cosignatures
	Head        []byte // the checkpoint that covers all
	State       VerifyState
}

// Fault is what is wrong with a log. It wraps [ErrDamaged], and [ErrSignature] or
// [ErrBehind] where that is what is wrong.
type Fault struct {
	// Index is the first entry that cannot be vouched for; all before it are as
	// they were signed.
	Index uint64
	What  error
}

func (f *Fault) Error() string { return fmt.Sprintf("entry %d: %v", f.Index, f.What) }

// Unwrap makes every fault an [ErrDamaged].
func (f *Fault) Unwrap() []error { return []error{ErrDamaged, f.What} }

// Verify checks a whole log: that every body hashes to its leaf, leaves to the
// tiles, and all to every checkpoint that was kept; signatures; that there is no
// entry too few, too many or twice; that time does not go back; that bodies are
// canonical; columns and the index of queries against bodies; heads known
// elsewhere. What it cannot know is whether entries after the latest head known
// elsewhere are missing.
//
// An error that wraps a [*Fault] says that the log is not what was signed; others
// that it could not be read. The report covers what was verified until then.
func Verify(ctx context.Context, s Store, o VerifyOptions) (Report, error) {
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	size, head, err := s.Head(ctx)
	if err != nil {
		return Report{}, fmt.Errorf("verify ledger: %w", err)
	}
	v := &verifier{store: s, opts: o, size: size, tree: &frontier{}, report: Report{Level: AssuredSelf, Head: head}}
	stop := v.checkIndex(ctx)
	err = v.run(ctx)
	stop()
	v.report.Size, v.report.State = v.good, v.state
	if err != nil {
		return v.report, fmt.Errorf("verify ledger: %w", err)
	}
	return v.report, nil
}

type verifier struct {
	store  Store
	opts   VerifyOptions
	size   uint64
	report Report

	tree    *frontier
	stored  []byte // the tile of level 0 that the next entry is in
	good    uint64 // entries below it are covered by a verified checkpoint
	last    int64
	key     string
	rotated uint64
	pruning pruning

	state VerifyState // as of the latest verified checkpoint
	// index is nil when the index of queries is compared in one go. misfiled is
	// the first entry that it does not show.
	index    RowChecker
	misfiled *uint64
	checked  chan error // what CheckIndex says, which goes on meanwhile
}

func (v *verifier) fault(index uint64, format string, args ...any) error {
	return &Fault{Index: index, What: fmt.Errorf(format, args...)}
}

func (v *verifier) run(ctx context.Context) error {
	if err := v.resume(ctx); err != nil {
		return err
	}
	next, stop := iter.Pull2(v.store.Checkpoints(ctx, v.tree.size+1))
	defer stop()
	pending, size, err := v.nextCheckpoint(next)
	if err != nil {
		return err
	}
	for c, err := range v.chunks(ctx) {
		if err != nil {
			return err
		}
		for i := range c.rows {
			if err := v.entry(ctx, c, i); err != nil {
				return err
			}
			if v.opts.Visit != nil {
				if err := v.opts.Visit(c.rows[i]); err != nil {
					return err
				}
			}
			for pending != nil && size == v.tree.size {
				if err := v.covered(pending); err != nil {
					return err
				}
				if pending, size, err = v.nextCheckpoint(next); err != nil {
					return err
				}
			}
		}
		if c.misfiled != nil && v.misfiled == nil {
			v.misfiled = c.misfiled
		}
		if v.opts.Progress != nil {
			v.opts.Progress(v.tree.size, v.size)
		}
	}
	if err := v.end(ctx); err != nil {
		return err
	}
	if index, found := v.pruning.unaccounted(); found {
		return v.fault(index, "its body is gone, and no sealed entry says that it was exported")
	}
	return v.compare(ctx)
}

// resume begins where an earlier verification ended.
func (v *verifier) resume(ctx context.Context) error {
	state := v.opts.Resume
	if state == nil || state.Size == 0 {
		return nil
	}
	if bits.OnesCount64(state.Size) != len(state.Peaks) {
		return fmt.Errorf("resume: %w: the state does not fit its size", ErrMalformed)
	}
	if state.Size > v.size {
		return v.fault(v.size, "%w: %d entries were verified before, and there are %d", ErrBehind, state.Size, v.size)
	}
	f, err := loadFrontier(ctx, v.store, state.Size)
	if err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	if !slices.Equal(f.peaks, state.Peaks) {
		return v.fault(0, "%w: the entries that were verified before have changed", ErrBehind)
	}
	v.tree, v.good, v.last, v.key, v.rotated = f, state.Size, state.Time, state.Key, state.RotatedAt
	v.state = *state
	if v.key != "" {
		if err := v.learn(v.key); err != nil {
			return fmt.Errorf("resume: %w", err)
		}
	}
	return nil
}

// entry takes the next entry into the tree.
func (v *verifier) entry(ctx context.Context, c *chunk, i int) error {
	row, found, index := &c.rows[i], &c.found[i], v.tree.size
	switch {
	case row.Index > index:
		return v.fault(index, "it is missing; entry %d follows", row.Index)
	case row.Index < index:
		return v.fault(index, "entry %d comes again, or out of order", row.Index)
	case found.err != nil:
		return &Fault{Index: index, What: found.err}
	}
	if err := v.leaf(ctx, row); err != nil {
		return err
	}
	switch {
	case row.Body == nil:
		v.report.Pruned++
		v.pruning.missing(index)
	case found.columns.Time < v.last:
		return v.fault(index, "its time is before that of the entry before")
	default:
		v.last = found.columns.Time
	}
	if found.seal != nil && !v.pruning.seal(index, found.seal) {
		return v.fault(index, "it seals entries that came after it")
	}
	if found.rotation != nil {
		if err := v.rotate(index, found.rotation); err != nil {
			return err
		}
	}
	for _, tile := range v.tree.add(row.Hash) {
		stored := v.stored
		if tile.Level > 0 {
			var err error
			if stored, err = v.store.Tile(ctx, tile.Level, tile.Index); err != nil && !errors.Is(err, ErrNotFound) {
				return err
			}
		}
		if first, differ := difference(tile, stored); differ {
			return v.fault(first, "it does not hash to tile %d of level %d", tile.Index, tile.Level)
		}
	}
	return nil
}

// leaf compares a leaf with the tile that it is in, unless that one is not full.
func (v *verifier) leaf(ctx context.Context, row *Row) error {
	number, place := row.Index/TileWidth, row.Index%TileWidth
	if (number+1)*TileWidth > v.size {
		return nil
	}
	if place == 0 || v.stored == nil {
		var err error
		if v.stored, err = v.store.Tile(ctx, 0, number); err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	begin, end := place*tlog.HashSize, (place+1)*tlog.HashSize
	if end > uint64(len(v.stored)) || !bytes.Equal(v.stored[begin:end], row.Hash[:]) {
		return v.fault(row.Index, "its hash is not the one in tile %d", number)
	}
	return nil
}

// difference returns the first entry below the first hash in which a tile is not
// what was stored.
func difference(tile Tile, stored []byte) (first uint64, differ bool) {
	for i := range uint64(len(tile.Data) / tlog.HashSize) {
		begin, end := i*tlog.HashSize, (i+1)*tlog.HashSize
		if end > uint64(len(stored)) || !bytes.Equal(tile.Data[begin:end], stored[begin:end]) {
			return (tile.Index*TileWidth + i) << (tile.Level * tileHeight), true
		}
	}
	return 0, len(stored) != len(tile.Data)
}

// nextCheckpoint returns the next checkpoint and its size, unverified; nil after
// the last one.
func (v *verifier) nextCheckpoint(next func() ([]byte, error, bool)) ([]byte, uint64, error) {
	for {
		signed, err, ok := next()
		if err != nil || !ok {
			return nil, 0, err
		}
		_, size, _, err := ParseCheckpoint(signed)
		if err == nil && size > v.size {
			// Appended since the verification began, if it is what it says.
			if _, err = v.opts.Keys.OpenCheckpoint(signed); err == nil {
				continue
			}
		}
		if err != nil {
			return nil, 0, &Fault{Index: v.good, What: err}
		}
		if size <= v.tree.size {
			return nil, 0, v.fault(v.good, "a checkpoint of size %d is filed out of order", size)
		}
		return signed, size, nil
	}
}

// covered checks the tree against a checkpoint of its size.
func (v *verifier) covered(signed []byte) error {
	c, err := v.opts.Keys.OpenCheckpoint(signed)
	if err != nil {
		return &Fault{Index: v.good, What: err}
	}
	if c.Unknown > 0 && !v.opts.Keys.IgnoreUnknown {
		return v.fault(v.good, "%w: %d keys that are not known have signed the checkpoint of size %d", ErrSignature, c.Unknown, c.Size)
	}
	if c.Size != v.tree.size {
		return v.fault(v.good, "its checkpoint is of size %d, expected %d", c.Size, v.tree.size)
	}
	if v.tree.root() != c.Root {
		return v.fault(v.good, "the entries do not hash to the checkpoint of size %d", c.Size)
	}
	if v.key != "" && !slices.ContainsFunc(c.Keys, v.isCurrent) {
		return v.fault(v.good, "%w: the checkpoint of size %d is not signed by the key that signs since entry %d", ErrSignature, c.Size, v.rotated)
	}
	v.good = c.Size
	v.state = VerifyState{Size: c.Size, Peaks: slices.Clone(v.tree.peaks), Time: v.last, Key: v.key, RotatedAt: v.rotated}
	v.report.Checkpoints++
	if enough, asked := v.opts.Keys.Witnessed(c); asked && enough {
		v.report.Witnessed = c.Size
	}
	return nil
}

// rotate takes over the key that an entry introduces.
func (v *verifier) rotate(index uint64, r *Rotation) error {
	old, _, err := r.Verify()
	if err != nil {
		return &Fault{Index: index, What: err}
	}
	if v.key != "" && r.Old != v.key || find(v.opts.Keys.Log, note.Signature{Name: old.Name(), Hash: old.KeyHash()}) == nil {
		return v.fault(index, "%w: the key that it replaces is not the one that signed", ErrSignature)
	}
	v.key, v.rotated = r.New, index
	return v.learn(r.New)
}

// learn adds a key to those of the log.
func (v *verifier) learn(key string) error {
	n, err := note.NewVerifier(key)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrKey, err)
	}
	list := v.opts.Keys.Log
	if find(list, note.Signature{Name: n.Name(), Hash: n.KeyHash()}) == nil {
		v.opts.Keys.Log = append(list[:len(list):len(list)], n)
	}
	return nil
}

func (v *verifier) isCurrent(k note.Verifier) bool {
	current, err := note.NewVerifier(v.key)
	return err == nil && k.Name() == current.Name() && k.KeyHash() == current.KeyHash()
}

// end checks that the log ends where its head says.
func (v *verifier) end(ctx context.Context) error {
	if v.tree.size < v.size {
		return v.fault(v.tree.size, "it is missing: a checkpoint of size %d was signed", v.size)
	}
	if v.size > 0 {
		// The one that was kept may be this one, with cosignatures; both are verified.
		kept := v.report.Checkpoints
		if err := v.covered(v.report.Head); err != nil {
			return err
		}
		if kept > 0 {
			v.report.Checkpoints = kept
		}
	}
	for _, err := range v.store.Rows(ctx, v.size, v.size+1) {
		if err != nil {
			return err
		}
		now, _, err := v.store.Head(ctx)
		if err != nil {
			return err
		}
		if now == v.size {
			return v.fault(v.size, "no checkpoint covers it")
		}
	}
	return nil
}

// compare compares the log with what is known of it elsewhere, and the index of
// queries with the log.
func (v *verifier) compare(ctx context.Context) error {
	r := NewReader(v.store, v.opts.Keys.Origin)
	r.follow(v.tree)
	heads := v.opts.Heads
	if a, ok := v.store.(Anchored); ok {
		heads = append(heads[:len(heads):len(heads)], a.Anchor())
	}
	for i, source := range heads {
		signed, err := source.Head(ctx)
		if i == len(v.opts.Heads) && errors.Is(err, ErrNotFound) { // the store's own
			continue
		}
		if err != nil {
			return fmt.Errorf("known head: %w", err)
		}
		c, err := v.opts.Keys.OpenCheckpoint(signed)
		if err != nil {
			return fmt.Errorf("known head: %w", err)
		}
		if err := v.continues(ctx, r, c); err != nil {
			return err
		}
	}
	if err := v.reconcile(ctx); err != nil {
		return err
	}
	if v.opts.Pinned || len(v.opts.Heads) > 0 {
		v.report.Level = AssuredAnchored
	}
	if v.report.Witnessed > 0 {
		v.report.Level = AssuredWitnessed
	}
	return nil
}

// continues checks the log against one head. A head that was signed while the
// verification went on is not the log's fault.
func (v *verifier) continues(ctx context.Context, r *Reader, c Checkpoint) error {
	size := v.size
	if c.Size > size {
		now, _, err := v.store.Head(ctx)
		if err != nil {
			return err
		}
		size = now
	}
	err := r.continues(ctx, c, size)
	if errors.Is(err, ErrBehind) {
		return &Fault{Index: min(c.Size, v.size), What: err}
	}
	return err
}

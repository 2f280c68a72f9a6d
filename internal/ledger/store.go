package ledger

import (
	"context"
	"errors"
	"iter"
	"time"
)

// Errors of a [Store].
var (
	// ErrNotFound marks something that the store does not hold.
	ErrNotFound = errors.New("not found")
	// ErrOutrun marks a commit to a log that another writer has appended to.
	ErrOutrun = errors.New("another writer appended to the log")
	// ErrDamaged marks a store that is not what was written to it.
	ErrDamaged = errors.New("the ledger is damaged")
)

// Store keeps a log. All of a commit is durable when Commit returns nil, and none
// of it when it fails. Reads see whole commits only and have the deadline of
// their context. Methods are safe for concurrent use; there is one writer.
type Store interface {
	// Head returns the size of the log and its latest checkpoint; 0 and nil for
	// an empty one.
	Head(ctx context.Context) (size uint64, checkpoint []byte, err error)
	// Commit appends. The error wraps [ErrOutrun] when the log is not of the size
	// that the commit starts from.
	Commit(ctx context.Context, c Commit) error
	// Tile returns a full tile of hashes, [TileWidth] of 32 bytes each.
	Tile(ctx context.Context, level int, index uint64) ([]byte, error)
	// Rows visits entries in order, from inclusive, to exclusive. It stops
	// without an error at the end of the log; pruned entries have no Body.
	Rows(ctx context.Context, from, to uint64) iter.Seq2[Row, error]
	// Find visits the entries that a filter selects.
	Find(ctx context.Context, f Filter) iter.Seq2[Row, error]
	// Request returns the entry of a request of a principal; [ErrNotFound].
	Request(ctx context.Context, principal, id string) (hash [32]byte, index uint64, err error)
	// Checkpoints visits the signed checkpoints of sizes from on, ascending. Kept
	// are the latest, those whose commit filled a tile, and those with
	// cosignatures, which stand in for the plain ones of their size.
	Checkpoints(ctx context.Context, from uint64) iter.Seq2[[]byte, error]
	// Witnessed returns the first checkpoint with cosignatures of a size from on;
	// [ErrNotFound].
	Witnessed(ctx context.Context, from uint64) ([]byte, error)
	// Reconcile compares the index of queries with the entries and returns the
	// first entry that it misses or misfiles; the size of the log when there is
	// none.
	Reconcile(ctx context.Context) (first uint64, err error)
	// Prune forgets the bodies below an index. The tree stays.
	Prune(ctx context.Context, below uint64) error
	// Probe finds out whether a commit would succeed now: it notices a full disk
	// and a file that was deleted or replaced.
	Probe(ctx context.Context) error
	Close() error
}

// Anchored is a store that keeps its last head a second time, where damage to the
// log does not reach it. [Open] and [Verify] ask it.
type Anchored interface{ Anchor() HeadSource }

// RowChecker is a store whose index of queries can be compared with entries at
// hand, while [Verify] reads them, instead of reading them again.
type RowChecker interface {
	// CheckRows compares the index with entries in order. It returns the first
	// that the index misses or misfiles, and whether there is one.
	CheckRows(ctx context.Context, rows []Row) (first uint64, wrong bool, err error)
	// CheckIndex tells whether the index agrees with itself.
	CheckIndex(ctx context.Context) (bool, error)
}

// TileWidth is the number of hashes in a full tile (C2SP tlog-tiles).
const TileWidth = 256

// Commit is what one transaction appends.
type Commit struct {
	From       uint64 // the size of the log before
	Rows       []Row  // of the indices From, From+1, ...
	Tiles      []Tile // that these rows filled
	Checkpoint []byte // signed, of the size From+len(Rows); nil without rows
	// Witnessed is a checkpoint of an earlier size, or of this one, with
	// cosignatures of witnesses; nil without news from them.
	Witnessed []byte
}

// Tile is a full tile of hashes.
type Tile struct {
	Level int
	Index uint64
	Data  []byte // TileWidth hashes of 32 bytes
}

// Row is an entry as stored: the body, which the tree covers, and columns, which
// follow from the body and only serve queries.
type Row struct {
	Index uint64
	Body  []byte   // nil when pruned
	Hash  [32]byte // of the leaf: SHA-256 of 0x00 and the body (RFC 6962)
	Columns
	// Request is the hash of the request that the entry comes from; zero when
	// there is none to recognise.
	Request [32]byte
	// Derived says that the store keeps neither Columns nor Request: they were
	// taken from the body as it was read ([ScanBody]).
	Derived bool
}

// Columns are what queries look at.
type Columns struct {
	Time      int64 // nanoseconds since 1970
	Kind      Kind
	Node      string
	Metric    string
	Clause    string
	Outcome   string
	Severity  string
	Principal string
	RequestID string
}

// Columns returns what follows from an entry.
func (e *Entry) Columns() (Columns, error) {
	at, err := e.At()
	if err != nil {
		return Columns{}, err
	}
	return e.columns(at), nil
}

// columns are those of an entry whose time is known.
func (e *Entry) columns(at time.Time) Columns {
	return Columns{
		Time: at.UnixNano(), Kind: e.Kind, Node: e.Node, Metric: e.Metric, Clause: e.Clause,
		Outcome: e.Outcome, Severity: e.Severity, Principal: e.Principal, RequestID: e.RequestID,
	}
}

// Filter selects entries. Empty fields select all; times are half-open.
type Filter struct {
	Kinds      []Kind
	Severities []string
	Node       string
	Metric     string
	Clause     string
	Outcome    string
	Since      time.Time // inclusive
	Until      time.Time // exclusive
	Text       string    // a part of the body, letter case aside
	From       uint64    // the first index to look at
	Before     uint64    // the index to stop before; 0 is the end
	Newest     bool      // newest first
	Limit      int       // 0 is all
}

package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Options say how a log is written. Origin and Signers are required.
type Options struct {
	// Origin is the first line of checkpoints and the name of the keys, such as
	// example.org/ledger.
	Origin string
	// Signers are the keys that sign checkpoints: the current one, then those
	// that sign along while keys are changed.
	Signers []Signer
	// Retired are public keys that have signed earlier checkpoints of this log
	// and sign no more; without them, a log whose last head one of them signed
	// does not open.
	Retired []note.Verifier
	// Cosign collects cosignatures of witnesses; nil without any. CosignEvery is
	// how often it is asked for heads that nobody waits for; 0 is 10 seconds.
	Cosign      Cosigner
	CosignEvery time.Duration
	// Now is the clock; nil is [time.Now].
	Now func() time.Time
	// Queue is how many entries may wait to be committed; 0 is 8192.
	Queue int
	// Heads are heads known outside of the store. Opening a log that is behind one
	// of them, or that is not its continuation, is refused. Only a head that a key
	// of the log has signed counts. One that cannot be read is logged and passed
	// over, unless the error wraps [ErrDamaged].
	Heads []HeadSource
	// Log gets what operators should know; nil is nothing.
	Log *slog.Logger
}

func (o *Options) validate() error {
	if o.Origin == "" || len(o.Signers) == 0 {
		return fmt.Errorf("%w: a log needs an origin and a key", ErrKey)
	}
	for _, s := range o.Signers {
		if s.Name() != o.Origin {
			return fmt.Errorf("%w: its name is %q, and that of the log is %q", ErrKey, s.Name(), o.Origin)
		}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Queue <= 0 {
		o.Queue = 8192
	}
	if o.CosignEvery <= 0 {
		o.CosignEvery = 10 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Cosigner collects cosignatures.
type Cosigner interface {
	// Cosign collects cosignatures for a signed checkpoint and returns it with
	// them. The witnesses have seen size old, or less: proof gives consistency
	// proofs up to the checkpoint. The error wraps [ErrNoQuorum] when the policy
	// is not met.
	Cosign(ctx context.Context, old uint64, proof func(old uint64) (tlog.TreeProof, error), checkpoint []byte) ([]byte, error)
}

// HeadSource knows a head of the log.
type HeadSource interface {
	// Head returns a signed checkpoint; [ErrNotFound] when there is none yet.
	Head(ctx context.Context) (checkpoint []byte, err error)
}

// Level says when an entry counts as appended.
type Level int

// Levels of [Log.Append].
const (
	// Durable is when the entry and a signed checkpoint over it are committed.
	Durable Level = iota
	// Witnessed is when, besides, a quorum of witnesses has cosigned a checkpoint
	// over it.
	Witnessed
)

// Errors of a [Log].
var (
	// ErrFull marks an entry that found no place in the queue in time.
	ErrFull = errors.New("too many entries wait to be written")
	// ErrStopped marks a log that writes no more: it was closed, or a commit
	// failed. Only opening it again, which verifies it, helps.
	ErrStopped = errors.New("the ledger has stopped writing")
	// ErrStalled marks a log whose disk does not answer.
	ErrStalled = errors.New("the ledger does not get its entries written")
	// ErrConflict marks a request id that came back with another request.
	ErrConflict = errors.New("the request id was used for another request")
	// ErrNoQuorum marks a checkpoint that too few witnesses have cosigned.
	ErrNoQuorum = errors.New("too few witnesses have cosigned")
	// ErrBehind marks a log that holds less, or other, than a head that its own
	// key has signed.
	ErrBehind = errors.New("the ledger is not a continuation of a head that its key has signed")
)

// Position is where an entry is.
type Position struct {
	Index      uint64
	Size       uint64 // of the tree of Checkpoint
	CID        string
	Checkpoint []byte // signed, covers the entry; nil for a duplicate
	// Duplicate says that the entry was there before: the request was repeated.
	Duplicate bool
}

// Log appends entries. There is one for a store. Its methods are safe for
// concurrent use.
type Log struct {
	store     Store
	opts      Options
	keys      Keys // of this log, the retired ones included
	reader    *Reader
	queue     chan *item
	stopping  chan struct{} // closed by Close: no more entries are taken
	halted    chan struct{} // closed by stop
	committed chan struct{} // closed when the committer has ended
	cosigned  chan struct{} // closed when the cosigning goroutine has ended
	cancel    context.CancelFunc

	closing  sync.Once
	rotating sync.Mutex // held while keys are changed

	mu       sync.Mutex
	signers  []Signer          // in use; changed by a rotation
	cause    error             // why the log has stopped
	requests map[request]*item // being appended
	began    time.Time         // the commit that is under way; zero for none
	stats    Stats
	head     []byte // latest checkpoint
	witness  witnessing

	// The committer alone uses these.
	tree *frontier
	last time.Time // of the latest entry
}

type request struct{ principal, id string }

// Stats are figures about a log.
type Stats struct {
	Size       uint64        // entries
	Queued     int           // entries that wait
	Commits    uint64        // since the log was opened
	Appended   uint64        // entries since then
	LastGroup  int           // entries of the last commit
	LastCommit time.Duration // how long it took
	Witnessed  uint64        // size of the latest checkpoint with a quorum of cosignatures
	// Unwitnessed is why the latest attempt to collect cosignatures failed; nil
	// after a success and without witnesses.
	Unwitnessed error
	ClockBack   uint64 // entries since then for which the clock had gone back
	Err         error  // why the log has stopped; nil while it writes
}

// Open opens the log of a store to append to it. It verifies the signature of the
// head, that the right edge of the tree hashes to it, and the heads known
// elsewhere. Errors wrap [ErrDamaged], [ErrSignature], [ErrBehind], [ErrKey] or
// that of the store.
func Open(ctx context.Context, s Store, o Options) (*Log, error) {
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	l := &Log{
		store: s, opts: o, signers: o.Signers, reader: NewReader(s, o.Origin),
		queue: make(chan *item, o.Queue), stopping: make(chan struct{}), halted: make(chan struct{}), committed: make(chan struct{}), cosigned: make(chan struct{}),
		requests: make(map[request]*item),
		keys:     Keys{Origin: o.Origin, Log: o.Retired, IgnoreUnknown: true},
	}
	l.witness.news, l.witness.wake = make(chan struct{}), make(chan struct{}, 1)
	for _, signer := range o.Signers {
		v, err := VerifierOf(signer)
		if err != nil {
			return nil, fmt.Errorf("open ledger: %w", err)
		}
		l.keys.Log = append(l.keys.Log[:len(l.keys.Log):len(l.keys.Log)], v)
	}
	if err := l.load(ctx); err != nil {
		return nil, fmt.Errorf("open ledger %s: %w", o.Origin, err)
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	l.cancel = cancel
	go l.commitAll()
	go l.cosignAll(run)
	return l, nil
}

// Append appends an entry and returns when it has reached the level; it sets the
// schema and the time. It waits for a place in the queue as long as ctx lasts.
//
// An entry with a principal and a request id is appended once: repeating it gives
// the same position. Another request under the same id is [ErrConflict]; it is
// logged as a [Conflict], whose position is returned.
//
// With [ErrNoQuorum] the position is valid: the entry is durable, and too few
// witnesses have cosigned before ctx ended or the log stopped. After other errors
// of ctx the entry may be in the log or not; any other error says that it is not.
func (l *Log) Append(ctx context.Context, e Entry, level Level) (Position, error) {
	it, err := newItem(e)
	if err != nil {
		return Position{}, fmt.Errorf("append entry: %w", err)
	}
	p, err := l.appendOnce(ctx, it)
	if err != nil {
		return p, fmt.Errorf("append entry: %w", err)
	}
	if level == Witnessed {
		if p, err = l.awaitWitnesses(ctx, p); err != nil {
			return p, fmt.Errorf("append entry: %w", err)
		}
	}
	return p, nil
}

// Health tells whether an append would succeed now: nil, or why not.
func (l *Log) Health(ctx context.Context) error {
	l.mu.Lock()
	cause, began := l.cause, l.began
	l.mu.Unlock()
	if cause != nil {
		return cause
	}
	if took := time.Since(began); !began.IsZero() && took > stalled {
		return fmt.Errorf("%w: a commit has been under way for %s", ErrStalled, took.Round(time.Second))
	}
	if len(l.queue) == cap(l.queue) {
		return ErrFull
	}
	return l.store.Probe(ctx)
}

// stalled is how long a commit may take before the log is called unhealthy.
const stalled = 5 * time.Second

// Stats returns figures about the log.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.Queued, s.Err = len(l.queue), l.cause
	s.Witnessed, s.Unwitnessed = l.witness.size, l.witness.err
	return s
}

// Reader reads the log while it is written.
func (l *Log) Reader() *Reader { return l.reader }

// Close commits what waits and stops. It leaves the store open. The error is why
// the log had stopped before, if it had.
func (l *Log) Close() error {
	l.closing.Do(func() { close(l.stopping) })
	<-l.committed
	l.cancel()
	<-l.cosigned
	l.mu.Lock()
	defer l.mu.Unlock()
	if errors.Is(l.cause, errClosed) {
		return nil
	}
	return l.cause
}

var errClosed = fmt.Errorf("%w: it was closed", ErrStopped)

// stop ends all writing. The first cause stays.
func (l *Log) stop(cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cause == nil {
		l.cause = cause
		close(l.halted)
		if !errors.Is(cause, errClosed) {
			l.opts.Log.Error("the ledger has stopped writing", "error", cause)
		}
	}
}

package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/westworld-charter/charter/internal/audit"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/metrics"
)

const (
	// ledgerTick is how often the ledger is looked after: whether it could be
	// written is known that fast also when nobody asks anything.
	ledgerTick = time.Second
	// ledgerPatience is how long a probe may take.
	ledgerPatience = 2 * time.Second
	// ledgerBackoff is the longest time between two attempts to open it again.
	ledgerBackoff = 15 * time.Second
	// maxOutbox bounds the entries about policies that wait for the ledger.
	maxOutbox = 1000
)

// codeAuditUnavailable is what /health says while the ledger cannot be written.
const codeAuditUnavailable = "audit_unavailable"

// opened is a ledger that was verified and can be appended to.
type opened struct {
	log   *ledger.Log
	store ledger.Store
}

func (o *opened) close() error { return errors.Join(o.log.Close(), o.store.Close()) }

// keeper keeps the ledger writable, as far as that is in its hands: it probes it,
// closes it when it has failed, and opens it again, which verifies it. While it
// cannot be written the auditor gives no allowances. It is the [audit.Log] of the
// auditor.
type keeper struct {
	// open opens the ledger and verifies that it continues the heads. It never
	// begins a new one when there is a head.
	open    func(ctx context.Context, heads []ledger.HeadSource) (*opened, error)
	auditor *audit.Auditor
	metrics *metrics.Metrics
	log     *slog.Logger
	origin  string // of the log
	// cosigned says that witnesses are configured.
	cosigned bool

	current atomic.Pointer[opened]      // nil while it is closed
	fault   atomic.Pointer[ledgerFault] // nil while it can be written
	last    atomic.Pointer[position]    // the latest head that was seen
	relay   relay                       // reads whatever is current

	wake chan struct{} // holds one value at most
	// The goroutine of run alone uses these, and whoever makes the keeper before.
	commits  uint64    // of the log when it was last looked at
	failures int       // attempts to open it in a row
	next     time.Time // the next attempt
	told     string    // the fault in the log

	draining sync.Mutex // held while the outbox is appended, so that its order stays
	mu       sync.Mutex
	outbox   []ledger.Entry // about policies, not appended yet; guarded by mu
}

// ledgerFault is why the ledger cannot be written.
type ledgerFault struct {
	err   error
	since time.Time
}

// position is the latest head.
type position struct {
	size       uint64
	checkpoint []byte
}

// Head implements [ledger.HeadSource].
func (p *position) Head(context.Context) ([]byte, error) { return p.checkpoint, nil }

// errLedgerClosed is what appending gives while the ledger is closed.
var errLedgerClosed = fmt.Errorf("%w: it is closed", ledger.ErrStopped)

// start opens the ledger for the first time.
func (k *keeper) start(ctx context.Context) error {
	o, err := k.open(ctx, nil)
	if err != nil {
		return err
	}
	probe, cancel := context.WithTimeout(ctx, ledgerPatience)
	defer cancel()
	if err := o.log.Health(probe); err != nil {
		return errors.Join(err, o.close())
	}
	k.use(o)
	return nil
}

func (k *keeper) use(o *opened) {
	k.relay.use(o.store)
	k.current.Store(o)
}

// AppendAll implements [audit.Log].
func (k *keeper) AppendAll(ctx context.Context, entries []ledger.Entry, level ledger.Level) ([]ledger.Position, error) {
	o := k.current.Load()
	if o == nil {
		return nil, k.cause()
	}
	if !k.cosigned {
		level = ledger.Durable // there are no witnesses to wait for
	}
	places, err := o.log.AppendAll(ctx, entries, level)
	for i := range places {
		k.remember(places[i].Size, places[i].Checkpoint)
	}
	if audit.Unrecorded(places, err, len(entries)) > 0 {
		k.metrics.LedgerFailed()
		k.look()
	}
	return places, err
}

// cause is why the ledger is closed.
func (k *keeper) cause() error {
	if f := k.fault.Load(); f != nil {
		return fmt.Errorf("%w: %w", ledger.ErrStopped, f.err)
	}
	return errLedgerClosed
}

// remember keeps the latest head, which what is opened again has to continue.
func (k *keeper) remember(size uint64, checkpoint []byte) {
	if checkpoint == nil {
		return
	}
	next := &position{size, checkpoint}
	for {
		before := k.last.Load()
		if before != nil && before.size >= size || k.last.CompareAndSwap(before, next) {
			return
		}
	}
}

// look has the ledger looked after at once.
func (k *keeper) look() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// run looks after the ledger until ctx ends. It calls also each time.
func (k *keeper) run(ctx context.Context, also func(time.Time)) {
	ticker := time.NewTicker(ledgerTick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			k.tend(ctx, now)
			also(now)
		case <-k.wake:
			k.tend(ctx, time.Now())
		}
	}
}

// tend finds out how the ledger is and does what can be done.
func (k *keeper) tend(ctx context.Context, now time.Time) {
	err := k.check(ctx, now)
	if err == nil && (k.fault.Load() != nil || k.auditor.Stats().Suspended || k.waiting() > 0) {
		if err = k.drain(ctx); err == nil {
			err = k.auditor.Flush(ctx) // which gives allowances again
		}
	}
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		k.down(err, now)
		return
	}
	if f := k.fault.Swap(nil); f != nil {
		k.told = ""
		k.log.Info("the ledger is written again", "seconds", now.Sub(f.since).Seconds())
	}
}

// check probes the ledger, or opens it. One that failed for more than a moment is
// closed: what can be opened again was verified.
func (k *keeper) check(ctx context.Context, now time.Time) error {
	if o := k.current.Load(); o != nil {
		probe, cancel := context.WithTimeout(ctx, ledgerPatience)
		defer cancel()
		err := o.log.Health(probe)
		commits := o.log.Stats().Commits
		busy := errors.Is(err, ledger.ErrFull) && commits != k.commits
		k.commits = commits
		if err == nil || busy { // who waits for a full queue is told by the deadline
			return nil
		}
		if errors.Is(err, ledger.ErrFull) || errors.Is(err, ledger.ErrStalled) || probe.Err() != nil {
			return err // it may only be slow
		}
		k.down(err, now)
		k.shut()
		return err
	}
	if now.Before(k.next) {
		return k.cause()
	}
	o, err := k.reopen(ctx)
	if err != nil {
		k.failures++
		k.next = now.Add(min(time.Second<<min(k.failures-1, 10), ledgerBackoff))
		return err
	}
	k.failures = 0
	k.use(o)
	return nil
}

func (k *keeper) reopen(ctx context.Context) (*opened, error) {
	var heads []ledger.HeadSource
	if p := k.last.Load(); p != nil {
		heads = append(heads, p)
	}
	o, err := k.open(ctx, heads)
	if err != nil {
		return nil, err
	}
	probe, cancel := context.WithTimeout(ctx, ledgerPatience)
	defer cancel()
	if err := o.log.Health(probe); err != nil {
		return nil, errors.Join(err, o.close())
	}
	return o, nil
}

// shut closes the ledger; nothing is appended from then on.
func (k *keeper) shut() {
	o := k.current.Swap(nil)
	if o == nil {
		return
	}
	k.relay.use(nil)
	if err := o.close(); err != nil {
		k.log.Debug("ledger closed", "error", err.Error()) // the reason to close it was told
	}
}

// down gives no allowances from now on, and tells so once for every reason.
func (k *keeper) down(err error, now time.Time) {
	k.auditor.Suspend()
	since := now
	if f := k.fault.Load(); f != nil {
		since = f.since
	}
	k.fault.Store(&ledgerFault{err, since})
	if text := err.Error(); text != k.told {
		k.told = text
		k.log.Error("the ledger cannot be written; what has to be recorded is not allowed until it can", "code", codeAuditUnavailable, "error", text)
	}
}

// record appends an entry about a policy. What cannot be appended now is before
// anything is allowed again: bringing a policy into force must stay possible.
func (k *keeper) record(ctx context.Context, e ledger.Entry) {
	k.leave(e)
	if err := k.drain(ctx); err != nil {
		k.auditor.Suspend()
		k.look()
	}
}

// leave has an entry appended soon. It waits for nothing.
func (k *keeper) leave(e ledger.Entry) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.outbox) >= maxOutbox {
		k.log.Error("too many entries about policies wait for the ledger; this one is given up", "kind", e.Kind, "revision", e.Revision)
		k.auditor.Missed(1)
		return
	}
	k.outbox = append(k.outbox, e)
	k.look()
}

func (k *keeper) waiting() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.outbox)
}

// drain appends what waits.
func (k *keeper) drain(ctx context.Context) error {
	k.draining.Lock()
	defer k.draining.Unlock()
	k.mu.Lock()
	waiting := k.outbox
	k.mu.Unlock()
	if len(waiting) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), audit.DefaultDeadline)
	defer cancel()
	places, err := k.AppendAll(ctx, waiting, ledger.Witnessed)
	if audit.Unrecorded(places, err, len(waiting)) > 0 {
		return err
	}
	if err != nil {
		k.log.Warn("activation of a policy is in the ledger, and too few witnesses have seen it so far", "error", err.Error())
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.outbox = slices.Clone(k.outbox[len(waiting):])
	return nil
}

// stop records what is left and closes the ledger. Nobody asks any more.
func (k *keeper) stop(ctx context.Context) error {
	err := k.drain(ctx)
	if o := k.current.Swap(nil); o != nil {
		k.relay.use(nil)
		err = errors.Join(err, o.close())
	}
	return err
}

// stats are figures for metrics.
func (k *keeper) stats() metrics.LedgerStats {
	s := metrics.LedgerStats{Up: k.fault.Load() == nil, Lost: k.auditor.Stats().Lost, Cosigned: k.cosigned}
	if p := k.last.Load(); p != nil {
		s.Size = p.size
	}
	if o := k.current.Load(); o != nil {
		of := o.log.Stats()
		s.Size, s.Queued, s.Witnessed, s.ClockBack = of.Size, of.Queued, of.Witnessed, of.ClockBack
	}
	return s
}

package ledger

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/mod/sumdb/tlog"
)

// item is an entry on its way.
type item struct {
	entry Entry
	// body has a time of its final length, which the committer overwrites.
	body    []byte
	request [32]byte
	once    bool // it has a request hash
	state   atomic.Int32
	resign  func([]Signer) []Signer // set where other keys sign from this entry on
	// witnessed is a checkpoint with cosignatures; such an item is no entry.
	witnessed []byte

	done chan struct{} // closed when position and err are set
	pos  Position
	err  error
}

// States of an item. Who changes it from queued owns it.
const (
	queued int32 = iota
	taken
	withdrawn
)

func newItem(e Entry) (*item, error) {
	if e.Kind == "" {
		return nil, fmt.Errorf("%w: no kind", ErrMalformed)
	}
	e.Schema, e.ClockBack, e.Time = Schema, false, timeFormat // which is a time
	body, err := e.Body()
	if err != nil {
		return nil, err
	}
	hash, err := e.request(body)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(body[max(0, len(body)-timeSuffix):], []byte(`,"time":"`+e.Time+`"}`)) {
		return nil, fmt.Errorf("%w: the time is not its last member", ErrMalformed)
	}
	return &item{entry: e, body: body, request: hash, once: hash != [32]byte{}, done: make(chan struct{})}, nil
}

// timeSuffix is the length of the end of a body. In the canonical order of
// members, time is the last one.
const timeSuffix = len(`,"time":"`) + len(timeFormat) + len(`"}`)

// stamp gives the item its time. Only an entry that the clock went back for is
// written anew.
func (it *item) stamp(at string, back bool) error {
	it.entry.Time = at
	if !back {
		copy(it.body[len(it.body)-len(timeFormat)-len(`"}`):], it.entry.Time)
		return nil
	}
	it.entry.ClockBack = true
	body, err := it.entry.Body()
	if err != nil {
		return err
	}
	it.body = body
	return nil
}

// appendOnce appends an entry unless its request was appended before.
func (l *Log) appendOnce(ctx context.Context, it *item) (Position, error) {
	if settled, p, err := l.reserve(ctx, it); settled {
		return p, err
	}
	return l.enqueue(ctx, it)
}

// reserve keeps the request of an item for it. It is settled when the item is not
// to be appended: it was before, another request was, or nobody can tell.
func (l *Log) reserve(ctx context.Context, it *item) (settled bool, p Position, err error) {
	if !it.once {
		return false, Position{}, nil
	}
	key := request{it.entry.Principal, it.entry.RequestID}
	for {
		l.mu.Lock()
		other := l.requests[key]
		if other == nil {
			l.requests[key] = it
		}
		l.mu.Unlock()
		if other == nil {
			break
		}
		// Somebody appends under the same id: what comes of it decides.
		select {
		case <-other.done:
		case <-ctx.Done():
			return true, Position{}, ctx.Err()
		}
	}
	hash, index, err := l.store.Request(ctx, key.principal, key.id)
	switch {
	case errors.Is(err, ErrNotFound):
		return false, Position{}, nil
	case err == nil && hash == it.request:
		var row Row
		if row, err = l.reader.Entry(ctx, index); err == nil {
			l.finish(it, duplicate(row, l.Stats().Size), nil)
			return true, it.pos, nil
		}
	case err == nil:
		l.finish(it, Position{}, ErrConflict)
		p, err = l.appendConflict(ctx, it.entry, index)
		return true, p, err
	}
	err = fmt.Errorf("look for an earlier request: %w", err)
	l.finish(it, Position{}, err)
	return true, Position{}, err
}

func duplicate(row Row, size uint64) Position {
	p := Position{Index: row.Index, Size: size, Duplicate: true}
	if row.Body != nil {
		p.CID = CID(row.Body)
	}
	return p
}

// appendConflict logs a request under an id that another one has used: whole, so
// that a denial does not vanish behind an id.
func (l *Log) appendConflict(ctx context.Context, e Entry, index uint64) (Position, error) {
	was := struct {
		Kind  Kind           `json:"kind"`
		Index uint64         `json:"index"`
		Data  jsontext.Value `json:"data,omitempty"`
	}{e.Kind, index, e.Data}
	data, err := json.Marshal(was)
	if err != nil {
		return Position{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	e.Kind, e.Data = Conflict, data
	it, err := newItem(e)
	if errors.Is(err, ErrTooLarge) { // by the few bytes that were added
		e.Data, e.Reasons = nil, nil
		it, err = newItem(e)
	}
	if err != nil {
		return Position{}, err
	}
	p, err := l.enqueue(ctx, it)
	if err != nil {
		return p, err
	}
	return p, fmt.Errorf("%w: %q of %q, at index %d", ErrConflict, e.RequestID, e.Principal, index)
}

// enqueue gives an item to the committer and waits for what becomes of it.
func (l *Log) enqueue(ctx context.Context, it *item) (Position, error) {
	if err := l.put(ctx, it); err != nil {
		return Position{}, err
	}
	return l.wait(ctx, it)
}

// put gives an item to the committer. An item that it does not take is finished.
func (l *Log) put(ctx context.Context, it *item) error {
	if cause := l.stopped(); cause != nil {
		return l.refuse(it, cause)
	}
	select {
	case <-l.stopping: // before a free place in the queue
		return l.refuse(it, l.stopCause())
	default:
	}
	select {
	case l.queue <- it:
		return nil
	default:
	}
	select {
	case l.queue <- it:
		return nil
	case <-l.stopping:
		return l.refuse(it, l.stopCause())
	case <-l.committed:
		return l.refuse(it, l.stopCause())
	case <-ctx.Done():
		return l.refuse(it, fmt.Errorf("%w: %w", ErrFull, ctx.Err()))
	}
}

// wait waits for what becomes of an item that the committer was given.
func (l *Log) wait(ctx context.Context, it *item) (Position, error) {
	select {
	case <-it.done:
	case <-l.committed: // the committer may have ended before it saw the item
		if it.state.CompareAndSwap(queued, withdrawn) {
			return Position{}, l.refuse(it, l.stopCause())
		}
		<-it.done
	case <-ctx.Done():
		if it.state.CompareAndSwap(queued, withdrawn) {
			return Position{}, l.refuse(it, fmt.Errorf("%w: %w", ErrFull, ctx.Err()))
		}
		select {
		case <-it.done:
		default:
			return Position{}, fmt.Errorf("the entry is being written: %w", ctx.Err())
		}
	}
	p := it.pos
	if it.err == nil && it.witnessed == nil {
		p.CID = CID(it.body) // not by the committer, for which all wait
	}
	return p, it.err
}

func (l *Log) stopCause() error {
	if cause := l.stopped(); cause != nil {
		return cause
	}
	return errClosed
}

func (l *Log) refuse(it *item, err error) error {
	l.finish(it, Position{}, err)
	return err
}

// finish says what became of an item that no other goroutine owns.
func (l *Log) finish(it *item, p Position, err error) {
	it.pos, it.err = p, err
	if it.once {
		l.mu.Lock()
		key := request{it.entry.Principal, it.entry.RequestID}
		if l.requests[key] == it {
			delete(l.requests, key)
		}
		l.mu.Unlock()
	}
	close(it.done)
}

const (
	// maxGroup and maxGroupBytes limit what one commit appends.
	maxGroup      = 512
	maxGroupBytes = 4 << 20
	// commitTimeout is when a commit counts as failed. It is long: failing stops
	// the log.
	commitTimeout = 30 * time.Second
)

// commitAll commits what is queued, as much at a time as has come in while the
// commit before was under way.
func (l *Log) commitAll() {
	defer close(l.committed)
	for {
		var first *item
		select {
		case first = <-l.queue:
		case <-l.stopping:
			select {
			case first = <-l.queue:
			default:
				l.stop(errClosed)
				return
			}
		}
		group := l.gather(first)
		if len(group) == 0 {
			continue
		}
		if cause := l.stopped(); cause != nil {
			l.fail(group, cause)
			return
		}
		if err := l.commit(group); err != nil {
			l.stop(fmt.Errorf("%w: %w", ErrStopped, err))
			l.fail(group, l.stopCause())
			return
		}
	}
}

// committing notes when the commit that is under way began; zero for none.
func (l *Log) committing(since time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.began = since
}

// stopped returns why the log has stopped; nil while it writes.
func (l *Log) stopped() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cause
}

func (l *Log) fail(group []*item, cause error) {
	for _, it := range group {
		l.finish(it, Position{}, cause)
	}
}

// gather takes what waits, without waiting for more.
func (l *Log) gather(first *item) []*item {
	var group []*item
	size := 0
	next := first
	for {
		if next.state.CompareAndSwap(queued, taken) {
			group = append(group, next)
			size += len(next.body)
		}
		if len(group) == maxGroup || size >= maxGroupBytes {
			return group
		}
		select {
		case next = <-l.queue:
		default:
			return group
		}
	}
}

// commit appends a group in one transaction and tells who waits.
func (l *Log) commit(group []*item) error {
	begin := time.Now()
	l.committing(begin)
	defer l.committing(time.Time{})
	c := Commit{From: l.tree.size, Rows: make([]Row, 0, len(group))}
	back, err := l.stampAll(group)
	if err != nil {
		return err
	}
	signers := l.signers // only this goroutine changes them
	for _, it := range group {
		if it.witnessed != nil {
			c.Witnessed = it.witnessed
			continue
		}
		row := Row{
			Index: l.tree.size, Body: it.body, Hash: tlog.RecordHash(it.body), Request: it.request,
			Columns: it.entry.columns(l.last),
		}
		it.pos = Position{Index: row.Index}
		c.Rows = append(c.Rows, row)
		c.Tiles = append(c.Tiles, l.tree.add(row.Hash)...)
		if it.resign != nil {
			signers = it.resign(signers)
		}
	}
	if len(c.Rows) > 0 {
		if c.Checkpoint, err = signCheckpoint(l.opts.Origin, l.tree.size, l.tree.root(), signers); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	if err := l.store.Commit(ctx, c); err != nil {
		return fmt.Errorf("commit of %d entries from index %d: %w", len(group), c.From, err)
	}
	l.reader.follow(l.tree)
	l.published(c, signers, back, time.Since(begin))
	for _, it := range group {
		it.pos.Size, it.pos.Checkpoint = l.tree.size, c.Checkpoint
		l.finish(it, it.pos, nil)
	}
	return nil
}

// stampAll gives a group its time, which is never before that of earlier entries,
// and returns how many entries were flagged.
func (l *Log) stampAll(group []*item) (flagged uint64, err error) {
	now := l.opts.Now().Round(0) // without the monotonic clock, which never goes back
	back := now.Before(l.last)
	if back {
		now = l.last
	}
	l.last = now
	at := stampOf(now)
	for _, it := range group {
		if it.witnessed != nil {
			continue
		}
		if err := it.stamp(at, back); err != nil {
			return 0, err
		}
		if back {
			flagged++
		}
	}
	return flagged, nil
}

func (l *Log) published(c Commit, signers []Signer, back uint64, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.Commits++
	if len(c.Rows) == 0 {
		return
	}
	l.signers, l.head = signers, c.Checkpoint
	l.stats.Size = l.tree.size
	l.stats.Appended += uint64(len(c.Rows))
	l.stats.ClockBack += back
	l.stats.LastGroup, l.stats.LastCommit = len(c.Rows), took
}

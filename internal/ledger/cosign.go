package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// witnessing is what is known of witnesses; mu of the [Log] guards it.
type witnessing struct {
	size       uint64 // of checkpoint
	checkpoint []byte // the latest with a quorum of cosignatures
	err        error  // of the latest attempt
	news       chan struct{}
	wake       chan struct{} // somebody waits
}

const (
	cosignTimeout = 30 * time.Second
	firstRetry    = 500 * time.Millisecond
)

// awaitWitnesses waits until an entry is below a witnessed checkpoint.
func (l *Log) awaitWitnesses(ctx context.Context, p Position) (Position, error) {
	if l.opts.Cosign == nil {
		return p, fmt.Errorf("%w: entry %d is durable: no witnesses are configured", ErrNoQuorum, p.Index)
	}
	for {
		l.mu.Lock()
		w, stopped := l.witness, l.cause
		l.mu.Unlock()
		if w.size > p.Index {
			p.Size, p.Checkpoint = w.size, w.checkpoint
			return p, nil
		}
		if stopped != nil { // no cosignature can be kept any more
			return p, fmt.Errorf("%w: entry %d is durable: %w", ErrNoQuorum, p.Index, stopped)
		}
		select {
		case w.wake <- struct{}{}:
		default:
		}
		select {
		case <-w.news:
		case <-l.halted:
		case <-ctx.Done():
			if w.err == nil {
				w.err = ctx.Err()
			}
			return p, fmt.Errorf("%w: entry %d is durable: %w", ErrNoQuorum, p.Index, w.err)
		}
	}
}

// cosignAll asks witnesses until the log stops: at once when somebody waits, now
// and then otherwise, less often while it fails.
func (l *Log) cosignAll(ctx context.Context) {
	defer close(l.cosigned)
	if l.opts.Cosign == nil {
		return
	}
	retry := firstRetry
	wait := time.NewTimer(0) // what was committed before the start, first
	defer wait.Stop()
	wake := l.witness.wake
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.halted:
			return
		case <-wait.C:
		case <-wake:
		}
		err := l.cosignHead(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			retry, wake = firstRetry, l.witness.wake
			wait.Reset(l.opts.CosignEvery)
			continue
		}
		l.opts.Log.Warn("witnesses have not cosigned the ledger", "error", err)
		wake = nil // who waits does not make it try more often
		wait.Reset(retry)
		retry = min(2*retry, l.opts.CosignEvery)
	}
}

// cosignHead has the latest checkpoint cosigned and keeps it, unless it was.
func (l *Log) cosignHead(ctx context.Context) error {
	l.mu.Lock()
	head, size, old := l.head, l.stats.Size, l.witness.size
	l.mu.Unlock()
	if size == old || head == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, cosignTimeout)
	defer cancel()
	signed, err := l.opts.Cosign.Cosign(ctx, old, func(old uint64) (tlog.TreeProof, error) {
		return l.reader.Consistency(ctx, old, size)
	}, head)
	if err == nil {
		err = l.keepWitnessed(ctx, head, signed)
	}
	if errors.Is(err, ErrBehind) {
		// A witness has shown a head of ours that this log does not continue: to go
		// on would be to fork it.
		l.stop(fmt.Errorf("%w: %w", ErrStopped, err))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.witness.err = err; err == nil {
		l.witness.size, l.witness.checkpoint = size, signed
	}
	close(l.witness.news)
	l.witness.news = make(chan struct{})
	return err
}

// keepWitnessed commits a checkpoint with cosignatures, if it is the one that was
// given to the witnesses.
func (l *Log) keepWitnessed(ctx context.Context, head, signed []byte) error {
	_, size, root, err := ParseCheckpoint(head)
	if err != nil {
		return err
	}
	l.mu.Lock()
	keys := l.keys
	l.mu.Unlock()
	c, err := keys.OpenCheckpoint(signed)
	if err != nil {
		return err
	}
	if c.Size != size || c.Root != root {
		return errors.New("witnesses have cosigned another checkpoint")
	}
	it := &item{witnessed: signed, done: make(chan struct{})}
	_, err = l.enqueue(ctx, it)
	return err
}

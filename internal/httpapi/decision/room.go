package decisionapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/westworld-charter/charter/internal/wire"
)

// A batch of questions can take as much memory as ten thousand of them, so what
// all batches take together is bounded: their bodies as they arrive and their
// answers until they are sent by [room.limit], what lies between by the number of
// batches that are decided at once.
const (
	// roomBodies is how many of the largest bodies have room together, leastRoom
	// the least room in bytes.
	roomBodies, leastRoom = 16, 64 << 20
	// leastBuffer is the first buffer of a body in bytes, leastDeciding the
	// least number of batches that are decided at once: one must not keep all
	// others waiting, not even on one core.
	leastBuffer, leastDeciding = 4 << 10, 2
	// busyFor is when those come back who found no room.
	busyFor = time.Second
)

// room is the memory that batches share. Half of it is as much as one identity
// gets, so that none keeps the others out. Safe for concurrent use.
type room struct {
	limit    int64         // bytes
	patience time.Duration // for a turn to decide
	turns    chan struct{} // one for every batch that is being decided

	mu    sync.Mutex
	taken int64            // bytes; guarded by mu
	by    map[string]int64 // the same by identity; guarded by mu
}

func newRoom(maxBody int64, patience time.Duration) *room {
	return &room{
		limit: max(leastRoom, roomBodies*maxBody), patience: patience, by: map[string]int64{},
		turns: make(chan struct{}, max(leastDeciding, runtime.GOMAXPROCS(0))),
	}
}

// lease is what one batch has of the room. Only the goroutine that serves the
// request touches it.
type lease struct {
	*room
	id       *Identity
	held     int64
	deciding bool
}

const leaseKey = "decisionapi.lease"

// leaseOf returns the lease of a request; nil unless it is a batch.
func leaseOf(c echo.Context) *lease {
	l, _ := c.Get(leaseKey).(*lease)
	return l
}

// many gives the requests of a route a lease: their bodies are counted as they
// arrive, they take turns from there to the encoded answer, and what they hold is
// given back when the answer is sent.
func (a *api) many(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		l := &lease{room: a.room, id: identityOf(c)}
		c.Set(leaseKey, l)
		defer func() {
			l.decided()
			l.giveBack()
			c.Set(leaseKey, (*lease)(nil)) // what answers an error has no lease
		}()
		return next(c)
	}
}

// read is io.ReadAll within the room. declared is the length of the body, -1 if
// unknown.
func (l *lease) read(in io.Reader, declared int64) ([]byte, error) {
	var body []byte
	for {
		if len(body) == cap(body) {
			next := max(leastBuffer, int64(2*cap(body)))
			if declared >= int64(cap(body)) { // one byte more finds the end without growing
				next = min(next, declared+1)
			}
			if err := l.take(next - int64(cap(body))); err != nil {
				return nil, err
			}
			body = append(make([]byte, 0, next), body...)
		}
		n, err := in.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case errors.Is(err, io.EOF):
			return body, nil
		case err != nil:
			return nil, err
		}
	}
}

// take takes n bytes, unless there is no room.
func (l *lease) take(n int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := l.id.key()
	switch {
	case l.taken+n > l.limit:
		return overloaded()
	case l.by[key]+n > l.limit/2:
		return &wire.Error{
			Status: http.StatusTooManyRequests, Code: wire.CodeTooMany, Retry: busyFor,
			Message: fmt.Sprintf("too many batches from %s at once, slow down", l.id),
		}
	}
	l.add(key, n)
	return nil
}

// answered counts an encoded answer. It is there already, so it is never
// refused: what is refused is what comes next.
func (l *lease) answered(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.add(l.id.key(), int64(n))
}

// add needs mu.
func (l *lease) add(key string, n int64) {
	l.taken += n
	l.by[key] += n
	l.held += n
}

func (l *lease) giveBack() {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := l.id.key()
	l.taken -= l.held
	if l.by[key] -= l.held; l.by[key] == 0 {
		delete(l.by, key)
	}
	l.held = 0
}

// decide waits for a turn.
func (l *lease) decide(ctx context.Context) error {
	waited, cancel := context.WithTimeout(ctx, l.patience)
	defer cancel()
	select {
	case l.turns <- struct{}{}:
		l.deciding = true
		return nil
	case <-waited.Done():
		if ctx.Err() != nil {
			return undecided(ctx, ctx.Err())
		}
		return overloaded()
	}
}

// decided ends the turn, if it has one.
func (l *lease) decided() {
	if l.deciding {
		<-l.turns
		l.deciding = false
	}
}

func overloaded() error {
	return &wire.Error{
		Status: http.StatusServiceUnavailable, Code: codeOverloaded, Retry: busyFor,
		Message: "the server has too many batches at once; nothing is allowed, ask again",
	}
}

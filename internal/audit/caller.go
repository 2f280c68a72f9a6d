package audit

import (
	"context"
	"strconv"
)

// Caller is who asks, for the record.
type Caller struct {
	// Principal is the authenticated identity in UTF-8, its kind before its name:
	// cert:edge-1; "" when there is none.
	Principal string
	// RequestID was chosen by the caller for this request and its retries, "" when
	// it chose none. It is not an id that several requests share, such as one for
	// finding them in logs: the second of two denials under one id would be taken
	// for a retry.
	RequestID string
	Route     string // where the request was sent, one of a known list
}

type callerKey struct{}

// WithCaller returns a context of a request by c.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf returns who asks; the zero Caller when nobody said so.
func CallerOf(ctx context.Context) Caller { return callerOf(ctx) }

func callerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

// Part is the caller for the i-th question of a request: each has an id of its
// own, which is the same in a retry.
func (c Caller) Part(i int) Caller {
	if c.RequestID != "" {
		c.RequestID = c.RequestID + "#" + strconv.Itoa(i)
	}
	return c
}

// Package bundlesapi serves policy bundles over HTTP as OPA downloads them, and
// beside each the Sigstore bundles with what is stated about it.
//
// Start with [New] and mount [API.Routes]; the caller owns the listener, proves who
// asks and calls [API.Close] when it stops. Guaranteed are: an archive is sent byte
// by byte as it was signed, never compressed again and never as a delta, with the
// digest of its bytes as ETag; who asks with the ETag of what it would get is
// answered with 304, or waits for something else when it prefers to, and is woken at
// once; how long and how many wait is bounded; no shared cache keeps an answer, since
// nodes may get different ones.
package bundlesapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/westworld-charter/charter/internal/wire"
)

// Path is where bundles are, in echo's form. That of the statements about one ends in
// [StatementsSuffix].
const Path = "/bundles/:name"

// StatementsSuffix ends the path of the Sigstore bundles about a bundle.
const StatementsSuffix = ".sigstore.json"

// Limits of [Options].
const (
	DefaultMaxWait    = 5 * time.Minute
	DefaultMaxWaiters = 10_000
	DefaultTransfer   = 5 * time.Minute
)

// Request is what is asked for, and by whom.
type Request struct {
	Name      string // of the bundle, in UTF-8; at most 256 bytes
	Node      string // that the caller speaks for; "" for none
	Principal string // its kind before its name, such as cert:edge-1; "" is nobody that was proven
}

// Release is an archive with what is stated about it. Nobody changes it.
type Release struct {
	Archive     []byte // .tar.gz
	LayerDigest string // sha256:HEX of Archive
	Statements  []byte // Sigstore bundles, one per line; nil when it is unsigned
	// ReleaseDigest is sha256:HEX of the manifest that Statements are about; "" when
	// there is none.
	ReleaseDigest string
}

// Source knows which release a request is answered with. It is used concurrently.
type Source interface {
	// Current returns the release, false when there is no bundle of that name for who
	// asks. changed is closed when the answer may be another one; nil never is.
	Current(r Request) (release Release, changed <-chan struct{}, ok bool)
}

// Caller is who asks.
type Caller struct{ Node, Principal string }

// Options configure [New]. Source is required.
type Options struct {
	Source Source
	// Caller says who sent a request; nil is nobody that was proven.
	Caller func(ctx context.Context) Caller
	// MaxWait bounds one long poll; 0 is 5 minutes.
	MaxWait time.Duration
	// MaxWaiters bounds the long polls at once; 0 is 10,000. More are refused.
	MaxWaiters int
	// Transfer is how long sending one archive may take; 0 is 5 minutes. With the
	// time of waiting it replaces the timeout of the server for writing.
	Transfer time.Duration
	Log      *slog.Logger // nil logs nothing
}

// API serves bundles. It is safe for concurrent use.
type API struct {
	Options

	waiting atomic.Int64
	closed  chan struct{}
	once    sync.Once // closes closed
}

// New returns an API; its error is about options that cannot be used.
func New(o Options) (*API, error) {
	if o.Source == nil {
		return nil, errors.New("bundlesapi: a Source is required")
	}
	if o.Caller == nil {
		o.Caller = func(context.Context) Caller { return Caller{} }
	}
	if o.MaxWait == 0 {
		o.MaxWait = DefaultMaxWait
	}
	if o.MaxWaiters == 0 {
		o.MaxWaiters = DefaultMaxWaiters
	}
	if o.Transfer == 0 {
		o.Transfer = DefaultTransfer
	}
	if min(o.MaxWait, o.Transfer) < 0 || o.MaxWaiters < 0 {
		return nil, errors.New("bundlesapi: limits must be positive")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &API{Options: o, closed: make(chan struct{})}, nil
}

// Routes returns the routes of the API.
func (a *API) Routes() []wire.Route {
	return []wire.Route{{Method: http.MethodGet, Path: Path, Scope: wire.AnyScope, Handler: http.HandlerFunc(a.handle)}}
}

// Close answers everybody who waits, at once, and lets nobody wait any more. What is
// there is served as before.
func (a *API) Close() { a.once.Do(func() { close(a.closed) }) }

// Waiting returns how many long polls wait.
func (a *API) Waiting() int { return int(a.waiting.Load()) }

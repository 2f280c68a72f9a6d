// Package uploadsapi takes what stock OPAs upload: the decisions that they made with
// our bundles, which become entries of the ledger, and their status, which tells what
// they run.
//
// Start with [New] and mount [API.Routes]; the caller owns the listener, proves who
// uploads and lets nobody else through. Guaranteed are: an upload is answered with
// success only when what it says is in the ledger, and one that comes again is recorded
// once, so an OPA that keeps what was not taken loses nothing; bodies, what they
// decompress to, uploads at once and instances in memory are bounded; no label value
// and no other content of an input is kept; who speaks for one node reports for that
// one alone, and no report is ever evidence against the node: see [audit.Reporter].
package uploadsapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/westworld-charter/charter/internal/audit"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/wire"
)

// Paths of this API. OPA puts the partition of its configuration behind them, if it has
// one; it means nothing here.
const (
	logsPath   = "/logs"
	statusPath = "/status"
)

// Limits of [Options].
const (
	DefaultMaxBody      = 1 << 20
	DefaultMaxContent   = 16 << 20
	DefaultMaxInstances = 10_000
	DefaultForget       = 24 * time.Hour
)

// slots is how many uploads are worked on at the same time, and ownSlots how many of
// one uploader: one that is slow keeps nobody else waiting. More are refused.
const slots, ownSlots = 8, 2

// Recorder records decisions; an [audit.Auditor] is one.
type Recorder interface {
	Report(ctx context.Context, by audit.Reporter, decisions []audit.Reported) (audit.ReportedCounts, error)
}

// Appender is the part of [ledger.Log] that is needed.
type Appender interface {
	AppendAll(ctx context.Context, entries []ledger.Entry, level ledger.Level) ([]ledger.Position, error)
}

// Caller is who uploads.
type Caller struct {
	Principal string // its kind before its name, such as cert:edge-1; "" is nobody that was proven
	Node      string // that it speaks for; "" for none
	AnyNode   bool   // it may report for all nodes
}

// Observer counts uploads. It is used concurrently; kind is logs or status.
type Observer interface {
	Uploaded(kind string, status int)
	// DecisionsReported is told what became of n decisions: denied, allowed, repeated,
	// refused, unreadable or ignored, or dropped by the OPA.
	DecisionsReported(result string, n uint64)
}

// Options configure [New]. Recorder, Log and Caller are required.
type Options struct {
	Recorder Recorder
	Log      Appender // takes entries about instances
	Caller   func(ctx context.Context) Caller
	Observer Observer // nil counts nothing
	// Charge takes n decisions more from the budget of who uploads, beside the one that
	// its request was admitted for, and returns 0, or how long it has to wait since
	// nothing is left. Nil never limits.
	Charge func(ctx context.Context, n int) time.Duration
	// MaxBody bounds a body as it is sent, in bytes; 0 is 1 MiB. The caller enforces it
	// by [wire.Route.MaxBody] and hands in what it decompresses to.
	MaxBody int64
	// MaxContent bounds what a body decompresses to, in bytes; 0 is 16 MiB.
	MaxContent int64
	// MaxInstances bounds the instances that are kept in mind; 0 is 10,000. Beyond, the
	// one that was silent for the longest time is forgotten.
	MaxInstances int
	// Forget is after which time of silence an instance is forgotten; 0 is a day.
	Forget time.Duration
	Now    func() time.Time // nil is time.Now
	Logger *slog.Logger     // nil logs nothing
}

// API takes uploads. It is safe for concurrent use.
type API struct {
	Options

	instances *instances

	mu   sync.Mutex
	busy map[string]int // uploads under way by principal; guarded by mu
	all  int            // of them; guarded by mu
}

// New returns an API; its error is about options that cannot be used.
func New(o Options) (*API, error) {
	if o.Recorder == nil || o.Log == nil || o.Caller == nil {
		return nil, errors.New("uploadsapi: Recorder, Log and Caller are required")
	}
	if o.Observer == nil {
		o.Observer = blind{}
	}
	if o.MaxBody == 0 {
		o.MaxBody = DefaultMaxBody
	}
	if o.MaxContent == 0 {
		o.MaxContent = DefaultMaxContent
	}
	if o.MaxInstances == 0 {
		o.MaxInstances = DefaultMaxInstances
	}
	if o.Forget == 0 {
		o.Forget = DefaultForget
	}
	if min(o.MaxBody, o.MaxContent) < 0 || o.MaxInstances < 0 || o.Forget < 0 {
		return nil, errors.New("uploadsapi: limits must be positive")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &API{
		Options: o, busy: map[string]int{},
		instances: &instances{limit: o.MaxInstances, forget: o.Forget, known: map[instanceKey]Instance{}},
	}, nil
}

// blind is the Observer of those who want none.
type blind struct{}

func (blind) Uploaded(string, int)             {}
func (blind) DecisionsReported(string, uint64) {}

// Routes returns the routes of the API.
func (a *API) Routes() []wire.Route {
	var routes []wire.Route
	for path, serve := range map[string]handler{logsPath: a.logs, statusPath: a.status} {
		for _, p := range []string{path, path + "/*"} {
			routes = append(routes, wire.Route{Method: http.MethodPost, Path: p, Scope: wire.ScopeUpload, MaxBody: a.MaxBody, Handler: a.handler(path[1:], serve)})
		}
	}
	return routes
}

// Instances returns the OPAs that uploaded their status and are not forgotten, in the
// order of their ids.
func (a *API) Instances() []Instance { return a.instances.list(a.Now()) }

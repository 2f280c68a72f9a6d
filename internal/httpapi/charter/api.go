// Package charterapi serves what happens around decisions over HTTP: violations and
// the reports of them, investigations, the standing of nodes, what a committee
// signed, charters that are validated, compared and put in force, and the alerts of
// an Alertmanager.
//
// Start with [Routes]; the caller owns the listener, proves identities and lets
// nobody pass a [wire.Route] who may not. Guaranteed are: bodies, answers and the work for
// one request are bounded; what is not understood in full is refused by the name of
// its field; every error has the shape code, message, errors; without a proof of
// identity nothing is changed but by an anonymous report, where the charter takes
// them, and its sender is kept nowhere; a request of the committee counts by its
// signatures alone, whoever brings it.
package charterapi

import (
	"context"
	_ "embed"
	"errors"
	"iter"
	"log/slog"
	"net/http"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/committee"
	"github.com/westworld-charter/charter/internal/diag"
	"github.com/westworld-charter/charter/internal/enforcement"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/wire"
)

// Paths of this API.
const (
	violationsPath     = "/v1/violations"
	investigationsPath = "/v1/investigations"
	nodesPath          = "/v1/nodes"
	overridesPath      = "/v1/overrides"
	revocationsPath    = "/v1/revocations"
	committeePath      = "/v1/committee"
	chartersPath       = "/v1/charters"
	alertsPath         = "/alerts"
	openapiPath        = "/v1/openapi.yaml"
)

// Limits of bodies in bytes.
const (
	maxBody     = 64 << 10
	maxReport   = enforcement.MaxEvidence*4/3 + maxBody // evidence may be in Base64
	maxAlerts   = 1 << 20
	maxCharters = 512 << 10 // all texts of one request together
	maxBundle   = 16 << 20
)

// Enforcer is the part of [enforcement.Enforcer] that is served.
type Enforcer interface {
	Report(ctx context.Context, r enforcement.Report) (enforcement.Violation, error)
	Violation(id string) (enforcement.Violation, bool)
	Violations(f enforcement.Filter) []enforcement.Violation

	Open(ctx context.Context, s enforcement.Step) (enforcement.Investigation, error)
	Assign(ctx context.Context, s enforcement.Step) (enforcement.Investigation, error)
	Note(ctx context.Context, s enforcement.Step) (enforcement.Investigation, error)
	Resolve(ctx context.Context, s enforcement.Step) (enforcement.Investigation, error)
	Dismiss(ctx context.Context, s enforcement.Step) (enforcement.Investigation, error)
	Investigation(id string) (enforcement.Investigation, bool)
	Investigations(f enforcement.Filter) []enforcement.Investigation

	Node(id string) enforcement.Node
	Nodes() []enforcement.Node
	Restore(ctx context.Context, s committee.Signed) (enforcement.Node, error)

	Override(ctx context.Context, s committee.Signed) (enforcement.Override, error)
	Renew(ctx context.Context, s committee.Signed) (enforcement.Override, error)
	EndOverride(ctx context.Context, s committee.Signed) (enforcement.Override, error)
	Overrides() []enforcement.Override

	Revoke(ctx context.Context, r enforcement.Revocation) (enforcement.Revocation, error)
	RevokeSigned(ctx context.Context, s committee.Signed) (enforcement.Revocation, error)
	EndRevocation(ctx context.Context, s committee.Signed) (enforcement.Node, error)
	Revocations() []enforcement.Revocation
}

// History is the part of [ledger.Reader] that is needed.
type History interface {
	Checkpoint(ctx context.Context) ([]byte, error)
	Rows(ctx context.Context, from, to uint64) iter.Seq2[ledger.Row, error]
	Find(ctx context.Context, f ledger.Filter) iter.Seq2[ledger.Row, error]
}

// Appender is the part of [ledger.Log] that is needed.
type Appender interface {
	AppendAll(ctx context.Context, entries []ledger.Entry, level ledger.Level) ([]ledger.Position, error)
}

// Evidence is the part of [enforcement.Evidence] that is needed.
type Evidence interface {
	Get(ctx context.Context, hash string) (content []byte, mediaType string, err error)
}

// Caller is who asks.
type Caller struct {
	Principal string // its kind before its name, such as cert:edge-1; "" is nobody that was proven
	RequestID string // the Idempotency-Key; "" for none
	Node      string // that it speaks for; "" for none
	Scopes    []string
}

// has reports whether the caller has one of some scopes.
func (c Caller) has(scopes ...string) bool {
	for _, want := range scopes {
		for _, s := range c.Scopes {
			if s == want {
				return true
			}
		}
	}
	return false
}

// Options configure [Routes]. Charter, Check, Policies and Caller are required.
type Options struct {
	// Enforcer, History and Log need a ledger; nil leaves out what needs them.
	Enforcer Enforcer
	History  History
	Log      Appender
	Evidence Evidence                // nil keeps none
	Charter  func() *charter.Charter // the active one; nil while there is none
	// Check finds what shows between the clauses of a charter and against its base.
	Check    func(*charter.Charter) diag.List
	State    func() map[string]any // data.charter_state, not to be modified; nil is none
	Policies Policies
	Caller   func(ctx context.Context) Caller
	// Timeout bounds one answer; 0 is 10 s. Putting a policy in force may take longer.
	Timeout time.Duration
	Logger  *slog.Logger     // nil logs nothing
	Now     func() time.Time // nil is time.Now
}

func (o *Options) complete() error {
	if o.Charter == nil || o.Check == nil || o.Policies == nil || o.Caller == nil {
		return errors.New("charterapi: Charter, Check, Policies and Caller are required")
	}
	if o.Enforcer != nil && (o.History == nil || o.Log == nil) {
		return errors.New("charterapi: an Enforcer needs a History and a Log")
	}
	if o.State == nil {
		o.State = func() map[string]any { return nil }
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Timeout < 0 {
		return errors.New("charterapi: Timeout must be positive")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return nil
}

// api holds what the handlers share, fixed after Routes.
type api struct {
	Options
	guests, known *limiter // of reports
	reading       chan struct{}
	compiling     chan struct{}
	reporting     chan struct{}
	alerts        *recent
}

const (
	// readers is how many reports with evidence are read at the same time.
	readers = 4
	// compilers is how many charters are validated at the same time.
	compilers = 1
)

// Routes returns the routes of the API.
func Routes(o Options) ([]wire.Route, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	a := &api{
		Options: o, guests: newLimiter(guestReports()), known: newLimiter(knownReports()),
		reading: make(chan struct{}, readers), compiling: make(chan struct{}, compilers), reporting: make(chan struct{}, reporters), alerts: newRecent(),
	}
	routes := append(a.charterRoutes(), wire.Route{Method: http.MethodGet, Path: openapiPath, Scope: wire.Public, Handler: wire.OpenAPI(openapi)})
	if o.Enforcer != nil {
		routes = append(routes, a.violationRoutes()...)
		routes = append(routes, a.investigationRoutes()...)
		routes = append(routes, a.nodeRoutes()...)
		routes = append(routes, a.committeeRoutes()...)
		routes = append(routes, a.reportRoutes()...)
		routes = append(routes, a.alertRoute())
	}
	return routes, nil
}

// handler answers one request, or returns why not.
type handler func(w http.ResponseWriter, r *http.Request) error

// get is a route that reads.
func (a *api) get(path string, serve handler, scope string, or ...string) wire.Route {
	return wire.Route{Method: http.MethodGet, Path: path, Scope: scope, Or: or, MaxBody: maxBody, Handler: a.handler(serve)}
}

// post is a route that changes something, or takes a body.
func (a *api) post(path string, serve handler, limit int64, scope string, or ...string) wire.Route {
	return wire.Route{Method: http.MethodPost, Path: path, Scope: scope, Or: or, MaxBody: limit, Handler: a.handler(serve)}
}

// handler gives a handler its deadline and its errors their shape.
func (a *api) handler(serve handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), a.Timeout)
		defer cancel()
		if err := serve(w, r.WithContext(ctx)); err != nil {
			a.refuse(w, err)
		}
	})
}

//go:embed openapi.yaml
var openapi []byte

// Specification returns the OpenAPI 3.1 document of this API, in YAML.
func Specification() []byte { return append([]byte(nil), openapi...) }

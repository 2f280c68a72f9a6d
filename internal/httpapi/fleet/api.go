// Package fleetapi serves what package fleet knows and does over HTTP: reports of nodes,
// who runs what, releases that are brought here, and how they are rolled out.
//
// Start with [Routes]; the caller owns the listener, proves identities and lets nobody
// pass a [wire.Route] who may not. Guaranteed are: a node reports for itself alone; a release
// is kept only after it was verified, whoever brings it; bodies, answers and the uploads
// at once are bounded; what is not understood in full is refused by the name of its
// field; every error has the shape code, message, errors.
package fleetapi

import (
	"context"
	_ "embed"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/westworld-charter/charter/internal/fleet"
	"github.com/westworld-charter/charter/internal/release"
	"github.com/westworld-charter/charter/internal/wire"
)

// Paths of this API.
const (
	nodesPath    = "/v1/nodes"
	reportPart   = "/report"
	fleetPath    = "/v1/fleet"
	releasesPath = "/v1/releases"
	rolloutsPath = "/v1/rollouts"
	openapiPath  = "/v1/fleet/openapi.yaml"
)

// Limits of bodies in bytes.
const (
	maxBody    = 64 << 10
	maxArchive = 2*release.MaxLayer + 8<<20 // two releases with their statements
)

// upload is how long an archive may take to arrive and to be verified.
const upload = 5 * time.Minute

// Fleet is the part of [fleet.Fleet] that is served.
type Fleet interface {
	Report(ctx context.Context, r fleet.Report) (fleet.Desired, error)
	Nodes() []fleet.Node
	Publish(ctx context.Context, by string, releases []fleet.Release) (fleet.Published, error)
	Channels() []string
	Releases(channel string) []fleet.Release
	Rollouts() []fleet.Progress
	Begin(ctx context.Context, by, channel string, sequence int64, p fleet.Plan) (fleet.Rollout, error)
	Promote(ctx context.Context, by, channel string) (fleet.Rollout, error)
	Halt(ctx context.Context, by, channel string) (fleet.Rollout, error)
	RollBack(ctx context.Context, by, channel string) (fleet.Rollout, error)
}

// Refusal is why an archive is not taken. The code is that of the package that refuses.
type Refusal struct {
	Code string
	Err  error
}

func (r *Refusal) Error() string { return r.Err.Error() }

// Unwrap returns the cause.
func (r *Refusal) Unwrap() error { return r.Err }

// Caller is who asks.
type Caller struct {
	Principal string // its kind before its name, such as cert:edge-1; "" is nobody that was proven
	Node      string // that it speaks for; "" for none
	// Anybody is believed whatever it says, on a machine of its own.
	Anybody bool
}

// Options configure [Routes]. Fleet and Caller are required.
type Options struct {
	Fleet  Fleet
	Caller func(ctx context.Context) Caller
	// Verify reads an archive and verifies each release in it as a node does. What it
	// does not accept is a [*Refusal]. Nil takes no releases.
	Verify func(ctx context.Context, archive []byte) ([]fleet.Release, error)
	// OPAs are the stock OPAs that have told of themselves; nil is none.
	OPAs func() []fleet.OPA
	// Reported is called with what became of each report: taken, or why not; nil does
	// nothing.
	Reported func(result string)
	Logger   *slog.Logger // nil logs nothing
}

// api holds what the handlers share, fixed after Routes.
type api struct {
	Options
	uploading chan struct{} // holds who reads an archive, one at a time
}

// Routes returns the routes of the API.
func Routes(o Options) ([]wire.Route, error) {
	if o.Fleet == nil || o.Caller == nil {
		return nil, errors.New("fleetapi: Fleet and Caller are required")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.OPAs == nil {
		o.OPAs = func() []fleet.OPA { return nil }
	}
	if o.Reported == nil {
		o.Reported = func(string) {}
	}
	a := &api{Options: o, uploading: make(chan struct{}, 1)}
	get := func(path string, serve handler) wire.Route {
		return wire.Route{Method: http.MethodGet, Path: path, Scope: wire.ScopeAudit, Or: []string{wire.ScopeAdmin}, MaxBody: maxBody, Handler: a.handler(serve)}
	}
	post := func(path, scope string, limit int64, serve handler) wire.Route {
		return wire.Route{Method: http.MethodPost, Path: path, Scope: scope, MaxBody: limit, Handler: a.handler(serve)}
	}
	act := func(step string, do func(context.Context, string, string) (fleet.Rollout, error)) wire.Route {
		return post(rolloutsPath+"/:channel"+step, wire.ScopeAdmin, maxBody, func(w http.ResponseWriter, r *http.Request) error { return a.act(w, r, step, do) })
	}
	return []wire.Route{
		post(nodesPath+"/:id"+reportPart, wire.ScopeReport, fleet.MaxReport, a.report),
		get(fleetPath, a.fleet),
		get(releasesPath, a.releases),
		post(releasesPath, wire.ScopeAdmin, maxArchive, a.publish),
		get(rolloutsPath, a.rollouts),
		post(rolloutsPath, wire.ScopeAdmin, maxBody, a.begin),
		act("/promote", o.Fleet.Promote),
		act("/halt", o.Fleet.Halt),
		act("/rollback", o.Fleet.RollBack),
		{Method: http.MethodGet, Path: openapiPath, Scope: wire.Public, Handler: wire.OpenAPI(openapi)},
	}, nil
}

// handler answers one request, or returns why not.
type handler func(w http.ResponseWriter, r *http.Request) error

func (a *api) handler(serve handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := serve(w, r); err != nil {
			wire.Refuse(w, a.Logger, wire.From(err, refusal))
		}
	})
}

//go:embed openapi.yaml
var openapi []byte

// Specification returns the OpenAPI 3.1 document of this API, in YAML.
func Specification() []byte { return append([]byte(nil), openapi...) }

// Package ledgerapi serves a ledger over HTTP: as C2SP tlog-tiles to whoever wants
// to verify it, as entries, proofs and receipts to auditors, and the witness of
// this process (C2SP tlog-witness) to other ledgers.
//
// Start with [Routes]; the caller owns the listener and decides who may ask for
// what is not public. Guaranteed are: public routes tell hashes, sizes and
// signatures, never what an entry says; a tile of a width has the same bytes for
// ever; answers, the time for them and the number of searches at once are
// bounded; every error has the shape code, message, errors.
package ledgerapi

import (
	"context"
	_ "embed"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/wire"
	"github.com/westworld-charter/charter/internal/witness"
)

// Paths of this API.
const (
	ledgerPath      = "/v1/ledger"
	checkpointPath  = ledgerPath + "/checkpoint"
	tilePath        = ledgerPath + "/tile/"
	bundlePath      = ledgerPath + "/tile/entries/"
	entriesPath     = ledgerPath + "/entries"
	inclusionPath   = ledgerPath + "/proof/inclusion"
	consistencyPath = ledgerPath + "/proof/consistency"
	receiptPath     = ledgerPath + "/receipt"
	keysPath        = ledgerPath + "/keys"
	rotatePath      = keysPath + "/rotate"
	retirePath      = keysPath + "/retire"
	openapiPath     = ledgerPath + "/openapi.yaml"

	witnessPath  = "/v1/witness"
	evidencePath = witnessPath + "/evidence"
)

// searches is how many searches run at the same time; more are refused.
const searches = 4

// Options configure [Routes]. At least one of Reader and Witness is required.
type Options struct {
	Reader  *ledger.Reader  // nil leaves /v1/ledger out
	Keys    Keys            // of the ledger of Reader; nil leaves /v1/ledger/keys out
	Witness *witness.Server // nil leaves /v1/witness out
	// Timeout bounds one answer, since a reader that lingers keeps the store from
	// tidying up; 0 is 10 s.
	Timeout time.Duration
	Log     *slog.Logger // nil logs nothing
}

// api holds what the handlers share, fixed after Routes.
type api struct {
	Options
	searching chan struct{} // one for each search under way
}

// Routes returns the routes of the API.
func Routes(o Options) ([]wire.Route, error) {
	if o.Reader == nil && o.Witness == nil {
		return nil, errors.New("ledgerapi: a Reader or a Witness is required")
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Timeout < 0 {
		return nil, errors.New("ledgerapi: Timeout must be positive")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	a := &api{Options: o, searching: make(chan struct{}, searches)}
	var routes []wire.Route
	if o.Reader != nil {
		routes = append(routes, a.ledgerRoutes()...)
	}
	if o.Witness != nil {
		routes = append(routes, a.witnessRoutes()...)
	}
	return append(routes, wire.Route{Method: http.MethodGet, Path: openapiPath, Scope: wire.Public, Handler: wire.OpenAPI(openapi)}), nil
}

// ledgerRoutes are for everybody where they tell hashes: verifying must not need a
// permission, and clients of tiles and of witnesses bring none. All others tell what
// entries say.
func (a *api) ledgerRoutes() []wire.Route {
	get := func(path, scope string, serve handler) wire.Route {
		return wire.Route{Method: http.MethodGet, Path: path, Scope: scope, Handler: a.handler(serve)}
	}
	var keys []wire.Route
	if a.Keys != nil {
		keys = []wire.Route{
			get(keysPath, wire.Public, a.keys),
			{Method: http.MethodPost, Path: rotatePath, Scope: wire.ScopeAdmin, Handler: a.handler(a.change(a.Keys.Rotate))},
			{Method: http.MethodPost, Path: retirePath, Scope: wire.ScopeAdmin, Handler: a.handler(a.change(a.Keys.Retire))},
		}
	}
	return append(keys, []wire.Route{
		get(checkpointPath, wire.Public, a.checkpoint),
		get(tilePath+"*", wire.Public, a.tile),
		get(bundlePath+"*", wire.ScopeAudit, a.bundle),
		get(inclusionPath, wire.Public, a.inclusion),
		get(consistencyPath, wire.Public, a.consistency),
		get(entriesPath, wire.ScopeAudit, a.entries),
		get(entriesPath+"/:index", wire.ScopeAudit, a.entry),
		get(receiptPath+"/:index", wire.ScopeAudit, a.receipt),
	}...)
}

func (a *api) witnessRoutes() []wire.Route {
	protocol := http.StripPrefix(witnessPath, a.Witness.Handler())
	return []wire.Route{
		{Method: http.MethodPost, Path: witnessPath + "/add-checkpoint", Scope: wire.Public, Handler: protocol},
		{Method: http.MethodGet, Path: witnessPath + "/:origin/checkpoint", Scope: wire.Public, Handler: protocol},
		{Method: http.MethodGet, Path: evidencePath, Scope: wire.ScopeAudit, Handler: a.handler(a.evidence)},
	}
}

// handler answers one request, or returns why not.
type handler func(w http.ResponseWriter, r *http.Request) error

// handler gives a handler its deadline and its errors their shape.
func (a *api) handler(serve handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), a.Timeout)
		defer cancel()
		if err := serve(w, r.WithContext(ctx)); err != nil {
			wire.Refuse(w, a.Log, wire.From(err, refusal))
		}
	})
}

//go:embed openapi.yaml
var openapi []byte

func (a *api) evidence(w http.ResponseWriter, r *http.Request) error {
	if _, err := wire.Parameters(r); err != nil {
		return err
	}
	list, err := witness.ListEvidence(a.Witness.Dir)
	if err != nil {
		return err
	}
	return wire.SendJSON(w, http.StatusOK, map[string]any{"evidence": list})
}

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

// Route is a handler with the method and the path, in echo's form, that it
// expects; GET includes HEAD. Handlers read the path of the request and need no
// parameters of the router.
type Route struct {
	Method, Path string
	// Public routes are for everybody: verifying must not need a permission, and
	// clients of tiles and of witnesses bring none. All others tell what entries
	// say and are for auditors: the caller lets nobody else through.
	Public bool
	// Admin routes change something and are for operators alone.
	Admin   bool
	Handler http.Handler
}

// api holds what the handlers share, fixed after Routes.
type api struct {
	Options
	searching chan struct{} // one for each search under way
}

// Routes returns the routes of the API.
func Routes(o Options) ([]Route, error) {
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
	var routes []Route
	if o.Reader != nil {
		routes = append(routes, a.ledgerRoutes()...)
	}
	if o.Witness != nil {
		routes = append(routes, a.witnessRoutes()...)
	}
	return append(routes, Route{Method: http.MethodGet, Path: openapiPath, Public: true, Handler: http.HandlerFunc(specification)}), nil
}

func (a *api) ledgerRoutes() []Route {
	get := func(path string, public bool, serve handler) Route {
		return Route{Method: http.MethodGet, Path: path, Public: public, Handler: a.handler(serve)}
	}
	var keys []Route
	if a.Keys != nil {
		keys = []Route{
			get(keysPath, true, a.keys),
			{Method: http.MethodPost, Path: rotatePath, Admin: true, Handler: a.handler(a.change(a.Keys.Rotate))},
			{Method: http.MethodPost, Path: retirePath, Admin: true, Handler: a.handler(a.change(a.Keys.Retire))},
		}
	}
	return append(keys, []Route{
		get(checkpointPath, true, a.checkpoint),
		get(tilePath+"*", true, a.tile),
		get(bundlePath+"*", false, a.bundle),
		get(inclusionPath, true, a.inclusion),
		get(consistencyPath, true, a.consistency),
		get(entriesPath, false, a.entries),
		get(entriesPath+"/:index", false, a.entry),
		get(receiptPath+"/:index", false, a.receipt),
	}...)
}

func (a *api) witnessRoutes() []Route {
	protocol := http.StripPrefix(witnessPath, a.Witness.Handler())
	return []Route{
		{Method: http.MethodPost, Path: witnessPath + "/add-checkpoint", Public: true, Handler: protocol},
		{Method: http.MethodGet, Path: witnessPath + "/:origin/checkpoint", Public: true, Handler: protocol},
		{Method: http.MethodGet, Path: evidencePath, Handler: a.handler(a.evidence)},
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
			a.fail(w, err)
		}
	})
}

//go:embed openapi.yaml
var openapi []byte

func specification(w http.ResponseWriter, _ *http.Request) {
	send(w, "application/yaml", cacheNot, openapi)
}

func (a *api) evidence(w http.ResponseWriter, r *http.Request) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	list, err := witness.ListEvidence(a.Witness.Dir)
	if err != nil {
		return err
	}
	return sendJSON(w, map[string]any{"evidence": list})
}

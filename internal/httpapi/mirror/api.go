// Package mirrorapi takes the ledgers of nodes over HTTP, and what nodes cosign of the
// ledger of the server; see package mirror.
//
// Start with [Routes]; the caller owns the listener and proves identities. Guaranteed
// are: a node speaks for itself alone; bodies and the number of uploads at once are
// bounded; every error has the shape code, message, errors, and its code is one of
// package mirror or of package wire.
package mirrorapi

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/westworld-charter/charter/internal/mirror"
	"github.com/westworld-charter/charter/internal/wire"
)

// Paths of this API.
const (
	nodesPath       = "/v1/nodes"
	ledgerPart      = "/ledger"
	cosignaturePart = "/cosignature"
	mirrorsPath     = "/v1/mirrors"
	openapiPath     = mirrorsPath + "/openapi.yaml"
)

//go:embed openapi.yaml
var openapi []byte

// uploads is how many are taken at the same time; more are told to come again.
const uploads = 8

// Mirrors is the part of [mirror.Mirrors] that is served.
type Mirrors interface {
	Status(node string) (mirror.Status, bool)
	List() []mirror.Status
	Extend(ctx context.Context, node string, u mirror.Upload) (mirror.Status, error)
	Cosigned(ctx context.Context, node string, c mirror.Cosignature) (mirror.Status, error)
}

// Caller is who asks.
type Caller struct {
	Node   string // that it speaks for; "" for none
	Scopes []string
}

// Options configure [Routes]. Mirrors and Caller are required.
type Options struct {
	Mirrors Mirrors
	Caller  func(ctx context.Context) Caller
	Timeout time.Duration // of one answer; 0 is 30 s
	Log     *slog.Logger  // nil logs nothing
}

type api struct {
	Options
	room chan struct{}

	mu   sync.Mutex
	busy map[string]bool // nodes that upload just now; guarded by mu
}

// enter takes a place for an upload: one of a few, and one for each node, so that nobody
// keeps the others out.
func (a *api) enter(node string) (leave func(), entered bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.busy[node] {
		return nil, false
	}
	select {
	case a.room <- struct{}{}:
	default:
		return nil, false
	}
	a.busy[node] = true
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.busy, node)
		<-a.room
	}, true
}

// Routes returns the routes of the API.
func Routes(o Options) ([]wire.Route, error) {
	if o.Mirrors == nil || o.Caller == nil {
		return nil, errors.New("mirrorapi: Mirrors and Caller are required")
	}
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	a := &api{Options: o, room: make(chan struct{}, uploads), busy: map[string]bool{}}
	node := nodesPath + "/:node"
	return []wire.Route{
		{Method: http.MethodGet, Path: node + ledgerPart, Scope: wire.AnyScope, Handler: a.handler(a.status)},
		{Method: http.MethodPost, Path: node + ledgerPart, Scope: wire.AnyScope, MaxBody: mirror.MaxUpload, Handler: a.handler(a.extend)},
		{Method: http.MethodPost, Path: node + cosignaturePart, Scope: wire.AnyScope, MaxBody: mirror.MaxCosignature, Handler: a.handler(a.cosigned)},
		{Method: http.MethodGet, Path: mirrorsPath, Scope: wire.ScopeAudit, Handler: a.handler(a.list)},
		{Method: http.MethodGet, Path: openapiPath, Scope: wire.Public, Handler: wire.OpenAPI(openapi)},
	}, nil
}

func (a *api) list(http.ResponseWriter, *http.Request) (any, error) {
	return map[string]any{"mirrors": a.Mirrors.List()}, nil
}

func (a *api) status(_ http.ResponseWriter, r *http.Request) (any, error) {
	node, err := a.node(r, ledgerPart, wire.ScopeAudit, wire.ScopeReport)
	if err != nil {
		return nil, err
	}
	st, ok := a.Mirrors.Status(node)
	if !ok {
		return nil, wire.Missing("there is no copy of the ledger of node %q", wire.Echo(node))
	}
	return st, nil
}

func (a *api) extend(w http.ResponseWriter, r *http.Request) (any, error) {
	node, err := a.node(r, ledgerPart, wire.ScopeReport)
	if err != nil {
		return nil, err
	}
	leave, entered := a.enter(node)
	if !entered {
		return nil, wire.TooMany("this node, or too many others, are uploading just now; try again", time.Second)
	}
	defer leave()
	body, err := wire.JSON(w, r, mirror.MaxUpload)
	if err != nil {
		return nil, err
	}
	u, err := mirror.ParseUpload(body)
	if err != nil {
		return nil, err
	}
	return a.Mirrors.Extend(r.Context(), node, u)
}

func (a *api) cosigned(w http.ResponseWriter, r *http.Request) (any, error) {
	node, err := a.node(r, cosignaturePart, wire.ScopeReport)
	if err != nil {
		return nil, err
	}
	body, err := wire.JSON(w, r, mirror.MaxCosignature)
	if err != nil {
		return nil, err
	}
	c, err := mirror.ParseCosignature(body)
	if err != nil {
		return nil, err
	}
	return a.Mirrors.Cosigned(r.Context(), node, c)
}

// node is the one in the path, if the caller has one of some scopes and speaks for no
// other. That a token speaks for the node is not enough: what asks or uploads for it
// must not be able to pin the key of its ledger.
func (a *api) node(r *http.Request, part string, scopes ...string) (string, error) {
	node, err := wire.Segment(r, nodesPath, part)
	if err != nil {
		return "", err
	}
	who := a.Caller(r.Context())
	if (who.Node == node || who.Node == "") && slices.ContainsFunc(scopes, func(s string) bool { return slices.Contains(who.Scopes, s) }) {
		return node, nil // certificates of nodes have the scope report, too
	}
	return "", &wire.Error{
		Status: http.StatusForbidden, Code: "foreign_node",
		Message: fmt.Sprintf("this takes the certificate of node %q, or a token for it with the scope %s", wire.Echo(node), strings.Join(scopes, " or ")),
	}
}

func (a *api) handler(serve func(http.ResponseWriter, *http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), a.Timeout)
		defer cancel()
		// Those of the server are for small bodies; one without deadlines has nothing to extend.
		c, end := http.NewResponseController(w), time.Now().Add(a.Timeout)
		_ = c.SetReadDeadline(end)
		_ = c.SetWriteDeadline(end.Add(a.Timeout))
		answer, err := serve(w, r.WithContext(ctx))
		if e, ok := errors.AsType[*mirror.Error](err); ok && e.Code == mirror.CodeSize {
			err = wire.SendJSON(w, http.StatusConflict, struct {
				*wire.Error

				Size uint64 `json:"size"` // of the copy
			}{&wire.Error{Code: e.Code, Message: e.Err.Error(), Errors: []wire.Problem{}}, e.Size})
		} else if err == nil {
			err = wire.SendJSON(w, http.StatusOK, answer)
		}
		if err != nil {
			wire.Refuse(w, a.Log, wire.From(err, refusal))
		}
	})
}

// refusal maps errors of package mirror to answers.
func refusal(err error) *wire.Error {
	e, ok := errors.AsType[*mirror.Error](err)
	if !ok {
		return nil
	}
	f := &wire.Error{Status: http.StatusConflict, Code: e.Code, Message: e.Err.Error()}
	switch e.Code {
	case mirror.CodeInvalidUpload, mirror.CodeInvalidKey:
		f.Status = http.StatusBadRequest
	case mirror.CodeTooMany, mirror.CodeUnavailable:
		f.Status, f.Message, f.Cause = http.StatusServiceUnavailable, "the copy cannot be written just now", e
	}
	return f
}

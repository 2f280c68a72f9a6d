// Package mirrorapi takes the ledgers of nodes over HTTP, and what nodes cosign of the
// ledger of the server; see package mirror.
//
// Start with [Routes]; the caller owns the listener and proves identities. Guaranteed
// are: a node speaks for itself alone; bodies and the number of uploads at once are
// bounded; every error has the shape code, message, errors, and its code is one of
// package mirror or a general one.
package mirrorapi

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/westworld-charter/charter/internal/mirror"
)

// Paths of this API.
const (
	nodesPath       = "/v1/nodes/"
	ledgerPart      = "/ledger"
	cosignaturePart = "/cosignature"
	mirrorsPath     = "/v1/mirrors"
	openapiPath     = mirrorsPath + "/openapi.yaml"
)

//go:embed openapi.yaml
var openapi []byte

// Scopes that routes ask for.
const (
	scopeAnybody = "any"
	scopeReport  = "report"
	scopeAudit   = "audit"
)

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

// Route is a handler with the method and the path, in echo's form, that it expects; GET
// includes HEAD. Scope is what a caller needs; "any" is everybody whose identity is
// proven, and "" everybody.
type Route struct {
	Method, Path, Scope string
	MaxBody             int64 // bytes
	Handler             http.Handler
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
func Routes(o Options) ([]Route, error) {
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
	node := nodesPath + ":node"
	return []Route{
		{http.MethodGet, node + ledgerPart, scopeAnybody, 0, a.handler(a.status)},
		{http.MethodPost, node + ledgerPart, scopeAnybody, mirror.MaxUpload, a.handler(a.extend)},
		{http.MethodPost, node + cosignaturePart, scopeAnybody, mirror.MaxCosignature, a.handler(a.cosigned)},
		{http.MethodGet, mirrorsPath, scopeAudit, 0, a.handler(a.list)},
		{http.MethodGet, openapiPath, "", 0, http.HandlerFunc(specification)},
	}, nil
}

func specification(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = w.Write(openapi) // a client that left is no fault
}

func (a *api) list(*http.Request) (any, error) {
	return map[string]any{"mirrors": a.Mirrors.List()}, nil
}

func (a *api) status(r *http.Request) (any, error) {
	node, err := a.node(r, ledgerPart, scopeAudit, scopeReport)
	if err != nil {
		return nil, err
	}
	st, ok := a.Mirrors.Status(node)
	if !ok {
		return nil, &fault{http.StatusNotFound, "not_found", "there is no copy of the ledger of node " + strconv.Quote(node), nil}
	}
	return st, nil
}

func (a *api) extend(r *http.Request) (any, error) {
	node, err := a.node(r, ledgerPart, scopeReport)
	if err != nil {
		return nil, err
	}
	leave, entered := a.enter(node)
	if !entered {
		return nil, &fault{http.StatusTooManyRequests, "too_many_requests", "this node, or too many others, are uploading just now; try again", nil}
	}
	defer leave()
	body, err := read(r, mirror.MaxUpload)
	if err != nil {
		return nil, err
	}
	u, err := mirror.ParseUpload(body)
	if err != nil {
		return nil, err
	}
	return a.Mirrors.Extend(r.Context(), node, u)
}

func (a *api) cosigned(r *http.Request) (any, error) {
	node, err := a.node(r, cosignaturePart, scopeReport)
	if err != nil {
		return nil, err
	}
	body, err := read(r, mirror.MaxCosignature)
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
	path := strings.TrimSuffix(strings.TrimPrefix(r.URL.EscapedPath(), nodesPath), part)
	node, err := url.PathUnescape(path)
	if err != nil || node == "" || strings.Contains(path, "/") {
		return "", &fault{http.StatusNotFound, "not_found", "there is nothing at this path", nil}
	}
	who := a.Caller(r.Context())
	if (who.Node == node || who.Node == "") && slices.ContainsFunc(scopes, func(s string) bool { return slices.Contains(who.Scopes, s) }) {
		return node, nil // certificates of nodes have the scope report, too
	}
	return "", &fault{http.StatusForbidden, "foreign_node", fmt.Sprintf("this takes the certificate of node %q, or a token for it with the scope %s", node, strings.Join(scopes, " or ")), nil}
}

// fault is the body of every error. Size is that of the copy, where that is what is
// wrong.
type fault struct {
	status  int
	Code    string
	Message string
	size    *uint64
}

// Error returns the message.
func (f *fault) Error() string { return f.Message }

func read(r *http.Request, limit int64) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, limit))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return nil, &fault{http.StatusRequestEntityTooLarge, "too_large", fmt.Sprintf("the body is larger than %d bytes", limit), nil}
	}
	if err != nil {
		return nil, &fault{http.StatusBadRequest, "invalid_request", "the body cannot be read", nil}
	}
	return body, nil
}

func (a *api) handler(serve func(*http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), a.Timeout)
		defer cancel()
		// Those of the server are for small bodies; one without deadlines has nothing to extend.
		c, end := http.NewResponseController(w), time.Now().Add(a.Timeout)
		_ = c.SetReadDeadline(end)
		_ = c.SetWriteDeadline(end.Add(a.Timeout))
		answer, err := serve(r.WithContext(ctx))
		if err != nil {
			a.fail(w, err)
			return
		}
		respond(w, http.StatusOK, answer)
	})
}

func (a *api) fail(w http.ResponseWriter, err error) {
	f := faultOf(err)
	if f.status >= http.StatusInternalServerError {
		a.Log.Error("mirror", "error", err.Error())
	}
	if f.status == http.StatusTooManyRequests || f.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	body := map[string]any{"code": f.Code, "message": f.Message, "errors": []any{}}
	if f.size != nil {
		body["size"] = *f.size
	}
	respond(w, f.status, body)
}

func faultOf(err error) *fault {
	if f, ok := errors.AsType[*fault](err); ok {
		return f
	}
	e, ok := errors.AsType[*mirror.Error](err)
	switch {
	case !ok:
		return &fault{http.StatusInternalServerError, "internal_error", "internal error", nil}
	case e.Code == mirror.CodeSize:
		return &fault{http.StatusConflict, e.Code, e.Err.Error(), &e.Size}
	case e.Code == mirror.CodeInvalidUpload, e.Code == mirror.CodeInvalidKey:
		return &fault{http.StatusBadRequest, e.Code, e.Err.Error(), nil}
	case e.Code == mirror.CodeTooMany, e.Code == mirror.CodeUnavailable:
		return &fault{http.StatusServiceUnavailable, e.Code, "the copy cannot be written just now", nil}
	default:
		return &fault{http.StatusConflict, e.Code, e.Err.Error(), nil}
	}
}

func respond(w http.ResponseWriter, status int, answer any) {
	body, err := json.Marshal(answer)
	if err != nil { // texts and numbers alone: this does not happen
		status, body = http.StatusInternalServerError, []byte("{}")
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // a client that left is no fault
}

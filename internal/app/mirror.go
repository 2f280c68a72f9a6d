package app

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"path/filepath"

	"golang.org/x/mod/sumdb/note"

	"github.com/westworld-charter/charter/internal/audit"
	decisionapi "github.com/westworld-charter/charter/internal/httpapi/decision"
	mirrorapi "github.com/westworld-charter/charter/internal/httpapi/mirror"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/mirror"
)

// mirrorsDir is where the copies of the ledgers of nodes lie, below Options.Data.
const mirrorsDir = "mirrors"

// openMirrors opens the copies of the ledgers of nodes. A server without a ledger of its
// own keeps none: it could not record what it finds.
func (s *Server) openMirrors() error {
	if s.keeper == nil || s.program.node {
		return nil
	}
	m, err := mirror.Open(mirror.Options{
		Dir: filepath.Join(s.options.Data, mirrorsDir), Own: ledger.NewReader(&s.keeper.relay, s.keeper.origin), OwnKeys: s.ownKeys,
		Record: s.recordMirror, Log: s.log,
	})
	if err != nil {
		return &LedgerError{Err: err}
	}
	s.mirrors = m
	return nil
}

// ownKeys are those that sign the ledger of this server, and have signed it.
func (s *Server) ownKeys() ledger.Keys {
	keys := ledger.Keys{Origin: s.keeper.origin}
	if v, err := note.NewVerifier(s.ledgerKeys.opener.keys.Key()); err == nil {
		keys.Log = append(keys.Log, v)
	}
	if others, err := s.ledgerKeys.opener.keys.Others(); err == nil {
		keys.Log = append(keys.Log, others...)
	}
	return keys
}

// recordMirror records what the copy of a node's ledger shows.
func (s *Server) recordMirror(ctx context.Context, e mirror.Event) {
	st := e.Status
	change := ledger.MirrorChange{Action: e.Action, Origin: st.Origin, Key: st.Key, Size: st.Size}
	entry := ledger.Entry{Kind: ledger.Mirrored, Node: st.Node}
	if f := st.Fault; f != nil {
		change.Code, change.Held, change.Shown = f.Code, f.Held, f.Shown
		entry.Severity = "critical"
	}
	data, err := json.Marshal(change)
	if err != nil { // texts and numbers alone: this does not happen
		return
	}
	entry.Data = data
	s.keeper.record(ctx, audit.Once(entry, rand.Text()))
}

// mirrorRoutes take the ledgers of nodes.
func (s *Server) mirrorRoutes() ([]decisionapi.Route, error) {
	if s.mirrors == nil {
		return nil, nil
	}
	own, err := mirrorapi.Routes(mirrorapi.Options{Mirrors: s.mirrors, Caller: func(ctx context.Context) mirrorapi.Caller {
		id := decisionapi.IdentityOf(ctx)
		return mirrorapi.Caller{Node: id.Node, Scopes: id.Scopes}
	}, Log: s.log})
	if err != nil {
		return nil, err
	}
	routes := make([]decisionapi.Route, len(own))
	for i, r := range own {
		routes[i] = decisionapi.Route{Method: r.Method, Path: r.Path, Scope: r.Scope, MaxBody: r.MaxBody, Handler: r.Handler}
	}
	return routes, nil
}

func (s *Server) closeMirrors() error {
	if s.mirrors == nil {
		return nil
	}
	if err := s.mirrors.Close(); err != nil {
		return fmt.Errorf("mirrors: %w", err)
	}
	s.mirrors = nil
	return nil
}

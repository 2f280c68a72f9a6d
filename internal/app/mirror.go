package app

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/westworld-charter/charter/internal/audit"
	"github.com/westworld-charter/charter/internal/fleet"
	decisionapi "github.com/westworld-charter/charter/internal/httpapi/decision"
	mirrorapi "github.com/westworld-charter/charter/internal/httpapi/mirror"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/metrics"
	"github.com/westworld-charter/charter/internal/mirror"
	"github.com/westworld-charter/charter/internal/wire"
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
	late := newLateCopies()
	s.metrics.Mirrors(func() metrics.MirrorStats {
		var nodes []fleet.Node
		if s.fleet != nil {
			nodes = s.fleet.Nodes()
		}
		return late.stats(m.List(), nodes, time.Now())
	})
	return nil
}

// countedMirrors counts what nodes upload.
type countedMirrors struct {
	*mirror.Mirrors
	count func(result string)
}

// Extend implements [mirrorapi.Mirrors].
func (m countedMirrors) Extend(ctx context.Context, node string, u mirror.Upload) (mirror.Status, error) {
	st, err := m.Mirrors.Extend(ctx, node, u)
	refused, coded := errors.AsType[*mirror.Error](err)
	switch {
	case err == nil:
		m.count(metrics.MirrorTaken)
	case errors.Is(ctx.Err(), context.Canceled): // the node left, and nothing was refused
	case coded:
		m.count(refused.Code)
	default:
		m.count(metrics.Other)
	}
	return st, err
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
func (s *Server) mirrorRoutes() ([]wire.Route, error) {
	if s.mirrors == nil {
		return nil, nil
	}
	return mirrorapi.Routes(mirrorapi.Options{Mirrors: countedMirrors{s.mirrors, s.metrics.MirrorUploaded}, Caller: func(ctx context.Context) mirrorapi.Caller {
		id := decisionapi.IdentityOf(ctx)
		return mirrorapi.Caller{Node: id.Node, Scopes: id.Scopes}
	}, Log: s.log})
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

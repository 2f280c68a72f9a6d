package app

import (
	"context"

	"github.com/westworld-charter/charter/internal/audit"
	charterapi "github.com/westworld-charter/charter/internal/httpapi/charter"
	decisionapi "github.com/westworld-charter/charter/internal/httpapi/decision"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/wire"
)

// charterRoutes serve violations, investigations, nodes, the committee, charters and
// alerts. Without a ledger they are charters alone.
func (s *Server) charterRoutes() ([]wire.Route, error) {
	if s.program.node { // which changes nothing but what is released
		return nil, nil
	}
	if err := s.loadKept(); err != nil {
		return nil, err
	}
	o := charterapi.Options{Charter: s.charter, Check: s.program.compiler.Check, State: s.stateInForce, Policies: replacer{s}, Caller: callerOf, Logger: s.log}
	if s.enforcer != nil {
		o.Enforcer, o.Evidence = s.enforcer, s.enforcer.Evidence
		o.History, o.Log = ledger.NewReader(&s.keeper.relay, s.keeper.origin), s.keeper
	}
	return charterapi.Routes(o)
}

// callerOf is who sent a request.
func callerOf(ctx context.Context) charterapi.Caller {
	id, who := decisionapi.IdentityOf(ctx), audit.CallerOf(ctx)
	return charterapi.Caller{Principal: who.Principal, RequestID: who.RequestID, Node: id.Node, Scopes: id.Scopes}
}

// stateInForce is the state document, not to be modified.
func (s *Server) stateInForce() map[string]any {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	return s.state
}

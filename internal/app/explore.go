package app

import (
	decisionapi "github.com/westworld-charter/charter/internal/httpapi/decision"
	opaapi "github.com/westworld-charter/charter/internal/httpapi/opa"
)

// opaRoutes are OPA's REST API over the active policy, for the scope admin: it
// shows the state document and takes any input, the time included.
func (s *Server) opaRoutes() ([]decisionapi.Route, error) {
	served, err := opaapi.Routes(opaapi.Options{
		Policy: s.engine.Current, Build: opaapi.Build(provenance()), Timeout: s.options.Timeouts.Decide, MaxBody: s.options.MaxBody,
	})
	if err != nil {
		return nil, err
	}
	var routes []decisionapi.Route
	for _, r := range served {
		routes = append(routes, decisionapi.Route{Method: r.Method, Path: r.Path, Scope: decisionapi.ScopeAdmin, Handler: r.Handler})
	}
	return routes, nil
}

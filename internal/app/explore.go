package app

import (
	opaapi "github.com/westworld-charter/charter/internal/httpapi/opa"
	"github.com/westworld-charter/charter/internal/wire"
)

// opaRoutes are OPA's REST API over the active policy, for the scope admin: it
// shows the state document and takes any input, the time included.
func (s *Server) opaRoutes() ([]wire.Route, error) {
	return opaapi.Routes(opaapi.Options{
		Policy: s.engine.Current, Build: opaapi.Build(provenance()), Timeout: s.options.Timeouts.Decide, MaxBody: s.options.MaxBody,
	})
}

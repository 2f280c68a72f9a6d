package app

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	decisionapi "github.com/westworld-charter/charter/internal/httpapi/decision"
	"github.com/westworld-charter/charter/internal/wire"
)

// acceptedKey is the key of a connection's context under which the credentials
// lie that were in force when it was accepted.
type acceptedKey struct{}

// accepted remembers the credentials in force for a new connection.
func (s *Server) accepted(ctx context.Context, _ net.Conn) context.Context {
	if c := s.credentials.Load(); c != nil {
		return context.WithValue(ctx, acceptedKey{}, c)
	}
	return ctx
}

// authenticate finds out who sends a request. A bearer token goes before a
// certificate: a proxy that has one of its own may pass tokens on.
func (s *Server) authenticate(r *http.Request) (*decisionapi.Identity, error) {
	now := time.Now()
	if headers := r.Header.Values("Authorization"); len(headers) > 0 {
		ts := s.tokens.Load()
		switch {
		case ts == nil:
			return nil, errors.New("tokens are not accepted here")
		case len(headers) > 1:
			return nil, errors.New("there is more than one Authorization header")
		}
		presented, err := bearer(headers[0])
		if err != nil {
			return nil, err
		}
		return ts.find(presented, now)
	}
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return nil, nil
	}
	leaf := r.TLS.PeerCertificates[0]
	if now.After(leaf.NotAfter) { // connections can outlive it
		return nil, errors.New("the certificate has expired")
	}
	inForce := s.credentials.Load()
	if r.Context().Value(acceptedKey{}) != inForce {
		if err := inForce.trusted(r.TLS.PeerCertificates); err != nil {
			return nil, err
		}
	}
	return certified(leaf, s.options.TLS)
}

// loadTokens is the load of the part tokens.
func (s *Server) loadTokens(ctx context.Context, from stamps) error {
	ts, err := loadTokens(ctx, s.options.TokenFile, from)
	if err != nil {
		return err
	}
	s.tokens.Store(&ts)
	s.log.Info("tokens in force", "tokens", len(ts))
	return nil
}

// access says who may ask, and what else the server does for whom.
func (s *Server) access() (decisionapi.Access, error) {
	a := decisionapi.Access{Observe: s.metrics.Admitted}
	if s.options.Rate > 0 {
		a.Limit = newLimiter(s.options.Rate, time.Now)
		s.limit = a.Limit
	}
	routes := []wire.Route{s.reloadRoute()}
	for _, part := range []func() ([]wire.Route, error){
		s.ledgerRoutes, s.charterRoutes, s.mirrorRoutes, s.fleetRoutes, s.proxyRoutes, s.bundleRoutes, s.uploadRoutes,
	} {
		more, err := part()
		if err != nil {
			return decisionapi.Access{}, err
		}
		routes = append(routes, more...)
	}
	a.Routes = routes
	if s.options.authenticates() {
		a.Authenticate = s.authenticate
	}
	return a, nil
}

package decisionapi

import (
	"context"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/westworld-charter/charter/internal/wire"
)

type identityContext struct{}

// IdentityOf returns who sent the request that a [wire.Route] handles; nobody, who may do
// nothing, when that is not known.
func IdentityOf(ctx context.Context) *Identity {
	if id, ok := ctx.Value(identityContext{}).(*Identity); ok {
		return id
	}
	return &Identity{Kind: KindNone}
}

// mount registers the routes of the embedding process.
func (a *api) mount(e *echo.Echo) {
	for _, r := range a.Access.Routes {
		methods := []string{r.Method}
		if r.Method == http.MethodGet {
			methods = append(methods, http.MethodHead)
		}
		if r.MaxBody > 0 {
			a.bodies[r.Path] = max(a.bodies[r.Path], r.MaxBody)
		}
		if r.Unlogged {
			a.unlogged[r.Method+" "+r.Path] = true
		}
		e.Match(methods, r.Path, func(c echo.Context) error {
			ctx := context.WithValue(a.asking(c), identityContext{}, identityOf(c))
			r.Handler.ServeHTTP(c.Response(), c.Request().WithContext(ctx))
			return nil
		}, a.welcome(r))
	}
}

// welcome is require for a route, and lets guests in where it says so.
func (a *api) welcome(r wire.Route) echo.MiddlewareFunc {
	if r.Scope == wire.Public {
		return a.require("")
	}
	required := a.require(r.Scope, r.Or...)
	if !r.Guests {
		return required
	}
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		proven := required(next)
		return func(c echo.Context) error {
			if !a.guest(c.Request()) {
				return proven(c)
			}
			if err := a.identified(c, identityOf(c)); err != nil {
				return err
			}
			a.count(KindNone, "ok")
			return next(c)
		}
	}
}

// guest reports whether a request brings no proof of identity.
func (a *api) guest(r *http.Request) bool {
	if a.InsecureSelfAsserted {
		return false // everybody on this machine is somebody
	}
	return len(r.Header.Values("Authorization")) == 0 && (r.TLS == nil || len(r.TLS.PeerCertificates) == 0)
}

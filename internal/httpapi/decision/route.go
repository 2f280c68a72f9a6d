package decisionapi

import (
	"context"
	"net/http"

	"github.com/labstack/echo/v4"
)

// Route is a handler of the embedding process. Requests get there only with the
// scope, "" being none; identity, limits, logs and counts are those of the other
// routes, and the context of a request has its [audit.Caller] and [Identity].
type Route struct {
	Method  string // GET includes HEAD
	Path    string // in echo's form, such as "/debug/*"
	Scope   string
	Or      []string // scopes that do as well
	Handler http.Handler
	// Guests lets requests without any proof of identity in, too. A proof that is
	// brought must hold. Limits of guests are the handler's.
	Guests bool
	// Unlogged keeps who asks, and from where, out of the log.
	Unlogged bool
	// MaxBody is of a request in bytes; 0 is [Options.MaxBody].
	MaxBody int64
}

type identityContext struct{}

// IdentityOf returns who sent the request that a [Route] handles; nobody, who may do
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
func (a *api) welcome(r Route) echo.MiddlewareFunc {
	if r.Scope == "" {
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

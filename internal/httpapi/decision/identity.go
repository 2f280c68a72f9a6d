package decisionapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/wire"
)

// Kinds of identities; the list is closed.
const (
	KindCertificate = "cert"
	KindToken       = "token"
	KindSelf        = "self" // whatever the caller says, on loopback
	KindNone        = "none" // no proof, or none that holds
)

// Codes of 403 answers about identity, beside those of package wire.
const (
	codeRoleNotHeld  = "role_not_held"
	codeClaimNotHeld = "claim_not_held"
)

// Identity is who asks, proven. Without [wire.ScopeAssert] it speaks for Node alone,
// in one of Roles.
type Identity struct {
	Kind   string
	Name   string // for the log
	Scopes []string
	Node   string   // "" speaks for no node: its questions name none
	Roles  []string // that it may name
	Claims []string // that it may name
	Held   []string // claims that every question of it carries
}

// Has reports whether the identity has a scope.
func (id *Identity) Has(scope string) bool { return id != nil && slices.Contains(id.Scopes, scope) }

// Access says who may ask. The zero value proves nobody's identity.
type Access struct {
	// Authenticate returns who sends a request, nil without proof. An error is
	// proof that does not hold; its text goes to the caller. It must not read
	// the body.
	Authenticate func(r *http.Request) (*Identity, error)
	// Limit holds the budgets of identities; nil never limits.
	Limit Limiter
	// Observe counts, by kind of identity, what became of it: ok,
	// unauthenticated, forbidden or limited. Nil counts nothing.
	Observe func(kind, result string)
	// Routes are served beside those of this package, in the same way: limits, logs and
	// counts are theirs, too. The context of a request has its [audit.Caller] and
	// [Identity].
	Routes []wire.Route
}

// Limiter holds the budgets of identities, counted in questions. Its methods are
// called concurrently and return 0, or how long the identity has to wait since
// there is nothing left.
type Limiter interface {
	// Admit takes one question, when there is at least one left.
	Admit(id *Identity) time.Duration
	// Charge takes n questions more for a request that was admitted, unless the
	// budget is overdrawn. It may be overdrawn by that: who comes next waits.
	Charge(id *Identity, n int) time.Duration
}

// NewDiagnostics returns a handler of the given routes, of /health and, when
// [Options.Metrics] is set, of /metrics, and of nothing else.
func NewDiagnostics(o Options, routes []wire.Route) (http.Handler, error) {
	o.Access.Routes = routes
	return serve(o, func(a *api, e *echo.Echo) {
		get := []string{http.MethodGet, http.MethodHead}
		e.Match(get, "/health", a.health)
		if a.Metrics != nil {
			e.Match(get, "/metrics", echo.WrapHandler(a.Metrics), a.scrape)
		}
		a.mount(e)
	})
}

const identityKey = "decisionapi.identity"

// identityOf returns who sent the request. Before it is known, and on routes
// open to everybody, that is nobody, who may do nothing.
func identityOf(c echo.Context) *Identity {
	if id, ok := c.Get(identityKey).(*Identity); ok {
		return id
	}
	return &Identity{Kind: KindNone}
}

// key tells identities apart.
func (id *Identity) key() string { return id.Kind + " " + id.Name }

func (id *Identity) attrs() []slog.Attr {
	if id.Kind == KindNone {
		return nil
	}
	return []slog.Attr{slog.String("identity", id.Name), slog.String("identity_kind", id.Kind)}
}

// require lets a request pass only when its sender is known and has the scope, or
// one of the others.
func (a *api) require(scope string, or ...string) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if scope == "" {
				return next(c)
			}
			if err := a.admit(c, scope, or...); err != nil {
				return err
			}
			return next(c)
		}
	}
}

// scrape guards /metrics, which is open where nobody can prove an identity.
func (a *api) scrape(next echo.HandlerFunc) echo.HandlerFunc {
	if a.InsecureSelfAsserted || a.Access.Authenticate == nil {
		return next
	}
	return a.require(wire.ScopeMetrics)(next)
}

func (a *api) admit(c echo.Context, scope string, or ...string) error {
	id, err := a.who(c)
	if err != nil {
		a.count(KindNone, "unauthenticated")
		return err
	}
	c.Set(identityKey, id)
	if a.Access.Limit != nil { // first: what is refused below is recorded
		if wait := a.Access.Limit.Admit(id); wait > 0 {
			a.count(id.Kind, "limited")
			return limited(id, wait)
		}
	}
	if err := a.identified(c, id); err != nil {
		return err
	}
	if scope != wire.AnyScope && !id.Has(scope) && !slices.ContainsFunc(or, id.Has) {
		a.count(id.Kind, "forbidden")
		c.Response().Header().Set("WWW-Authenticate", `Bearer realm="charter", error="insufficient_scope", scope="`+scope+`"`)
		err := forbidden(wire.CodeInsufficientScope, "this needs the scope %s, which %s does not have", strings.Join(append([]string{scope}, or...), " or "), id)
		a.notTheirs(c, decision.Input{}, err)
		return err
	}
	a.count(id.Kind, "ok")
	return nil
}

// charge takes the questions of a batch from the budget of its sender; the first
// was taken when the request was admitted.
func (a *api) charge(c echo.Context, questions int) error {
	if a.Access.Limit == nil || questions <= 1 {
		return nil
	}
	id := identityOf(c)
	if wait := a.Access.Limit.Charge(id, questions-1); wait > 0 {
		return limited(id, wait)
	}
	return nil
}

// limited is the 429 of an identity whose budget is used up.
func limited(id *Identity, wait time.Duration) error {
	return &wire.Error{
		Status: http.StatusTooManyRequests, Code: wire.CodeTooMany, Retry: wait,
		Message: fmt.Sprintf("too many questions from %s, slow down", id),
	}
}

func (a *api) count(kind, result string) {
	if a.Access.Observe != nil {
		a.Access.Observe(kind, result)
	}
}

// who finds out who sends the request.
func (a *api) who(c echo.Context) (*Identity, error) {
	if a.InsecureSelfAsserted { // guard made sure that it comes from this machine
		return &Identity{Kind: KindSelf, Name: "self-asserted", Scopes: []string{wire.ScopeCheck, wire.ScopeAssert, wire.ScopeMetrics, wire.ScopeAudit, wire.ScopeAdmin, wire.ScopeUpload, wire.ScopeReport}}, nil
	}
	// RFC 9110, 15.5.2: a 401 names a challenge; RFC 6750, 3: no error code when
	// there was no token at all.
	challenge, message := `Bearer realm="charter"`, "the caller's identity is not proven, and asserting a role or node needs proof: "+
		"a bearer token or a client certificate"
	if a.Access.Authenticate == nil {
		message = "the caller's identity is not proven, and asserting a role or node needs proof: start charter-server with --token-file or " +
			"--tls-client-ca; on a machine of your own, on loopback, with --insecure-self-asserted (insecure_self_asserted: true in the configuration file)"
	} else {
		id, err := a.Access.Authenticate(c.Request())
		if err == nil && id != nil {
			return id, nil
		}
		if err != nil {
			challenge, message = challenge+`, error="invalid_token"`, err.Error()
		}
	}
	c.Response().Header().Set("WWW-Authenticate", challenge)
	return nil, &wire.Error{Status: http.StatusUnauthorized, Code: wire.CodeUnauthenticated, Message: message}
}

// String names the identity in messages to itself.
func (id *Identity) String() string {
	switch id.Kind {
	case KindCertificate:
		return "the certificate of " + strconv.Quote(wire.Echo(id.Name))
	case KindToken:
		return "the token " + strconv.Quote(wire.Echo(id.Name))
	default:
		return "the caller"
	}
}

func forbidden(code, format string, args ...any) *wire.Error {
	return &wire.Error{Status: http.StatusForbidden, Code: code, Message: fmt.Sprintf(format, args...)}
}

// commonOf is what all questions of a request have in common before it says
// more: who asks, and the node that goes without saying. Questions are read with
// [base.question], which binds them; endpoints with forms of their own call
// [Identity.bind] themselves.
func commonOf(c echo.Context) base {
	b := base{who: identityOf(c)}
	if b.who.Node != "" && !b.who.Has(wire.ScopeAssert) {
		b.input.Node = b.who.Node
		b.given.add("node")
	}
	return b
}

// bind makes a question that of its sender: what the sender may not say is
// refused with an [*wire.Error], what goes without saying is filled in. A question of
// nobody is refused.
func (id *Identity) bind(in decision.Input) (decision.Input, error) {
	switch {
	case !id.Has(wire.ScopeCheck):
		return in, forbidden(wire.CodeInsufficientScope, "asking needs the scope %s", wire.ScopeCheck)
	case in.Time != "" && !id.Has(wire.ScopeReplay):
		return decision.Input{}, chosenTime()
	case id.Has(wire.ScopeAssert):
		return in, nil
	}
	if in.Node == "" {
		in.Node = id.Node
	}
	if in.Node != id.Node {
		return in, forbidden(wire.CodeNodeMismatch, "%s speaks for %s and may not ask for node %q", id, id.whom(), wire.Echo(in.Node))
	}
	if !slices.Contains(id.Roles, in.Role) {
		return in, forbidden(codeRoleNotHeld, "%s does not hold the role %q", id, wire.Echo(in.Role))
	}
	for _, claim := range in.Claims {
		if !slices.Contains(id.Claims, claim) && !slices.Contains(id.Held, claim) {
			return in, forbidden(codeClaimNotHeld, "%s may not claim %q", id, wire.Echo(claim))
		}
	}
	in.Claims = withHeld(in.Claims, id.Held)
	return in, nil
}

// withHeld adds the claims that go without saying. The questions of a batch
// share their claims, so the result is a slice of its own when it differs.
func withHeld(named, held []string) []string {
	claims := named
	for _, claim := range held {
		if !slices.Contains(claims, claim) {
			claims = append(slices.Clip(claims), claim)
		}
	}
	return claims
}

// whom says in messages for whom the identity speaks.
func (id *Identity) whom() string {
	if id.Node == "" {
		return "no node"
	}
	return "node " + strconv.Quote(wire.Echo(id.Node))
}

// stampOf returns the time a question is decided at: the caller's when it may
// choose one, else now.
func stampOf(in decision.Input, now time.Time) string {
	if in.Time != "" {
		return in.Time
	}
	return stamp(now)
}

// Degraded says that something could not be loaded anew while what was loaded
// before stays in force. Since is when that began.
type Degraded struct {
	Code    string    `json:"code"`
	Message string    `json:"message"`
	Since   time.Time `json:"since"`
}

// WriteJSON answers operators with v, indented.
func WriteJSON(w http.ResponseWriter, status int, v any) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	wire.Send(w, status, wire.TypeJSON, wire.NoStore, body.Bytes())
}

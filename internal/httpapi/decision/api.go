// Package decisionapi answers metric checks over HTTP: POST /v1/check, the
// OPA-compatible /v1/data/charter/decision, /health and /metrics.
//
// Start with [New], which turns [Options] into an [http.Handler]; the caller
// owns listeners, timeouts of connections and shutdown. Guaranteed are: every
// answer with a status of 400 or more has the error shape [Error]; a question
// that cannot be understood in full is refused with the name of its field and
// never decided; no label value reaches the log; nobody is believed to be who
// they say they are unless [Options.InsecureSelfAsserted] says so, and then
// only over loopback and never from a web page of another origin.
package decisionapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/westworld-charter/charter/internal/decision"
)

// Decider answers one valid question. An error means that there is no answer;
// a denial is not an error.
type Decider interface {
	Decide(ctx context.Context, in decision.Input) (decision.Decision, error)
}

// Observer counts what was decided and served. Route is the pattern of a known
// route or "unmatched", never what the caller wrote; operation is empty when
// the question could not be read. Methods are called concurrently.
type Observer interface {
	Decided(d decision.Decision, operation string, took time.Duration)
	Served(route, method string, status int, took time.Duration)
}

// Reporter says how the service is.
type Reporter interface {
	Status() Status
}

// Status is the state of the service. Code is empty when a policy is active and
// nothing is wrong; otherwise Code and Message say what is.
type Status struct {
	Charter  string
	Revision string
	Code     string
	Message  string
}

// Limits of request bodies in bytes, unless [Options] says otherwise.
const (
	DefaultMaxBody      = 1 << 20
	DefaultMaxCheckBody = 64 << 10
)

// Options configure [New]. Decider and Reporter are required.
type Options struct {
	Decider  Decider
	Reporter Reporter
	Observer Observer         // nil counts nothing
	Metrics  http.Handler     // serves /metrics; nil leaves the route out
	Log      *slog.Logger     // nil logs nothing
	Now      func() time.Time // stamps questions; nil is time.Now
	// InsecureSelfAsserted believes the role, node and claims of any caller on
	// loopback. Without it questions are answered with 401: there is no other
	// proof of identity.
	InsecureSelfAsserted bool
	// DecideTimeout bounds one decision; 0 is 5 s.
	DecideTimeout time.Duration
	MaxBody       int64 // of any request; 0 is DefaultMaxBody
	MaxCheckBody  int64 // of one question; 0 is DefaultMaxCheckBody
}

func (o *Options) complete() error {
	if o.Decider == nil || o.Reporter == nil {
		return errors.New("decisionapi: Decider and Reporter are required")
	}
	if o.Observer == nil {
		o.Observer = blind{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.DecideTimeout == 0 {
		o.DecideTimeout = 5 * time.Second
	}
	if o.MaxBody == 0 {
		o.MaxBody = DefaultMaxBody
	}
	if o.MaxCheckBody == 0 {
		o.MaxCheckBody = DefaultMaxCheckBody
	}
	if o.DecideTimeout < 0 || o.MaxBody < 0 || o.MaxCheckBody < 0 {
		return errors.New("decisionapi: limits must be positive")
	}
	return nil
}

// blind is the Observer of those who want none.
type blind struct{}

func (blind) Decided(decision.Decision, string, time.Duration) {}
func (blind) Served(string, string, int, time.Duration)        {}

// api holds what the handlers share. All of it is fixed after New.
type api struct {
	Options
	routes map[string]bool // patterns that metrics and logs may name
}

// New returns the handler of all routes. It fails only on unusable options.
func New(o Options) (http.Handler, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	a := &api{Options: o, routes: map[string]bool{}}
	e := echo.New()
	e.HTTPErrorHandler = a.fail
	e.Use(a.observe, a.recover, a.guard)
	a.register(e)
	for _, r := range e.Routes() {
		a.routes[r.Path] = true
	}
	return e, nil
}

func (a *api) register(e *echo.Echo) {
	get := []string{http.MethodGet, http.MethodHead}
	e.Match(get, "/", a.index)
	e.Match(get, "/health", a.health)
	if a.Metrics != nil {
		e.Match(get, "/metrics", echo.WrapHandler(a.Metrics))
	}
	e.POST("/v1/check", a.check, a.identify)
	e.POST(dataPath, a.data, a.identify)
	e.GET(dataPath, a.dataQuery, a.identify)
}

// Package decisionapi answers metric checks over HTTP: POST /v1/check, the
// OPA-compatible /v1/data/charter/decision, /health and /metrics.
//
// Start with [New], which turns [Options] into an [http.Handler]; the caller
// owns listeners, timeouts of connections and shutdown. Guaranteed are: every
// answer with a status of 400 or more has the error shape of package wire; a question
// that cannot be understood in full is refused with the name of its field and
// never decided; no label value reaches the log; nobody is believed to be who
// they say they are unless [Options.InsecureSelfAsserted] says so, and then
// only over loopback and never from a web page of another origin.
package decisionapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
	"go.opentelemetry.io/otel/trace"

	"github.com/westworld-charter/charter/internal/decision"
)

// Decider answers one valid question. An error means that there is no answer;
// a denial is not an error.
type Decider interface {
	Decide(ctx context.Context, in decision.Input) (decision.Decision, error)
}

// Observer counts what was decided and served. The question is nil when it could
// not be read; the context has the [audit.Caller] and the span. Route is the pattern
// of a known route or "unmatched", never what the caller wrote. Methods are called
// concurrently and keep nothing of what they are given.
type Observer interface {
	Decided(ctx context.Context, in *decision.Input, d *decision.Decision, took time.Duration)
	Served(ctx context.Context, route, method string, status int, took time.Duration)
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
	// Degraded is set while something on disk could not be loaded and what was
	// loaded before answers.
	Degraded *Degraded
	// Unenforced says that violations have no consequences.
	Unenforced bool
}

// Limits of request bodies in bytes, unless [Options] says otherwise.
const (
	DefaultMaxBody      = 1 << 20
	DefaultMaxCheckBody = 64 << 10
	DefaultMaxBatchBody = 16 << 20
)

// Options configure [New]. Decider and Reporter are required.
type Options struct {
	Decider Decider // better a [BatchDecider], too
	// Lister decides for lists of what would be allowed, which are no decisions and
	// are not recorded; nil is Decider.
	Lister   Decider
	Auditor  Auditor // nil records nothing
	Reporter Reporter
	Observer Observer         // nil counts nothing
	Metrics  http.Handler     // serves /metrics; nil leaves the route out
	Log      *slog.Logger     // nil logs nothing
	Now      func() time.Time // stamps questions; nil is time.Now
	// InsecureSelfAsserted believes the role, node and claims of any caller on
	// loopback. Without it Access proves who asks.
	InsecureSelfAsserted bool
	Access               Access
	// DecideTimeout bounds one decision; 0 is 5 s.
	DecideTimeout time.Duration
	MaxBody       int64 // of any request; 0 is DefaultMaxBody
	MaxCheckBody  int64 // of one question, or one line of a stream; 0 is DefaultMaxCheckBody
	// MaxBatchBody bounds the body of a batch, whatever MaxBody says; 0 is
	// DefaultMaxBatchBody.
	MaxBatchBody int64
	// BatchTimeout bounds the decisions of one batch together; 0 is 20 s.
	BatchTimeout time.Duration
	// StreamIdle is how long a stream of questions may pause; 0 is 30 s. It
	// replaces the timeouts of the server for reading and writing.
	StreamIdle time.Duration
	// Policy returns the active policy for /v1/list, nil while there is none; a
	// nil func leaves the route out.
	Policy func() Policy
	// Explainer answers ?explain=full; nil refuses it.
	Explainer Explainer
	// PublicURL is where callers reach the service, such as
	// "https://charter.example.org"; "" takes the address that they used.
	PublicURL string
	// Tracer records requests and decisions as spans; nil records nothing.
	Tracer trace.Tracer
	// Build is told by ?provenance.
	Build Build
}

func (o *Options) complete() error {
	if o.Decider == nil || o.Reporter == nil {
		return errors.New("decisionapi: Decider and Reporter are required")
	}
	if o.Lister == nil {
		o.Lister = o.Decider
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
	if o.MaxBatchBody == 0 {
		o.MaxBatchBody = DefaultMaxBatchBody
	}
	if o.BatchTimeout == 0 {
		o.BatchTimeout = 20 * time.Second
	}
	if o.StreamIdle == 0 {
		o.StreamIdle = 30 * time.Second
	}
	if min(o.DecideTimeout, o.BatchTimeout, o.StreamIdle) < 0 || min(o.MaxBody, o.MaxCheckBody, o.MaxBatchBody) < 0 {
		return errors.New("decisionapi: limits must be positive")
	}
	return nil
}

// blind is the Observer of those who want none.
type blind struct{}

func (blind) Decided(context.Context, *decision.Input, *decision.Decision, time.Duration) {}
func (blind) Served(context.Context, string, string, int, time.Duration)                  {}

// api holds what the handlers share. All of it is fixed after New.
type api struct {
	Options
	routes   map[string]bool  // patterns that metrics and logs may name
	bodies   map[string]int64 // limits of the bodies of some routes, by their patterns
	unlogged map[string]bool  // methods and patterns of [wire.Route.Unlogged]
	room     *room            // of batches
	surveyor *surveyor
}

// New returns the handler of all routes. It fails only on unusable options.
func New(o Options) (http.Handler, error) { return serve(o, (*api).register) }

func serve(o Options, register func(*api, *echo.Echo)) (http.Handler, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	for _, r := range o.Access.Routes {
		if r.Scope == "" {
			return nil, fmt.Errorf("decisionapi: %s %s is for nobody: it has no scope", r.Method, r.Path)
		}
	}
	a := &api{Options: o, routes: map[string]bool{}, bodies: map[string]int64{}, unlogged: map[string]bool{}, room: newRoom(o.MaxBatchBody, o.DecideTimeout), surveyor: &surveyor{}}
	e := echo.New()
	e.HTTPErrorHandler = a.fail
	e.Use(a.observe, a.recover, a.guard)
	register(a, e)
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
		e.Match(get, "/metrics", echo.WrapHandler(a.Metrics), a.scrape)
	}
	e.Match(get, specificationPath, a.specification)
	e.Match(get, discoveryPath, a.discovery)

	e.POST("/", a.unversioned, a.identify)
	e.POST("/v1/check", a.check, a.identify)
	e.POST(batchPath, a.batch, a.identify, a.many)
	e.GET(allowedPath, a.allowed, a.identify)
	if a.Policy != nil {
		e.POST(listPath, a.list, a.identify, a.many)
	}
	e.POST(dataPath, a.data, a.identify)
	e.GET(dataPath, a.dataQuery, a.identify)
	e.POST(dataBatchPath, a.dataBatch, a.identify, a.many)
	e.POST(evaluationPath, a.evaluation, echoID, a.identify)
	e.POST(evaluationsPath, a.evaluations, echoID, a.identify, a.many)
	a.mount(e)
}

package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/westworld-charter/charter/internal/engine"
	decisionapi "github.com/westworld-charter/charter/internal/httpapi/decision"
	"github.com/westworld-charter/charter/internal/metrics"
)

// maxHeaderBytes bounds request headers, the query with ?input= included.
const maxHeaderBytes = 32 << 10

// Server is one process that answers decisions: made by [New], bound by
// [Server.Listen], running in [Server.Run].
type Server struct {
	options  Options
	log      *slog.Logger
	engine   *engine.Engine
	metrics  *metrics.Metrics
	handler  http.Handler
	listener net.Listener // nil before Listen; owned by Run
	draining atomic.Bool  // set once, when Run begins to stop
}

// New loads the policy and wires the parts, without listening yet. A policy that
// cannot be served is a [*PolicyError].
func New(ctx context.Context, o Options, log *slog.Logger) (*Server, error) {
	if err := o.validate(); err != nil {
		return nil, &usageError{err: err}
	}
	s := &Server{options: o, log: log, engine: engine.New(), metrics: metrics.New(build())}
	if err := s.load(ctx); err != nil {
		return nil, err
	}
	handler, err := decisionapi.New(decisionapi.Options{
		Decider: s.engine, Reporter: s, Observer: s.metrics, Metrics: s.metrics.Handler(), Log: log,
		InsecureSelfAsserted: o.InsecureSelfAsserted, DecideTimeout: o.Timeouts.Decide,
		MaxBody: o.MaxBody, MaxCheckBody: o.MaxCheckBody,
	})
	if err != nil {
		return nil, err
	}
	s.handler = handler
	return s, nil
}

// load makes the policy that the options name the active one. After a failure
// the active one stays.
func (s *Server) load(ctx context.Context) error {
	start := time.Now()
	p, warnings, err := loadPolicy(ctx, s.options)
	if err != nil {
		s.metrics.LoadFailed(time.Since(start))
		return err
	}
	s.engine.Swap(p)
	meta := p.Charter().Metadata
	s.metrics.Activated(metrics.Policy{Charter: meta.Name, Release: meta.Version, Revision: p.Revision()}, time.Now(), time.Since(start))
	logFindings(s.log, warnings)
	if p.Charter().Enforcement.State == "required" && s.options.State == "" {
		s.log.Warn("the charter requires a state document and none was given: collect and export are denied", "hint", "--state FILE")
	}
	s.log.Info("policy active", "charter", meta.Name, "revision", p.Revision(), "seconds", time.Since(start).Seconds())
	return nil
}

// Status implements [decisionapi.Reporter].
func (s *Server) Status() decisionapi.Status {
	p := s.engine.Current()
	switch {
	case p == nil:
		return decisionapi.Status{Code: "no_policy", Message: "no policy is active"}
	case s.draining.Load():
		return decisionapi.Status{Code: "shutting_down", Message: "the server is shutting down"}
	default:
		return decisionapi.Status{Charter: p.Charter().Metadata.Name, Revision: p.Revision()}
	}
}

// Listen binds the address of the options and returns the actual one.
func (s *Server) Listen(ctx context.Context) (net.Addr, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", s.options.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if host, _, err := net.SplitHostPort(ln.Addr().String()); s.options.InsecureSelfAsserted && (err != nil || !loopback(host)) {
		_ = ln.Close() // nobody was served
		return nil, &usageError{err: fmt.Errorf("--listen %s is %s, which is not loopback", s.options.Listen, ln.Addr())}
	}
	s.listener = ln
	return ln.Addr(), nil
}

// Run serves until ctx ends, then lets requests under way finish for
// Timeouts.Shutdown and cuts off what is left. It listens if [Server.Listen] was
// not called. Stopping because ctx ended is no error. Run is called once.
func (s *Server) Run(ctx context.Context) error {
	if s.listener == nil {
		if _, err := s.Listen(ctx); err != nil {
			return err
		}
	}
	hs := s.httpServer()
	s.announce()
	failed := make(chan error, 1)
	go func() { failed <- hs.Serve(s.listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	s.stop(ctx, hs)
	<-failed // Serve has returned; it leaves nothing behind
	s.log.Info("stopped")
	return nil
}

func (s *Server) httpServer() *http.Server {
	t := s.options.Timeouts
	return &http.Server{
		Handler: s.handler, MaxHeaderBytes: maxHeaderBytes,
		ReadHeaderTimeout: t.ReadHeader, ReadTimeout: t.Read, WriteTimeout: t.Write, IdleTimeout: t.Idle,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
}

// stop drains the server. Requests keep their own contexts: ctx has ended, but
// those who asked before are still answered.
func (s *Server) stop(ctx context.Context, hs *http.Server) {
	s.draining.Store(true)
	s.log.Info("shutting down", "deadline_seconds", s.options.Timeouts.Shutdown.Seconds())
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.options.Timeouts.Shutdown)
	defer cancel()
	if err := hs.Shutdown(drain); err == nil || !errors.Is(err, context.DeadlineExceeded) {
		return
	}
	s.log.Warn("requests that did not finish in time are cut off")
	_ = hs.Close() // every connection is given up: there is nobody to tell
}

// announce says what is served where, and what is unsafe about it.
func (s *Server) announce() {
	address := s.listener.Addr().String()
	if s.options.InsecureSelfAsserted {
		s.log.Warn("INSECURE: every process on this machine is believed to have the role, node and claims it names (--insecure-self-asserted)", "address", address)
	} else {
		s.log.Warn("no proof of identity is configured: questions are answered with 401", "hint", "--insecure-self-asserted on loopback")
	}
	s.log.Info("listening", "address", address, "url", "http://"+address)
}

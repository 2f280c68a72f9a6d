package app

import (
	"context"
	"errors"
	"fmt"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/westworld-charter/charter/internal/audit"
	"github.com/westworld-charter/charter/internal/enforcement"
	"github.com/westworld-charter/charter/internal/engine"
	"github.com/westworld-charter/charter/internal/explain"
	"github.com/westworld-charter/charter/internal/fleet"
	bundlesapi "github.com/westworld-charter/charter/internal/httpapi/bundles"
	decisionapi "github.com/westworld-charter/charter/internal/httpapi/decision"
	uploadsapi "github.com/westworld-charter/charter/internal/httpapi/uploads"
	"github.com/westworld-charter/charter/internal/metrics"
	"github.com/westworld-charter/charter/internal/mirror"
	"github.com/westworld-charter/charter/internal/rollout"
	"github.com/westworld-charter/charter/internal/signing"
	"github.com/westworld-charter/charter/internal/tracing"
	"github.com/westworld-charter/charter/internal/witness"
)

// maxHeaderBytes bounds request headers, the query with ?input= included.
const maxHeaderBytes = 32 << 10

// Server is one process that answers decisions: made by [New], bound by
// [Server.Listen], running in [Server.Run].
type Server struct {
	program     Program
	options     Options
	log         *slog.Logger
	started     time.Time
	engine      *engine.Engine
	metrics     *metrics.Metrics
	handler     http.Handler
	diagnostics http.Handler      // nil without a diagnostics listener
	tracing     *tracing.Provider // nil without a collector

	listener     net.Listener // nil before Listen; owned by Run
	diagListener net.Listener // nil before Listen, and without such a listener
	draining     atomic.Bool  // set once, when Run begins to stop

	limit       decisionapi.Limiter         // of identities; nil without one, fixed after New
	credentials atomic.Pointer[credentials] // nil without TLS
	tokens      atomic.Pointer[tokens]      // nil without a token file
	faults      faults

	reloading sync.Mutex // held while anything is loaded
	parts     []*part    // fixed; what is in them is guarded by reloading
	active    stamps     // what the active policy was made from; guarded by reloading

	rollout  *rollout.Rollout // answers with the engine, or with a candidate
	tried    stamps           // what the last candidate was made from; guarded by reloading
	state    map[string]any   // the document that is in force, never changed; guarded by reloading
	operator map[string]any   // the part of it that is on disk; guarded by reloading
	enforced map[string]any   // the part of it that follows from the ledger; guarded by reloading
	promoted bool             // the active policy was a candidate and is not on disk; guarded by reloading
	trigger  string           // of the reload under way, "" of none; guarded by reloading
	by       string           // principal who asked for it over HTTP; guarded by reloading
	keeper   *keeper          // of the ledger; nil without one, fixed after New
	// ledgerKeys are nil without a ledger, fixed after New.
	ledgerKeys *ledgerKeys
	enforcer   *enforcement.Enforcer // nil without a ledger, fixed after New
	kept       atomic.Pointer[kept]  // what was replaced over HTTP; nil when nothing was
	notifier   *notifier             // nil without a ledger, fixed after New
	witness    *witness.Server       // nil unless it is one
	fleet      *fleet.Fleet          // what nodes run and are offered; nil in charter-node, fixed after New
	mirrors    *mirror.Mirrors       // of the ledgers of nodes; nil without a ledger, fixed after New
	// trust is nil without a trust policy.
	trust    atomic.Pointer[signing.Trust]
	releases *follower    // nil unless the policy comes from signed releases, fixed after New
	signed   audit.Signed // the release that decides; zero for what is none; guarded by reloading
	// stateQuiet bounds the entries about changes of the state; guarded by reloading.
	stateQuiet stateQuiet
	proxy      *proxy          // nil unless the policy comes from signed releases, fixed after New
	observed   *observed       // of a node
	uplink     *uplink         // nil without a server that gets reports, fixed after New
	bundles    *bundlesapi.API // fixed after New; nil on a node, which has a proxy
	states     *stateProducer  // tells nodes elsewhere; nil without a state key, fixed after New
	opaBundle  *opaBundle      // nil without an archive for stock OPA, fixed after New
	uploads    *uploadsapi.API // nil without a ledger and on a node, fixed after New
	asked      bool            // the reload under way was asked for, and no file brought it about; guarded by reloading
}

// New loads the policy and wires the parts, without listening yet. A policy that
// cannot be served is a [*PolicyError].
func New(ctx context.Context, p Program, o Options, log *slog.Logger) (*Server, error) {
	if err := p.validate(o); err != nil {
		return nil, &usageError{err: err}
	}
	s := &Server{program: p, options: o, log: log, started: time.Now(), metrics: metrics.New(build())}
	s.engine = engine.NewWith(engine.Options{CacheSize: cacheSize(o.Cache), OnMismatch: s.cacheFailed})
	s.observed = &observed{Metrics: s.metrics}
	s.metrics.Cache(s.engine.Stats)
	s.rollout = rollout.New(s.engine, o.rollout(s.candidateStopped))
	s.metrics.Candidate(s.rollout.Stats)
	if o.TLS.Cert != "" {
		s.parts = append(s.parts, &part{name: partTLS, load: s.loadTLS})
	}
	if o.TokenFile != "" {
		s.parts = append(s.parts, &part{name: partTokens, load: s.loadTokens})
	}
	if o.Trust != "" {
		s.parts = append(s.parts, &part{name: partTrust, load: s.loadTrust})
	}
	if !o.followsReleases() {
		s.parts = append(s.parts, &part{name: partPolicy, load: s.loadPolicy})
	} else if o.State != "" {
		s.parts = append(s.parts, &part{name: partPolicy, load: s.loadOperatorState})
	}
	s.openOPABundle()
	for _, p := range s.parts {
		p.seen = stamps{}
		if err := p.load(ctx, p.seen); err != nil {
			return nil, err
		}
	}
	if err := s.openLedger(ctx); err != nil {
		return nil, err
	}
	for _, open := range s.openings(ctx) {
		if err := open(); err != nil {
			s.stopTracing(ctx)
			return nil, errors.Join(err, s.Close(ctx))
		}
	}
	return s, nil
}

// openings are what the program needs beside its files and its ledger, in order.
func (s *Server) openings(ctx context.Context) []func() error {
	with := func(open func(context.Context) error) func() error { return func() error { return open(ctx) } }
	first := []func() error{s.openProxy, with(s.openReleases), s.openNotify, with(s.openEnforcement), with(s.openStateBundle), with(s.openCandidate), s.openMirrors, with(s.openFleet)}
	if s.program.node {
		first = []func() error{s.openProxy, with(s.openReleases), s.openUplink}
	}
	return append(first, s.openWitness, s.openMirrorUp, with(s.startTracing), s.wire)
}

// openCandidate loads a candidate, which never keeps the active policy from being
// served.
func (s *Server) openCandidate(ctx context.Context) error {
	if s.options.Candidate.Path == "" {
		return nil
	}
	p := &part{name: partCandidate, load: s.loadCandidate}
	s.parts = append(s.parts, p)
	if err := s.reloadPart(ctx, p, "start"); err != nil && ctx.Err() != nil {
		return err
	}
	return nil
}

// Close releases what [New] opened, for a server that does not get to
// [Server.Run], which does the same.
func (s *Server) Close(ctx context.Context) error {
	s.rollout.Close()
	return errors.Join(s.closeReleases(), s.closeNotify(), s.closeMirrors(), s.closeLedger(ctx), s.closeWitness())
}

// cacheSize is the engine's form of a size, where 0 asks for the default.
func cacheSize(answers int) int {
	if answers == 0 {
		return -1
	}
	return answers
}

// cacheFailed raises the alarm about an answer that was wrong: a defect of this
// program. The engine asks the reference evaluator alone by then. Labels stay out of
// the log.
func (s *Server) cacheFailed(m engine.Mismatch) {
	s.faults.set(partCache, codeCacheMismatch, "a decision was not that of the reference evaluator, which alone decides from now on, without a cache; please report it", time.Now())
	s.log.Error("a decision was not that of the reference evaluator; cache and plan are off",
		"metric", m.Input.Metric, "node", m.Input.Node, "role", m.Input.Role, "operation", m.Input.Operation, "time", m.Input.Time,
		"given", m.Given.Outcome, "reference", m.Reference.Outcome, "revision", m.Reference.Revision)
}

// wire makes the handlers.
func (s *Server) wire() error {
	access, err := s.access()
	if err != nil {
		return err
	}
	o := decisionapi.Options{
		Decider: s.decider(), Lister: decisionapi.Batching(s.rollout), Auditor: s.refusals(), Reporter: s, Observer: s.observer(), Metrics: s.metrics.Handler(), Log: s.log,
		InsecureSelfAsserted: s.options.InsecureSelfAsserted, Access: access, DecideTimeout: s.options.Timeouts.Decide,
		MaxBody: s.options.MaxBody, MaxCheckBody: s.options.MaxCheckBody, MaxBatchBody: s.options.MaxBatchBody,
		BatchTimeout: s.options.Timeouts.Batch, StreamIdle: s.options.Timeouts.Stream,
		Policy: s.policy, Explainer: explain.New(s.policies), PublicURL: s.options.PublicURL, Build: provenance(), Tracer: s.tracer(),
	}
	if s.options.Diagnostics != "" {
		own := o
		// Without tokens there is nothing a scraper on this machine could show.
		own.InsecureSelfAsserted = s.options.TokenFile == "" && loopbackAddress(s.options.Diagnostics)
		routes, err := s.diagnosticRoutes()
		if err != nil {
			return err
		}
		handler, err := decisionapi.NewDiagnostics(own, routes)
		if err != nil {
			return err
		}
		s.diagnostics, o.Metrics = handler, nil
	}
	handler, err := decisionapi.New(o)
	s.handler = handler
	return err
}

// policy is the active policy for lists.
func (s *Server) policy() decisionapi.Policy {
	if p := s.engine.Current(); p != nil {
		return p
	}
	return nil // not a nil pointer in an interface
}

// policies are those that may have answered, for explanations.
func (s *Server) policies() []*engine.Policy {
	return []*engine.Policy{s.engine.Current(), s.rollout.Candidate()}
}

// provenance is what answers tell about the program on request.
func provenance() decisionapi.Build {
	b := build()
	host, _ := os.Hostname() // "" when the machine has none
	return decisionapi.Build{Version: b.Version, Commit: b.Commit, Hostname: host}
}

// Status implements [decisionapi.Reporter].
func (s *Server) Status() decisionapi.Status {
	p := s.engine.Current()
	switch {
	case p == nil:
		return decisionapi.Status{Code: "no_policy", Message: s.unserved()}
	case s.draining.Load():
		return decisionapi.Status{Code: "shutting_down", Message: "the server is shutting down"}
	default:
		if code, message := s.audited(); code != "" {
			return decisionapi.Status{Charter: p.Charter().Metadata.Name, Revision: p.Revision(), Code: code, Message: message}
		}
		return decisionapi.Status{Charter: p.Charter().Metadata.Name, Revision: p.Revision(), Degraded: s.degraded(), Unenforced: s.enforcer == nil && !s.program.node}
	}
}

// Listen binds the addresses of the options and returns the actual one of
// decisions.
func (s *Server) Listen(ctx context.Context) (net.Addr, error) {
	ln, err := s.bind(ctx, "--listen", s.options.Listen)
	if err != nil {
		return nil, err
	}
	if s.options.Diagnostics != "" {
		if s.diagListener, err = s.bind(ctx, "--diagnostics", s.options.Diagnostics); err != nil {
			_ = ln.Close() // nobody was served
			return nil, err
		}
	}
	s.listener = ln
	return ln.Addr(), nil
}

// bind listens on an address. What the options allow on loopback only is
// checked against what was bound: names can be made to mean anything.
func (s *Server) bind(ctx context.Context, flag, address string) (net.Listener, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	host, _, err := net.SplitHostPort(address)
	if err == nil && loopback(host) && !loopbackAddress(ln.Addr().String()) || s.options.InsecureSelfAsserted && !loopbackAddress(ln.Addr().String()) {
		_ = ln.Close() // nobody was served
		return nil, &usageError{err: fmt.Errorf("%s %s is %s, which is not loopback", flag, address, ln.Addr())}
	}
	return ln, nil
}

// loopbackAddress reports whether HOST:PORT names this machine alone.
func loopbackAddress(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && loopback(host)
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
	defer s.stopTracing(ctx)
	looking, rest := context.WithCancel(ctx)
	var watching sync.WaitGroup
	defer s.rollout.Close()
	defer watching.Wait()
	defer rest()
	if s.options.Watch > 0 && len(s.parts) > 0 {
		watching.Go(func() { s.watch(looking, s.options.Watch) })
	}
	if s.releases != nil {
		watching.Go(func() { s.follow(looking) })
	}
	if s.fleet != nil {
		watching.Go(func() { s.watchFleet(looking) })
	}
	if s.states != nil {
		watching.Go(func() { s.states.run(looking) })
	}
	if s.uplink != nil {
		watching.Go(func() { s.uplink.run(looking) })
	}
	settle := s.record(ctx)
	servers := s.endpoints()
	s.announce()
	failed := make(chan error, len(servers))
	for _, e := range servers {
		go func() { failed <- e.serve() }()
	}
	var err error
	running := len(servers)
	select {
	case err = <-failed:
		err = fmt.Errorf("serve: %w", err)
		running--
		s.closeAll(servers)
	case <-ctx.Done():
		s.stop(ctx, servers)
	}
	for range running {
		<-failed // Serve has returned; it leaves nothing behind
	}
	rest()
	watching.Wait() // what it records is in the ledger before that is closed
	err = errors.Join(err, s.closeReleases(), s.closeMirrors(), settle(), s.closeWitness())
	if err == nil {
		s.log.Info("stopped")
	}
	return err
}

// endpoint is one listener with what serves it.
type endpoint struct {
	*http.Server
	listener net.Listener
}

func (e endpoint) serve() error {
	if e.TLSConfig != nil {
		return e.ServeTLS(e.listener, "", "")
	}
	return e.Serve(e.listener)
}

// endpoints are the listeners, that of decisions first.
func (s *Server) endpoints() []endpoint {
	all := []endpoint{{s.httpServer(s.handler), s.listener}}
	if s.credentials.Load() != nil {
		all[0].TLSConfig = s.tlsConfig()
	}
	if s.diagListener == nil {
		return all
	}
	d := endpoint{s.httpServer(s.diagnostics), s.diagListener}
	d.WriteTimeout = max(d.WriteTimeout, 2*time.Minute) // profiles take their time
	if s.credentials.Load() != nil && !loopbackAddress(s.options.Diagnostics) {
		d.TLSConfig = s.tlsConfig()
	}
	return append(all, d)
}

func (s *Server) httpServer(h http.Handler) *http.Server {
	t := s.options.Timeouts
	return &http.Server{
		Handler: h, MaxHeaderBytes: maxHeaderBytes, ConnContext: s.accepted,
		ReadHeaderTimeout: t.ReadHeader, ReadTimeout: t.Read, WriteTimeout: t.Write, IdleTimeout: t.Idle,
		ErrorLog: stdlog.New(complaints{s.log}, "", 0),
	}
}

func (s *Server) closeAll(servers []endpoint) {
	for _, e := range servers {
		_ = e.Close() // every connection is given up: there is nobody to tell
	}
}

// stop drains the servers. Requests keep their own contexts: ctx has ended, but
// those who asked before are still answered.
func (s *Server) stop(ctx context.Context, servers []endpoint) {
	s.draining.Store(true)
	if s.proxy != nil {
		s.proxy.api.Close()
	}
	if s.bundles != nil {
		s.bundles.Close()
	}
	s.log.Info("shutting down", "deadline_seconds", s.options.Timeouts.Shutdown.Seconds())
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.options.Timeouts.Shutdown)
	defer cancel()
	for _, e := range servers {
		if err := e.Shutdown(drain); errors.Is(err, context.DeadlineExceeded) {
			s.log.Warn("requests that did not finish in time are cut off")
		}
	}
	s.closeAll(servers)
}

// announce says what is served where, and what is unsafe about it.
func (s *Server) announce() {
	address := s.listener.Addr().String()
	switch {
	case s.options.InsecureSelfAsserted:
		s.log.Warn("INSECURE: every process on this machine is believed to have the role, node and claims it names (--insecure-self-asserted)", "address", address)
	case !s.options.authenticates():
		s.log.Warn("no proof of identity is configured: questions are answered with 401", "hint", "--token-file, --tls-client-ca, or --insecure-self-asserted on loopback")
	}
	if s.options.Ledger.InsecureNone {
		s.log.Warn("INSECURE: decisions are not recorded, nobody can prove later what was decided, and violations have no consequences (--insecure-no-ledger)")
	}
	if s.credentials.Load() == nil && !loopbackAddress(address) {
		s.log.Warn("INSECURE: tokens and questions cross the network in the clear (--insecure-plain-http)", "address", address)
	}
	if s.diagListener != nil {
		s.log.Info("diagnostics", "address", s.diagListener.Addr().String())
	}
	s.log.Info("listening", "address", address, "url", s.url(s.listener.Addr()))
}

// url is where decisions are served.
func (s *Server) url(addr net.Addr) string {
	if s.credentials.Load() != nil {
		return "https://" + addr.String()
	}
	return "http://" + addr.String()
}

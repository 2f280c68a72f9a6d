package app

import (
	"context"
	"errors"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/westworld-charter/charter/internal/activation"
	"github.com/westworld-charter/charter/internal/diag"
	decisionapi "github.com/westworld-charter/charter/internal/httpapi/decision"
	"github.com/westworld-charter/charter/internal/wire"
)

// reloadRoute reads everything again on request.
func (s *Server) reloadRoute() wire.Route {
	return wire.Route{Method: http.MethodPost, Path: "/v1/reload", Scope: wire.ScopeAdmin, Handler: http.HandlerFunc(s.serveReload)}
}

func (s *Server) serveReload(w http.ResponseWriter, r *http.Request) {
	// A client that leaves must not stop half-way what others wait for.
	done, err := s.Reload(context.WithoutCancel(r.Context()), "api")
	if err == nil {
		decisionapi.WriteJSON(w, http.StatusOK, done)
		return
	}
	answer := &wire.Error{Status: http.StatusUnprocessableEntity, Code: codeOf(err), Message: err.Error() + "; what was loaded before stays in force"}
	for _, f := range findingsOf(err) {
		message := f.Message
		if f.Fix != "" {
			message += "; " + f.Fix
		}
		answer.Errors = append(answer.Errors, wire.Problem{Code: f.Code, Message: message, Location: f.Pos.String()})
	}
	wire.Refuse(w, s.log, answer)
}

func findingsOf(err error) diag.List {
	if e, ok := errors.AsType[*PolicyError](err); ok {
		return e.Findings
	}
	if e, ok := errors.AsType[*accessError](err); ok {
		return e.findings
	}
	return nil
}

// diagnosticRoutes are what the diagnostics listener serves beside /health and
// /metrics, all of it for the scope admin.
func (s *Server) diagnosticRoutes() ([]wire.Route, error) {
	opa, err := s.opaRoutes()
	if err != nil {
		return nil, err
	}
	admin := func(method, path string, h http.HandlerFunc) wire.Route {
		return wire.Route{Method: method, Path: path, Scope: wire.ScopeAdmin, Handler: h}
	}
	return append([]wire.Route{
		s.reloadRoute(),
		admin(http.MethodGet, "/v1/config", s.serveConfig),
		admin(http.MethodGet, "/v1/status", s.serveStatus),
		admin(http.MethodGet, "/v1/candidate", s.serveCandidate),
		admin(http.MethodPost, "/v1/candidate", s.changeCandidate),
		admin(http.MethodGet, "/debug/pprof/cmdline", pprof.Cmdline),
		admin(http.MethodGet, "/debug/pprof/profile", pprof.Profile),
		admin(http.MethodGet, "/debug/pprof/symbol", pprof.Symbol),
		admin(http.MethodPost, "/debug/pprof/symbol", pprof.Symbol),
		admin(http.MethodGet, "/debug/pprof/trace", pprof.Trace),
		admin(http.MethodGet, "/debug/pprof/*", pprof.Index),
	}, opa...), nil
}

// serveConfig tells every setting by its key in the configuration file. There
// are no secrets among them: keys and tokens lie in files of their own.
func (s *Server) serveConfig(w http.ResponseWriter, _ *http.Request) {
	config := map[string]string{}
	for _, setting := range s.program.settings {
		config[setting.key] = setting.get(s.options)
	}
	decisionapi.WriteJSON(w, http.StatusOK, map[string]any{"config": config})
}

// status is the body of /v1/status.
type status struct {
	Program  string                `json:"program"`
	Version  string                `json:"version"`
	Commit   string                `json:"commit,omitempty"`
	Started  time.Time             `json:"started"`
	Charter  string                `json:"charter,omitempty"`
	Release  string                `json:"release,omitempty"`
	Revision string                `json:"revision,omitempty"`
	Digest   string                `json:"digest,omitempty"`
	Degraded *decisionapi.Degraded `json:"degraded,omitempty"`
	Files    []string              `json:"files"`            // that are watched
	Signed   *activation.Status    `json:"signed,omitempty"` // of the releases that are followed; nil when none are
}

func (s *Server) serveStatus(w http.ResponseWriter, _ *http.Request) {
	b := build()
	answer := status{
		Program: s.program.name, Version: b.Version, Commit: b.Commit, Started: s.started.UTC(),
		Degraded: s.degraded(), Files: s.watched(),
	}
	if s.releases != nil {
		st := s.releases.Status()
		answer.Signed = &st
	}
	if p := s.engine.Current(); p != nil {
		meta := p.Charter().Metadata
		answer.Charter, answer.Release, answer.Revision, answer.Digest = meta.Name, meta.Version, p.Revision(), p.Charter().Digest()
	}
	decisionapi.WriteJSON(w, http.StatusOK, answer)
}

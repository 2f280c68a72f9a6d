// Package opaapi serves OPA's REST API over the active policy, read only: the
// data, query and policy APIs with the forms, parameters and errors of stock
// OPA, so that tools made for OPA can look into a running server.
//
// Start with [Routes]; the caller owns the listener and decides who may ask.
// Guaranteed are: nothing that is asked here changes the policy, its state or
// its cache, and no answer is a decision: the time is not stamped, nothing is
// counted or audited. Queries see the builtins of [engine.Capabilities] alone.
// Bodies, queries, answers, memory, time and the number of evaluations at once
// are bounded, and each bound has a code.
package opaapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/westworld-charter/charter/internal/engine"
	"github.com/westworld-charter/charter/internal/wire"
)

// slots is how many evaluations run at the same time, their explanations being
// sent included; more are refused.
const slots = 4

// Options configure [Routes].
type Options struct {
	// Policy returns the active policy, nil while there is none. Required.
	Policy  func() *engine.Policy
	Build   Build         // told by ?provenance
	Timeout time.Duration // of one evaluation; required
	MaxBody int64         // bytes; required
}

// Build says which program answers; the fields are OPA's.
type Build struct {
	Version   string `json:"version"`
	Commit    string `json:"build_commit"`
	Timestamp string `json:"build_timestamp"` // RFC 3339
	Hostname  string `json:"build_hostname"`
}

// api holds what the handlers share, fixed after Routes.
type api struct {
	Options
	slots chan struct{} // one for each evaluation under way
}

// Routes returns the routes of the API.
func Routes(o Options) ([]wire.Route, error) {
	if o.Policy == nil || o.Timeout <= 0 || o.MaxBody <= 0 {
		return nil, errors.New("opaapi: Policy, Timeout and MaxBody are required")
	}
	a := &api{Options: o, slots: make(chan struct{}, slots)}
	var routes []wire.Route
	for _, r := range []struct {
		method string
		paths  []string
		serve  handler
	}{
		{http.MethodGet, []string{dataPath, dataPath + "/*"}, (*call).dataGet},
		{http.MethodPost, []string{dataPath, dataPath + "/*"}, (*call).dataPost},
		{http.MethodGet, []string{"/v1/query"}, (*call).queryGet},
		{http.MethodPost, []string{"/v1/query"}, (*call).queryPost},
		{http.MethodGet, []string{policiesPath}, (*call).listModules},
		{http.MethodGet, []string{policiesPath + "/*"}, (*call).getModule},
	} {
		for _, path := range r.paths {
			routes = append(routes, wire.Route{Method: r.method, Path: path, Scope: wire.ScopeAdmin, Handler: a.handler(r.serve)})
		}
	}
	return routes, nil
}

// call is one request with what its handler needs.
type call struct {
	*http.Request
	params

	api     *api
	policy  *engine.Policy
	started time.Time
	parsed  time.Time // when the input was read
	holds   bool      // a slot
}

type handler func(*call) (any, error)

// handler reads the parameters and the policy, and writes the answer.
func (a *api) handler(serve handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{Request: r, api: a, policy: a.Policy(), started: time.Now()}
		defer c.end()
		r.Body = http.MaxBytesReader(w, r.Body, a.MaxBody)
		var err error
		if c.params, err = readParams(r.URL.Query()); err != nil {
			fail(w, err, c.pretty)
			return
		}
		if c.policy == nil {
			fail(w, &fault{status: http.StatusServiceUnavailable, Code: "no_policy", Message: "no policy is active"}, c.pretty)
			return
		}
		answer, err := serve(c)
		if err != nil {
			fail(w, err, c.pretty)
			return
		}
		respond(w, http.StatusOK, answer, c.pretty)
	})
}

// begin takes a slot for what needs much memory, until the request is answered.
func (c *call) begin() error {
	select {
	case c.api.slots <- struct{}{}:
		c.holds = true
		return nil
	default:
		return wire.TooMany("too many evaluations are under way, ask again", time.Second)
	}
}

func (c *call) end() {
	if c.holds {
		<-c.api.slots
	}
}

// evaluate runs a query with the parameters of the request.
func (c *call) evaluate(query string, input ast.Value) (*engine.Findings, error) {
	ctx, cancel := context.WithTimeout(c.Context(), c.api.Timeout)
	defer cancel()
	found, err := c.policy.Query(ctx, engine.AdHoc{
		Query: query, Input: input, Explain: c.explain, Pretty: c.pretty, Instrument: c.instrument, StrictErrors: c.strict,
	})
	if err != nil {
		return nil, err
	}
	if !c.metrics && !c.instrument {
		found.Metrics = nil
		return found, nil
	}
	// What the engine does not see, under the names of OPA.
	found.Metrics["timer_server_handler_ns"] = time.Since(c.started).Nanoseconds()
	if !c.parsed.IsZero() {
		found.Metrics["timer_rego_input_parse_ns"] = c.parsed.Sub(c.started).Nanoseconds()
	}
	return found, nil
}

package decisionapi

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/westworld-charter/charter/internal/wire"
)

// healthy is the body of /health when all is well. OPA answers {}.
type healthy struct {
	Charter  string `json:"charter"`
	Revision string `json:"revision"`
	// Degraded says why what answers is older than what is on disk.
	Degraded *Degraded `json:"degraded,omitempty"`
	// Enforcement is "off" where violations have no consequences.
	Enforcement string `json:"enforcement,omitempty"`
}

// health is 200 when a policy is active, also an older one than that on disk. OPA's
// parameters, such as ?bundles, are accepted: a policy is always required.
func (a *api) health(c echo.Context) error {
	s := a.Reporter.Status()
	if s.Code != "" {
		return &wire.Error{Status: http.StatusServiceUnavailable, Code: s.Code, Message: s.Message}
	}
	h := healthy{Charter: s.Charter, Revision: s.Revision, Degraded: s.Degraded}
	if s.Unenforced {
		h.Enforcement = "off"
	}
	return respond(c, http.StatusOK, h)
}

const indexText = `May this metric be collected, read or exported here?

POST /v1/check                         {"metric": …, "node": …, "role": …, "operation": …}
POST /v1/check/batch                   {"common": {…}, "items": [{…}, …]}, or one question on a line (application/x-ndjson)
GET  /v1/allowed                       ?metric=…&node=…: a yes or no
POST /v1/list                          {"role": …, "node": …, "operation": …}: which metrics may it be?
POST /v1/data/charter/decision         the question in OPA's form: {"input": {…}}
GET  /v1/data/charter/decision         ?input={…}
POST /                                 OPA's default decision: the question alone
POST /v1/batch/data/charter/decision   EOPA's batch: {"inputs": {"id": {…}}, "common_input": {…}}
POST /access/v1/evaluation             AuthZEN 1.0, and /access/v1/evaluations
GET  /.well-known/authzen-configuration
GET  /openapi.yaml                     all of this as OpenAPI 3.1
GET  /health                           200 while a policy is active
GET  /metrics                          Prometheus metrics

?pretty indents any JSON answer. ?explain=full on single questions says why, and what would be allowed.
`

func (a *api) index(c echo.Context) error {
	return c.String(http.StatusOK, indexText)
}

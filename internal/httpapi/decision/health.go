package decisionapi

import (
	"net/http"

	"github.com/labstack/echo/v4"
)

// healthy is the body of /health when all is well. OPA answers {}.
type healthy struct {
	Charter  string `json:"charter"`
	Revision string `json:"revision"`
}

// health is 200 when a policy is active and nothing is degraded. OPA's
// parameters, such as ?bundles, are accepted: a policy is always required.
func (a *api) health(c echo.Context) error {
	s := a.Reporter.Status()
	if s.Code != "" {
		return &Error{status: http.StatusServiceUnavailable, Code: s.Code, Message: s.Message}
	}
	return respond(c, http.StatusOK, healthy{Charter: s.Charter, Revision: s.Revision})
}

const indexText = `charter-server: may this metric be collected, read or exported here?

POST /v1/check                     {"metric": …, "node": …, "role": …, "operation": …}
POST /v1/data/charter/decision     the same, in OPA's form: {"input": {…}}
GET  /v1/data/charter/decision     ?input={…}
GET  /health                       200 while a policy is active
GET  /metrics                      Prometheus metrics

?pretty indents any JSON answer.
`

func (a *api) index(c echo.Context) error {
	return c.String(http.StatusOK, indexText)
}

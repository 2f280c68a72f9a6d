package opaapi

import (
	"github.com/open-policy-agent/opa/v1/ast"
)

// queryAnswer holds the bindings of every way in which a query holds, and no
// result when it is undefined.
type queryAnswer struct {
	Metrics map[string]any   `json:"metrics,omitempty"`
	Result  []map[string]any `json:"result,omitempty"`

	explained
}

// queryGet answers the query in the parameter "q". Beyond OPA it reads the
// parameter "input", too.
func (c *call) queryGet() (any, error) {
	if err := c.begin(); err != nil {
		return nil, err
	}
	given := c.URL.Query()["q"]
	if len(given) == 0 {
		return nil, invalidParameter("missing parameter 'q'")
	}
	input, err := inputParam(c.URL.Query())
	if err != nil {
		return nil, err
	}
	return c.query(given[len(given)-1], input)
}

func (c *call) queryPost() (any, error) {
	body, err := readBody(c.Request)
	if err != nil {
		return nil, err
	}
	if err := c.begin(); err != nil {
		return nil, err
	}
	var request struct {
		Query string
		Input *any
	}
	if err := decode(body, &request, false); err != nil {
		return nil, err
	}
	input, err := valueOf(request.Input)
	if err != nil {
		return nil, err
	}
	return c.query(request.Query, input)
}

func (c *call) query(text string, input ast.Value) (any, error) {
	found, err := c.evaluate(text, input)
	if err != nil {
		return nil, err
	}
	answer := &queryAnswer{Metrics: found.Metrics, explained: explained{found.Explanation}}
	for _, way := range found.Results {
		answer.Result = append(answer.Result, way.Bindings)
	}
	return answer, nil
}

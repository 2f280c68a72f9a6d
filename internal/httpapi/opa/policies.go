package opaapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/westworld-charter/charter/internal/engine"
	"github.com/westworld-charter/charter/internal/wire"
)

// policiesPath is where modules are listed; the rest of a path is an id.
const policiesPath = "/v1/policies"

// maxPolicies bounds the list of modules in bytes. Compiled Rego takes some fifty times
// the room of its text as JSON.
const maxPolicies = 64 << 20

type policyAnswer struct {
	Result any `json:"result"`
}

// module is one module as OPA tells it: its source, and how it was compiled.
type module struct {
	ID  string      `json:"id"`
	Raw string      `json:"raw"`
	AST *ast.Module `json:"ast"`
}

func (c *call) listModules() (any, error) {
	if err := c.begin(); err != nil {
		return nil, err
	}
	all, size := []json.RawMessage{}, 0
	for _, id := range c.policy.Modules() {
		m, _ := c.policy.Module(id)
		text, err := json.Marshal(module{m.ID, m.Text, m.AST})
		if err != nil {
			return nil, fmt.Errorf("encode %s: %w", id, err)
		}
		if size += len(text); size > maxPolicies {
			return nil, &fault{
				status: http.StatusUnprocessableEntity, Code: engine.CodeTooLarge,
				Message: fmt.Sprintf("the policies are larger than %d bytes; ask for one of them, such as %s", maxPolicies, policiesPath+"/"+id),
			}
		}
		all = append(all, text)
	}
	return policyAnswer{all}, nil
}

func (c *call) getModule() (any, error) {
	escaped := strings.TrimPrefix(c.URL.EscapedPath(), policiesPath+"/")
	id, err := url.PathUnescape(escaped)
	if err != nil {
		id = escaped
	}
	m, ok := c.policy.Module(id)
	if !ok {
		return nil, &fault{
			status: http.StatusNotFound, Code: codeNotFound,
			Message: fmt.Sprintf("storage_not_found_error: policy id %s", strconv.Quote(wire.Echo(id))),
		}
	}
	return policyAnswer{module{m.ID, m.Text, m.AST}}, nil
}

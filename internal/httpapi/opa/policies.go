package opaapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/westworld-charter/charter/internal/engine"
)

// policiesPath is where modules are listed; the rest of a path is an id.
const policiesPath = "/v1/policies"

const (
	// maxPolicies bounds the list of modules in bytes. Compiled Rego takes some
	// fifty times the room of its text as JSON.
	maxPolicies = 64 << 20
	// maxEcho bounds what is repeated of what a caller wrote, in bytes.
	maxEcho = 128
)

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
			Message: fmt.Sprintf("storage_not_found_error: policy id %s", strconv.Quote(cut(id))),
		}
	}
	return policyAnswer{module{m.ID, m.Text, m.AST}}, nil
}

// cut ends s after at most maxEcho bytes, between two characters.
func cut(s string) string {
	if len(s) <= maxEcho {
		return s
	}
	end := maxEcho
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}

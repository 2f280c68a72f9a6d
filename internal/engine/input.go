package engine

import (
	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/westworld-charter/charter/internal/decision"
)

// inputValue is the question in OPA's own form, as if it had been parsed from
// the JSON that the same Input encodes to: what is empty is absent.
func inputValue(in decision.Input) ast.Value {
	items := make([][2]*ast.Term, 0, 9)
	add := func(key, value string) {
		if value != "" {
			items = append(items, ast.Item(ast.InternedTerm(key), ast.StringTerm(value)))
		}
	}
	add("metric", in.Metric)
	add("node", in.Node)
	add("role", in.Role)
	add("operation", in.Operation)
	add("purpose", in.Purpose)
	add("retention", in.Retention)
	add("time", in.Time)
	if len(in.Labels) > 0 {
		labels := make([][2]*ast.Term, 0, len(in.Labels))
		for name, value := range in.Labels {
			labels = append(labels, ast.Item(ast.StringTerm(name), ast.StringTerm(value)))
		}
		items = append(items, ast.Item(ast.InternedTerm("labels"), ast.ObjectTerm(labels...)))
	}
	if len(in.Claims) > 0 {
		claims := make([]*ast.Term, len(in.Claims))
		for i, claim := range in.Claims {
			claims[i] = ast.StringTerm(claim)
		}
		items = append(items, ast.Item(ast.InternedTerm("claims"), ast.ArrayTerm(claims...)))
	}
	return ast.NewObject(items...)
}

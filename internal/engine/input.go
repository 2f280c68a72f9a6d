package engine

import (
	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/westworld-charter/charter/internal/decision"
)

// fields are the names of the fields of a question in OPA's own form, made once:
// evaluations share them.
type fields struct{ metric, node, role, operation, purpose, retention, time, labels, claims *ast.Term }

func newFields() *fields {
	return &fields{
		metric: ast.StringTerm("metric"), node: ast.StringTerm("node"), role: ast.StringTerm("role"),
		operation: ast.StringTerm("operation"), purpose: ast.StringTerm("purpose"), retention: ast.StringTerm("retention"),
		time: ast.StringTerm("time"), labels: ast.StringTerm("labels"), claims: ast.StringTerm("claims"),
	}
}

// value is the question in OPA's own form, as if it had been parsed from the JSON that
// the same Input encodes to: what is empty is absent.
func (f *fields) value(in decision.Input) ast.Value {
	var items [9][2]*ast.Term
	n := 0
	terms := make([]ast.Term, 7+len(in.Claims)+2*len(in.Labels)) // all in one piece
	term := func(text string) *ast.Term {
		t := &terms[0]
		terms = terms[1:]
		t.Value = ast.String(text)
		return t
	}
	add := func(key, value *ast.Term) {
		items[n] = ast.Item(key, value)
		n++
	}
	field := func(key *ast.Term, text string) {
		if text != "" {
			add(key, term(text))
		}
	}
	field(f.metric, in.Metric)
	field(f.node, in.Node)
	field(f.role, in.Role)
	field(f.operation, in.Operation)
	field(f.purpose, in.Purpose)
	field(f.retention, in.Retention)
	field(f.time, in.Time)
	if len(in.Labels) > 0 {
		labels := make([][2]*ast.Term, 0, len(in.Labels))
		for name, value := range in.Labels {
			labels = append(labels, ast.Item(term(name), term(value)))
		}
		add(f.labels, ast.ObjectTerm(labels...))
	}
	if len(in.Claims) > 0 {
		claims := make([]*ast.Term, len(in.Claims))
		for i, claim := range in.Claims {
			claims[i] = term(claim)
		}
		add(f.claims, ast.ArrayTerm(claims...))
	}
	return ast.NewObject(items[:n]...)
}

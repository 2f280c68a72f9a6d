package engine

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/westworld-charter/charter/internal/decision"
)

// Inspection is a query into the rules, tables and state of a policy, prepared
// once: what the rules find on their way to a decision. It is safe for concurrent
// use.
type Inspection struct{ query *Query }

// Inspect prepares a query of this program, which is trusted, over the very
// snapshot that decides. It consists of one expression. For queries of other
// people there is [Policy.Query].
func (p *Policy) Inspect(ctx context.Context, query string) (*Inspection, error) {
	next := *p.query
	next.source.Query = query
	prepared, err := next.WithData(ctx, next.source.Data)
	if err != nil {
		return nil, fmt.Errorf("inspect: %w", err)
	}
	return &Inspection{prepared}, nil
}

// Eval evaluates the query for a question and decodes its value, as JSON, into
// into. The error is [ErrUndefined] when there is no value.
func (i *Inspection) Eval(ctx context.Context, in decision.Input, into any) error {
	results, err := i.query.Eval(ctx, i.query.fields.value(in))
	if err != nil {
		return fmt.Errorf("inspect: %w", err)
	}
	if len(results) != 1 || len(results[0].Expressions) != 1 {
		return ErrUndefined
	}
	term, ok := results[0].Expressions[0].Value.(*ast.Term)
	if !ok {
		return ErrUndefined
	}
	value, err := ast.JSONWithOpt(term.Value, ast.JSONOpt{SortSets: true})
	if err != nil {
		return fmt.Errorf("inspect: %w", err)
	}
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("inspect: %w", err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("inspect: %w", err)
	}
	return nil
}

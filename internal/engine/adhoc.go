package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/metrics"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// Limits of an [AdHoc] query.
const (
	MaxQuery  = 16 << 10 // bytes of its text
	MaxAnswer = 8 << 20  // bytes of its results as JSON, about
	MaxEvents = 20_000   // of its trace
)

// AdHoc is a query of a person or a tool that looks into a policy. Its answers
// are not decisions: nothing is stamped, counted or cached.
type AdHoc struct {
	// Query is Rego: a document such as data.charter.decision, or any body.
	Query string
	Input ast.Value // nil is undefined
	// Explain says which events of the evaluation to keep: off (or ""), notes,
	// fails, full or debug. Pretty makes lines of text of them.
	Explain      string
	Pretty       bool
	Instrument   bool // adds what single operations took to the metrics
	StrictErrors bool // makes a failing builtin an error instead of undefined
}

// Findings are the results of an [AdHoc] query, none when it is undefined.
type Findings struct {
	Results     []Finding
	Explanation *Explanation   // nil unless asked for
	Metrics     map[string]any // under OPA's names, in nanoseconds
}

// Finding is one way in which a query holds.
type Finding struct {
	Value    any            // of its first expression, as JSON
	Bindings map[string]any // of its variables, as JSON
}

// Codes of a [QueryError]; the list is closed.
const (
	CodeBadSyntax  = "bad_syntax"    // the query is not Rego
	CodeBadQuery   = "bad_query"     // it does not compile under the capabilities
	CodeEvaluation = "evaluation"    // rules conflict, or a builtin failed with StrictErrors
	CodeTooLarge   = "too_large"     // the results or the trace are beyond the limits
	CodeTooHungry  = "too_hungry"    // the evaluation needs too much memory
	CodeTooLong    = "query_too_big" // the query has more than MaxQuery bytes
)

// QueryError says why an [AdHoc] query has no answer. Errors are OPA's own,
// which encode to the JSON of OPA's API.
type QueryError struct {
	Code   string
	Errors []error
	Err    error
}

func (e *QueryError) Error() string { return fmt.Sprintf("query: %v [%s]", e.Err, e.Code) }

// Unwrap returns the cause.
func (e *QueryError) Unwrap() error { return e.Err }

func queryError(code, format string, args ...any) *QueryError {
	return &QueryError{Code: code, Err: fmt.Errorf(format, args...)}
}

// Query answers a over the rules, tables and state of this snapshot. It reads
// under [Capabilities] and changes nothing. Errors are [*QueryError], or wrap
// the cause of the end of ctx, which the caller must bound.
//
// An evaluation that is refused for its memory was stopped when it was noticed:
// the caller bounds how many run at the same time.
func (p *Policy) Query(ctx context.Context, a AdHoc) (*Findings, error) {
	body, err := p.parse(a.Query)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	defer watchHeap(ctx, stop)()
	var trace *events
	m := metrics.New()
	results, err := p.evaluate(ctx, stop, body, a, m, &trace)
	if err != nil {
		return nil, queryFailure(ctx, err)
	}
	found := &Findings{Metrics: m.All()}
	if trace != nil {
		found.Explanation = &Explanation{events: trace.filtered(a.Explain), pretty: a.Pretty}
	}
	for _, r := range results {
		next := Finding{Bindings: r.Bindings.WithoutWildcards()}
		if len(r.Expressions) > 0 {
			next.Value = r.Expressions[0].Value
		}
		found.Results = append(found.Results, next)
	}
	return found, nil
}

// parse reads a query, and refuses one for a document that is too large anyway.
func (p *Policy) parse(query string) (ast.Body, error) {
	if len(query) > MaxQuery {
		return nil, queryError(CodeTooLong, "the query has more than %d bytes", MaxQuery)
	}
	body, err := ast.ParseBodyWithOpts(query, ast.ParserOptions{Capabilities: p.query.source.Capabilities, RegoVersion: ast.RegoV1})
	if err != nil {
		return nil, &QueryError{Code: CodeBadSyntax, Errors: single(err), Err: err}
	}
	if document, ok := p.stored(body); ok && weigh(document, MaxAnswer) < 0 {
		return nil, tooLarge()
	}
	return body, nil
}

// stored is the stored part of the document that a query consists of.
func (p *Policy) stored(body ast.Body) (any, bool) {
	if len(body) != 1 {
		return nil, false
	}
	term, ok := body[0].Terms.(*ast.Term)
	if !ok {
		return nil, false
	}
	ref, ok := term.Value.(ast.Ref)
	if !ok || !ref.HasPrefix(ast.DefaultRootRef) {
		return nil, false
	}
	var at any = p.query.source.Data
	for _, key := range ref[1:] {
		object, ok := at.(map[string]any)
		name, text := key.Value.(ast.String)
		if !ok || !text {
			return nil, false
		}
		if at, ok = object[string(name)]; !ok {
			return nil, false
		}
	}
	return at, true
}

func (p *Policy) evaluate(ctx context.Context, stop context.CancelCauseFunc, body ast.Body, a AdHoc, m metrics.Metrics, trace **events) (rego.ResultSet, error) {
	store, txn, err := open(ctx, p.query.source.Data)
	if err != nil {
		return nil, err
	}
	defer store.Abort(ctx, txn)
	options := []func(*rego.Rego){
		rego.ParsedQuery(body), rego.Compiler(p.query.compiler), rego.Store(store), rego.Transaction(txn),
		rego.Metrics(m), rego.Instrument(a.Instrument), rego.StrictBuiltinErrors(a.StrictErrors),
		rego.GenerateJSON(bounded()), rego.UnsafeBuiltins(hungry()), rego.StackTraces(true),
	}
	prepared, err := rego.New(options...).PrepareForEval(ctx)
	if err != nil {
		return nil, &QueryError{Code: CodeBadQuery, Errors: single(err), Err: err}
	}
	// OPA's own watch of the context would report every end alike.
	cancel := topdown.NewCancel()
	defer context.AfterFunc(ctx, cancel.Cancel)()
	evaluation := []rego.EvalOption{
		rego.EvalTransaction(txn), rego.EvalMetrics(m), rego.EvalInstrument(a.Instrument), rego.EvalExternalCancel(cancel),
	}
	if a.Input != nil {
		evaluation = append(evaluation, rego.EvalParsedInput(a.Input))
	}
	if a.Explain != "" && a.Explain != "off" {
		*trace = &events{stop: func() { stop(tooLarge()) }}
		evaluation = append(evaluation, rego.EvalQueryTracer(*trace))
	}
	return prepared.Eval(ctx, evaluation...)
}

// hungry are pure builtins that a caller of them can make take any amount of
// memory in a single step. The rules of a bundle are known, queries are not.
func hungry() map[string]struct{} {
	return map[string]struct{}{ast.BitsShiftLeft.Name: {}}
}

// bounded makes JSON of results until they are too large together.
func bounded() func(*ast.Term, *rego.EvalContext) (any, error) {
	left := int64(MaxAnswer)
	return func(t *ast.Term, _ *rego.EvalContext) (any, error) {
		v, err := ast.JSONWithOpt(t.Value, ast.JSONOpt{SortSets: true})
		if err != nil {
			return nil, err
		}
		if left = weigh(v, left); left < 0 {
			return nil, tooLarge()
		}
		return v, nil
	}
}

func tooLarge() *QueryError {
	return queryError(CodeTooLarge, "the answer is larger than %d bytes, or its explanation longer than %d events; ask for a part of it", MaxAnswer, MaxEvents)
}

// weigh returns what is left of budget after a JSON value, negative as soon as
// nothing is. It counts bytes about as an encoder would write them.
func weigh(v any, budget int64) int64 {
	switch v := v.(type) {
	case string:
		budget -= int64(len(v)) + 3
	case json.Number:
		budget -= int64(len(v)) + 1
	case []any:
		budget -= 2
		for _, e := range v {
			if budget = weigh(e, budget); budget < 0 {
				return budget
			}
		}
	case map[string]any:
		budget -= 2
		for k, e := range v {
			if budget = weigh(e, budget-int64(len(k))-4); budget < 0 {
				return budget
			}
		}
	default:
		budget -= 5
	}
	return budget
}

// queryFailure words the error of an evaluation.
func queryFailure(ctx context.Context, err error) error {
	if own, ok := errors.AsType[*QueryError](err); ok {
		return own
	}
	if cause := context.Cause(ctx); topdown.IsCancel(err) && cause != nil {
		if own, ok := errors.AsType[*QueryError](cause); ok {
			if own.Code == CodeTooHungry {
				runtime.GC() // else its garbage counts against the next query
			}
			return own
		}
		return fmt.Errorf("query: %w", cause)
	}
	return &QueryError{Code: CodeEvaluation, Errors: single(err), Err: err}
}

// single are the errors of OPA that an error consists of.
func single(err error) []error {
	if list, ok := errors.AsType[ast.Errors](err); ok {
		all := make([]error, len(list))
		for i, e := range list {
			all[i] = e
		}
		return all
	}
	if e, ok := errors.AsType[*ast.Error](err); ok {
		return []error{e}
	}
	if e, ok := errors.AsType[*topdown.Error](err); ok {
		return []error{e}
	}
	return nil
}

// Module is one module of a policy. AST encodes to the JSON of OPA's API and
// must not be modified.
type Module struct {
	ID   string // its path in the bundle
	Text string
	AST  *ast.Module
}

// Modules returns the ids of the modules, sorted.
func (p *Policy) Modules() []string {
	return slices.Sorted(maps.Keys(p.query.source.Modules))
}

// Module returns the module with an id, which may begin with a slash.
func (p *Policy) Module(id string) (Module, bool) {
	for _, known := range []string{id, "/" + id, strings.TrimPrefix(id, "/")} {
		if text, ok := p.query.source.Modules[known]; ok {
			return Module{ID: known, Text: string(text), AST: p.query.compiler.Modules[known]}, true
		}
	}
	return Module{}, false
}

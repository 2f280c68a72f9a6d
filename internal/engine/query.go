package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/metrics"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/open-policy-agent/opa/v1/topdown/cache"

	"github.com/westworld-charter/charter/internal/plan"
)

// patternCache bounds how many compiled regular expressions and globs a program
// keeps. OPA's own cache holds 100 for the whole process, which a charter with
// many unanchored globs would thrash.
const patternCache = 10_000

// Source is what a [Query] is made of.
type Source struct {
	Modules map[string][]byte // Rego v1, by the file name that errors cite
	// Data is the data document: JSON values with json.Number for numbers. It
	// belongs to the query from then on and must not be changed.
	Data         map[string]any
	Query        string
	Capabilities *ast.Capabilities // required
	// Strict makes the compiler refuse unused variables and imports, as
	// `opa check --strict` does.
	Strict bool
	// StrictErrors makes a failing builtin an error instead of undefined.
	// Decisions do not use it: stock OPA does not either.
	StrictErrors bool
}

// Query is a compiled query over one immutable data document. Evaluated by OPA's own
// topdown, it is the reference; its [Query.Plan] decides. It is exported so that tests
// can send other programs, such as OPA's conformance cases, down the very same paths. It
// is safe for concurrent use.
type Query struct {
	source   Source
	compiler *ast.Compiler
	prepared rego.PreparedEvalQuery
	options  []rego.EvalOption // of every evaluation of the program
	reading  []rego.EvalOption // of every evaluation over this data
	values   cache.InterQueryValueCache
	base     *plan.Base // this data
	fields   *fields
}

// NewQuery compiles the modules and prepares the query. Errors are [ast.Errors]
// where the modules or the query are at fault.
func NewQuery(ctx context.Context, src Source) (*Query, error) {
	modules, err := parseModules(src.Modules, src.Capabilities)
	if err != nil {
		return nil, err
	}
	store, txn, err := open(ctx, src.Data)
	if err != nil {
		return nil, err
	}
	compiler, err := compileModules(modules, func() *ast.Compiler {
		return ast.NewCompiler().
			WithCapabilities(src.Capabilities).
			WithStrict(src.Strict).
			WithPathConflictsCheck(storage.NonEmpty(ctx, store, txn))
	})
	if err != nil {
		return nil, err
	}
	entries := patternCache
	values := cache.NewInterQueryValueCache(ctx, &cache.Config{
		InterQueryBuiltinValueCache: cache.InterQueryBuiltinValueCacheConfig{MaxNumEntries: &entries},
	})
	q := &Query{source: src, compiler: compiler, values: values, fields: newFields(), options: []rego.EvalOption{
		rego.EvalMetrics(metrics.NoOp()),
		rego.EvalInterQueryBuiltinValueCache(values),
	}}
	return q.over(ctx, store, txn)
}

// WithData returns the same program over another data document. Nothing but
// the query itself is compiled again.
func (q *Query) WithData(ctx context.Context, data map[string]any) (*Query, error) {
	store, txn, err := open(ctx, data)
	if err != nil {
		return nil, err
	}
	next := *q
	next.source.Data = data
	return next.over(ctx, store, txn)
}

// WithoutIndexing returns the same query evaluated without OPA's rule index and
// without early exit: an oracle for tests of both. With the index off and early
// exit on, OPA 1.22.2 misses conflicts inside partial objects.
func (q *Query) WithoutIndexing() *Query {
	next := *q
	next.options = append(q.options[:len(q.options):len(q.options)], rego.EvalRuleIndexing(false), rego.EvalEarlyExit(false))
	return &next
}

// over finishes q, which nobody else holds, over a store.
//
// The read transaction is opened once and shared by all evaluations: a read
// transaction of this store keeps no state of its own, and it is never closed,
// because nobody ever writes to the store. Both are dropped together with q.
func (q *Query) over(ctx context.Context, store storage.Store, txn storage.Transaction) (*Query, error) {
	prepared, err := rego.New(
		rego.Query(q.source.Query),
		rego.Compiler(q.compiler),
		rego.Store(store),
		rego.Transaction(txn),
		rego.StrictBuiltinErrors(q.source.StrictErrors),
		rego.GenerateJSON(keepTerm),
	).PrepareForEval(ctx)
	if err != nil {
		return nil, fmt.Errorf("prepare %s: %w", q.source.Query, err)
	}
	q.prepared = prepared
	q.base = plan.NewBase(q.source.Data)
	q.reading = []rego.EvalOption{rego.EvalTransaction(txn), rego.EvalBaseCache(q.base)}
	return q, nil
}

// keepTerm leaves results in OPA's own form, which saves a copy of the answer.
func keepTerm(t *ast.Term, _ *rego.EvalContext) (any, error) { return t, nil }

// Eval evaluates the query; values in the result are of type *ast.Term. A nil
// input is an undefined one. When ctx ends first, the error wraps its cause.
func (q *Query) Eval(ctx context.Context, input ast.Value) (rego.ResultSet, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	// Left to itself OPA starts a goroutine per evaluation to watch the context.
	// A cancel is sticky, therefore each evaluation has its own.
	cancel := topdown.NewCancel()
	if ctx.Done() != nil {
		defer context.AfterFunc(ctx, cancel.Cancel)()
	}
	results, err := q.prepared.Eval(ctx, func(e *rego.EvalContext) {
		for _, option := range q.options {
			option(e)
		}
		for _, option := range q.reading {
			option(e)
		}
		rego.EvalExternalCancel(cancel)(e)
		if input != nil {
			rego.EvalParsedInput(input)(e)
		}
	})
	if topdown.IsCancel(err) && context.Cause(ctx) != nil {
		return nil, fmt.Errorf("evaluate %s: %w", q.source.Query, context.Cause(ctx))
	}
	return results, err
}

// defines reports whether a rule has exactly this name.
func (q *Query) defines(ref string) bool {
	parsed, err := ast.ParseRef(ref)
	return err == nil && len(q.compiler.GetRulesExact(parsed)) > 0
}

func open(ctx context.Context, data map[string]any) (storage.Store, storage.Transaction, error) {
	if data == nil {
		data = map[string]any{}
	}
	// The raw form: objects stay as they are and are converted only where an
	// evaluation looks. A JSON round trip would copy everything for nothing.
	store := inmem.NewFromObjectWithOpts(data, inmem.OptRoundTripOnWrite(false))
	txn, err := store.NewTransaction(ctx)
	return store, txn, err
}

func parseModules(sources map[string][]byte, caps *ast.Capabilities) (map[string]*ast.Module, error) {
	modules := make(map[string]*ast.Module, len(sources))
	var found ast.Errors
	for name, text := range sources {
		module, err := ast.ParseModuleWithOpts(name, string(text), ast.ParserOptions{
			Capabilities: caps, RegoVersion: ast.RegoV1, ProcessAnnotation: true,
		})
		if err == nil {
			modules[name] = module
			continue
		}
		if one, ok := errors.AsType[*ast.Error](err); ok {
			found = append(found, one)
		} else if list, ok := errors.AsType[ast.Errors](err); ok {
			found = append(found, list...)
		} else {
			return nil, fmt.Errorf("parse %s: %w", name, err)
		}
	}
	if len(found) > 0 {
		found.Sort()
		return nil, found
	}
	return modules, nil
}

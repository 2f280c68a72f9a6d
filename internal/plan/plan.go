// Package plan evaluates query plans: the intermediate representation (IR) into
// which OPA's planner turns a query and the rules that it needs. The same rules and
// data give the same answers as OPA's topdown evaluator, some ten to twenty times as
// fast, because a plan knows beforehand what topdown finds out in every evaluation.
//
// What is guaranteed: an evaluation either returns what topdown would or an error,
// and then topdown has to be asked: errors of rules, such as conflicts, are not worded
// here. Plans are deterministic; nothing is read but the input and the base
// documents. Builtins are those of OPA, called as topdown calls them.
//
// The statements are those of package ir of OPA, version 1.22, whose meaning is
// described at https://www.openpolicyagent.org/docs/ir. See docs/design/plan.md.
package plan

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/ir"
	"github.com/open-policy-agent/opa/v1/topdown/cache"
)

// ErrConflict says that rules do not agree: a rule or a key has two values.
var ErrConflict = errors.New("rules conflict")

// Program is a linked plan with one query. It is immutable and safe for concurrent
// use.
type Program struct {
	main      []code
	locals    int // of main
	functions int // how many there are, for memos
	dynamic   map[string]*function
	paths     [][]string  // into the base documents, that statements refer to
	fields    []*ast.Term // keys of the input that statements refer to
}

// Link resolves what the statements of a plan refer to. The plan must have exactly
// one query. Errors name what this package does not know; no plan of OPA 1.22 should
// have any.
func Link(policy *ir.Policy) (*Program, error) {
	if policy == nil || policy.Plans == nil || len(policy.Plans.Plans) != 1 {
		return nil, errors.New("link plan: want one query")
	}
	l := newLinker(policy)
	program, err := l.link(policy.Plans.Plans[0])
	if err != nil {
		return nil, fmt.Errorf("link plan: %w", err)
	}
	return program, nil
}

// Over binds the program to base documents. Regular expressions and globs that
// builtins compile are kept in values, which may be nil.
func (p *Program) Over(base *Base, values cache.InterQueryValueCache) *Query {
	q := &Query{program: p, data: base.term(base.data), values: values, resolved: make([]*ast.Term, len(p.paths))}
	for i, path := range p.paths {
		q.resolved[i] = base.lookup(path)
	}
	q.machines.New = func() any { return newMachine(q) }
	return q
}

// Query is a program over base documents. It is safe for concurrent use.
type Query struct {
	program  *Program
	data     *ast.Term // the base documents
	values   cache.InterQueryValueCache
	resolved []*ast.Term // by the index of program.paths; nil is undefined
	machines sync.Pool   // of *machine
}

// Eval evaluates the query. Each result is an object with the values of the query's
// variables; no result means that it is undefined. A nil input is an undefined one.
// Results are shared with base documents and must not be modified.
//
// Errors are [ErrConflict], that of a builtin that gave up, or the cause of the end of
// ctx. Builtins that fail are undefined, as in OPA unless it is told otherwise.
func (q *Query) Eval(ctx context.Context, input ast.Value) ([]ast.Object, error) {
	m := q.machines.Get().(*machine)
	results, err := m.eval(ctx, input)
	m.reset()
	q.machines.Put(m) // not when a builtin panics
	return results, err
}

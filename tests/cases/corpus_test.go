// Package cases_test decides the corpus, which is every case table of this directory and
// of the shipped charters: by the engine, by the engine without its rule index, and by
// stock OPA. The corpus is what the rules of a charter mean; whoever changes a meaning
// changes a case.
package cases_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/compile"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/engine"
	"github.com/westworld-charter/charter/internal/policytest"
)

// table is one case table with the bundle of its charter, loaded.
type table struct {
	*policytest.Table
	bundle *bundle.Bundle
	policy *engine.Policy
}

// corpus loads the tables of this directory once for all tests of the package.
var corpus = sync.OnceValues(func() ([]*table, error) { return loadTables("*.yaml") })

// shipped loads the tables that stand beside the shipped charters.
var shipped = sync.OnceValues(func() ([]*table, error) { return loadTables("../../policies/*/*_cases.yaml") })

func corpusTables(t *testing.T) []*table { return mustLoad(t, corpus) }

func allTables(t *testing.T) []*table {
	return slices.Concat(mustLoad(t, corpus), mustLoad(t, shipped))
}

func mustLoad(t *testing.T, load func() ([]*table, error)) []*table {
	t.Helper()
	tables, err := load()
	if err != nil {
		t.Fatal(err)
	}
	return tables
}

func loadTables(pattern string) ([]*table, error) {
	paths, err := filepath.Glob(pattern)
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("no case table matches %s", pattern)
	}
	tables := make([]*table, len(paths))
	for i, path := range paths {
		if tables[i], err = loadTable(path); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return tables, nil
}

func loadTable(path string) (*table, error) {
	cases, err := policytest.LoadCases(path)
	if refused := (*policytest.TableError)(nil); errors.As(err, &refused) {
		return nil, fmt.Errorf("%w: %v", err, refused.Findings)
	}
	if err != nil {
		return nil, err
	}
	built, err := buildBundle(cases.Charter)
	if err != nil {
		return nil, err
	}
	policy, err := engine.Prepare(context.Background(), built, nil)
	if err != nil {
		return nil, err
	}
	return &table{Table: cases, bundle: built, policy: policy}, nil
}

// buildBundle compiles the charter at path, which must be free of errors.
func buildBundle(path string) (*bundle.Bundle, error) {
	c, findings := charter.Load(path)
	if c != nil {
		findings = append(findings, compile.Check(c)...)
	}
	if c == nil || findings.HasErrors() {
		return nil, fmt.Errorf("charter %s: %v", path, findings)
	}
	return compile.Build(c)
}

// withState returns a policy with the state of a case.
func withState(t *testing.T, p *engine.Policy, state map[string]any) *engine.Policy {
	t.Helper()
	with, err := p.WithState(t.Context(), state)
	if err != nil {
		t.Fatalf("state %v: %v", state, err)
	}
	return with
}

// eval returns the raw decision document for any input; nil is an undefined one.
func eval(t *testing.T, p *engine.Policy, input any) any {
	t.Helper()
	return evalValue(t, p, inputValue(t, input))
}

func evalValue(t *testing.T, p *engine.Policy, input ast.Value) any {
	t.Helper()
	value, err := p.Eval(t.Context(), input)
	if err != nil {
		t.Fatalf("input %v: %v", input, err)
	}
	return plain(t, value)
}

// plain turns a value of OPA into one of encoding/json.
func plain(t *testing.T, value ast.Value) any {
	t.Helper()
	document, err := ast.JSON(value)
	if err != nil {
		t.Fatal(err)
	}
	return document
}

func inputValue(t *testing.T, input any) ast.Value {
	t.Helper()
	value, err := ast.InterfaceToValue(input)
	if err != nil {
		t.Fatalf("input %v: %v", input, err)
	}
	return value
}

// answer reads a decision document strictly: a field that the contract does not have
// fails the test.
func answer(t *testing.T, document any) decision.Decision {
	t.Helper()
	var d decision.Decision
	dec := json.NewDecoder(bytes.NewReader(toJSON(t, document)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil {
		t.Fatalf("document %v: %v", document, err)
	}
	return d
}

func toJSON(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

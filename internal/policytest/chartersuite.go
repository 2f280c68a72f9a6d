package policytest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/compile"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/diag"
	"github.com/westworld-charter/charter/internal/engine"
)

// charterSuite compiles a charter, runs its Rego tests on the compiled modules
// and decides its cases.
func (r *runner) charterSuite(ctx context.Context, p *plan) (*Suite, error) {
	s := &Suite{Name: p.name, Charter: p.charter, Results: []Result{}, Findings: p.found}
	c, found := charter.Load(p.charter)
	if c != nil {
		found = append(found, compile.Check(c)...)
	}
	// Warnings do not keep tests from running; validate is the place for them.
	for _, d := range found {
		if d.Severity == diag.Error {
			s.Findings = append(s.Findings, d)
		}
	}
	s.Findings.Sort()
	if c == nil || found.HasErrors() {
		return s, ctx.Err()
	}
	s.Revision = c.Revision()
	if base := c.Base(); base != nil {
		r.extended[base.Pos().File] = true
	}
	b, err := compile.Build(c)
	if err != nil {
		return nil, fmt.Errorf("compile %s: %w", p.charter, err)
	}
	if err := r.charterRego(ctx, p, b, s); err != nil {
		return nil, err
	}
	seen, err := r.cases(ctx, p, b, s)
	if err != nil {
		return nil, err
	}
	if r.opts.Coverage {
		s.Coverage = clauseCoverage(c, seen)
	}
	return s, nil
}

// charterRego runs the Rego tests beside a charter together with the modules
// and the data of its bundle.
func (r *runner) charterRego(ctx context.Context, p *plan, b *bundle.Bundle, s *Suite) error {
	if len(p.rego) == 0 {
		return nil
	}
	set := regoSet{modules: map[string]*ast.Module{}, capabilities: testCapabilities()}
	for _, path := range b.Modules() {
		text, _ := b.File(path)
		// Not a path on disk: the module exists in the compiled charter only.
		if err := set.parse("bundle:"+path, text); err != nil {
			return fmt.Errorf("compiled module %s: %w", path, err)
		}
	}
	for _, path := range p.rego {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := set.parse(filepath.ToSlash(path), text); err != nil {
			s.regoErrors(err)
		}
	}
	if s.Findings.HasErrors() {
		return nil
	}
	text, _ := b.File(bundle.DataFile)
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber() // times in nanoseconds are beyond what a float64 holds exactly
	if err := dec.Decode(&set.data); err != nil {
		return fmt.Errorf("compiled data: %w", err)
	}
	return r.runRego(ctx, set, s)
}

func (set regoSet) parse(name string, text []byte) error {
	m, err := ast.ParseModuleWithOpts(name, string(text), ast.ParserOptions{ProcessAnnotation: true})
	if err == nil {
		set.modules[name] = m
	}
	return err
}

// testCapabilities are those of the engine and what the test runner itself
// calls: a test that needs the clock or the network is not a test of a charter.
func testCapabilities() *ast.Capabilities {
	caps := engine.Capabilities()
	for _, b := range []*ast.Builtin{ast.InternalTestCase, ast.InternalPrint, ast.Print, ast.Trace} {
		if !slices.ContainsFunc(caps.Builtins, func(have *ast.Builtin) bool { return have.Name == b.Name }) {
			caps.Builtins = append(caps.Builtins, b)
		}
	}
	return caps
}

// cases decides the selected cases of all tables and returns the ids of the
// clauses that decisions named.
func (r *runner) cases(ctx context.Context, p *plan, b *bundle.Bundle, s *Suite) (map[string]bool, error) {
	seen := map[string]bool{}
	var base *engine.Policy
	states := map[string]*engine.Policy{}
	for _, t := range p.tables {
		group := strings.TrimSuffix(filepath.ToSlash(t.Path), ".yaml")
		for _, c := range t.Cases {
			s.Tests++
			name := group + "/" + c.Name
			if !r.selected(name) {
				continue
			}
			if base == nil {
				var err error
				if base, err = engine.Prepare(ctx, b, nil); err != nil {
					return nil, err
				}
			}
			policy, err := withState(ctx, base, c.State, states)
			if err != nil {
				return nil, fmt.Errorf("%s: state: %w", c.Pos, err)
			}
			res := decide(ctx, policy, c, seen)
			res.Name, res.group = name, group
			s.Results = append(s.Results, res)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
		}
	}
	return seen, nil
}

// withState makes each distinct state once.
func withState(ctx context.Context, base *engine.Policy, state map[string]any, made map[string]*engine.Policy) (*engine.Policy, error) {
	if state == nil {
		return base, nil
	}
	key, err := json.Marshal(state)
	if err != nil {
		return nil, err
	}
	if p := made[string(key)]; p != nil {
		return p, nil
	}
	p, err := base.WithState(ctx, state)
	if err == nil {
		made[string(key)] = p
	}
	return p, err
}

// decide evaluates one case in Rego on the raw input: deliberate mistakes must
// reach the rules, and what Go would add to an answer is not theirs.
func decide(ctx context.Context, policy *engine.Policy, c TestCase, seen map[string]bool) Result {
	res := Result{Pos: c.Pos, Outcome: Pass}
	start := time.Now()
	d, err := evaluate(ctx, policy, c.Input)
	res.Duration = since(start)
	if err != nil {
		res.Outcome, res.Message = Error, err.Error()
		return res
	}
	note(d, seen)
	if diffs := c.Expect.Compare(d); len(diffs) > 0 {
		res.Outcome = Fail
		res.Differences = diffs
		res.Got = &d
		fields := make([]string, len(diffs))
		for i, diff := range diffs {
			fields[i] = diff.Field
		}
		res.Message = "unexpected " + strings.Join(fields, ", ")
	}
	return res
}

func evaluate(ctx context.Context, policy *engine.Policy, input map[string]any) (decision.Decision, error) {
	var d decision.Decision
	value, err := ast.InterfaceToValue(input)
	if err != nil {
		return d, err
	}
	answer, err := policy.Eval(ctx, value)
	if err != nil {
		return d, err
	}
	plain, err := ast.JSON(answer)
	if err != nil {
		return d, err
	}
	text, err := json.Marshal(plain)
	if err != nil {
		return d, err
	}
	return d, json.Unmarshal(text, &d)
}

// note records every clause that a decision names.
func note(d decision.Decision, seen map[string]bool) {
	seen[d.Clause] = true
	for _, reason := range d.Reasons {
		seen[reason.Clause] = true
	}
	if d.WouldDeny != nil {
		note(*d.WouldDeny, seen)
	}
}

// clauseCoverage counts the whitelist clauses and the forbidden entries.
func clauseCoverage(c *charter.Charter, seen map[string]bool) *Coverage {
	cov := &Coverage{Unit: "clauses"}
	count := func(id string, pos diag.Pos) {
		cov.Total++
		if seen[id] {
			cov.Covered++
			return
		}
		cov.Clauses = append(cov.Clauses, UncoveredClause{ID: id, Pos: pos})
	}
	for _, clause := range c.AllClauses() {
		count(clause.ID, clause.Pos())
	}
	for i := range c.Forbidden {
		count(c.Forbidden[i].ID, c.Forbidden[i].Pos())
	}
	cov.Percent = percent(cov.Covered, cov.Total)
	return cov
}

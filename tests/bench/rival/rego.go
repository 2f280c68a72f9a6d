package rival

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage/inmem"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/tests/bench/workload"
)

//go:embed naive.rego
var naiveModule string

// NaiveModule is the text of the naive policy, package naive.
func NaiveModule() string { return naiveModule }

// NaiveData is the data document of the naive policy.
func NaiveData(s *workload.Spec) map[string]any {
	rows := func(clauses []workload.Clause, key string, rank func(pattern string) int) []any {
		var all []any
		for _, c := range clauses {
			for _, pattern := range c.Match {
				all = append(all, map[string]any{
					key: pattern, "rank": json.Number(strconv.Itoa(rank(pattern))), "clause": c.ID,
					"category": c.Category, "access": c.Access, "purposes": texts(workload.Purposes()[:2]),
				})
			}
		}
		return all
	}
	exact := func(string) int { return 1_000_000 } // wins over any glob
	length := func(glob string) int { return len(glob) }
	return map[string]any{"naive": map[string]any{
		"metrics": rows(s.Exact, "name", exact), "globs": rows(s.Globs, "glob", length),
		"nodes": texts(s.Nodes), "quarantined": texts(s.Quarantined),
		"roles": []any{
			map[string]any{"name": workload.Operator, "reads": []any{"public"}, "collects": texts(workload.Categories()), "requires": texts(workload.Claims())},
			map[string]any{"name": workload.Auditor, "reads": texts(workload.Levels()), "collects": []any{}, "requires": []any{}},
		},
		"expires": workload.Expires,
	}}
}

func texts(from []string) []any {
	all := make([]any, len(from))
	for i, s := range from {
		all[i] = s
	}
	return all
}

// Naive is stock OPA in process, with default options, and the naive policy.
func Naive(ctx context.Context, s *workload.Spec) (Decider, error) {
	query, err := rego.New(
		rego.Query("data.naive.allow"),
		rego.Module("naive.rego", naiveModule),
		rego.Store(inmem.NewFromObject(NaiveData(s))),
	).PrepareForEval(ctx)
	if err != nil {
		return nil, fmt.Errorf("prepare naive policy: %w", err)
	}
	return func(ctx context.Context, in decision.Input) (bool, error) {
		results, err := query.Eval(ctx, rego.EvalInput(Document(in)))
		if err != nil {
			return false, err
		}
		return results.Allowed(), nil
	}, nil
}

// Raw is stock OPA in process, with default options, and our bundle.
func Raw(ctx context.Context, b *bundle.Bundle) (Decider, error) {
	options := []func(*rego.Rego){rego.Query("data.charter.decision")}
	for _, path := range b.Modules() {
		text, _ := b.File(path)
		options = append(options, rego.Module(path, string(text)))
	}
	text, _ := b.File(bundle.DataFile)
	var data map[string]any
	if err := json.Unmarshal(text, &data); err != nil {
		return nil, fmt.Errorf("decode %s: %w", bundle.DataFile, err)
	}
	query, err := rego.New(append(options, rego.Store(inmem.NewFromObject(data)))...).PrepareForEval(ctx)
	if err != nil {
		return nil, fmt.Errorf("prepare our bundle: %w", err)
	}
	return func(ctx context.Context, in decision.Input) (bool, error) {
		results, err := query.Eval(ctx, rego.EvalInput(Document(in)))
		if err != nil {
			return false, err
		}
		if len(results) == 1 {
			if d, ok := results[0].Expressions[0].Value.(map[string]any); ok {
				allow, ok := d["allow"].(bool)
				return allow && ok, nil
			}
		}
		return false, errors.New("no decision")
	}, nil
}

// Document is the question as the input document of OPA.
func Document(in decision.Input) map[string]any {
	d := map[string]any{
		"metric": in.Metric, "node": in.Node, "role": in.Role, "operation": in.Operation,
		"claims": texts(in.Claims), "time": in.Time,
	}
	if in.Purpose != "" {
		d["purpose"] = in.Purpose
	}
	return d
}

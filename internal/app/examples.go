package app

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/engine"
)

// example is a question worth trying, with what its answer shows.
type example struct {
	title    string
	question decision.Input
}

// maxTries bounds the decisions that the search for one example may cost.
const maxTries = 200

// explorer looks for questions with telling answers in the active charter. Every
// example was really asked, so what the titles promise is true.
type explorer struct {
	engine *engine.Engine
	now    time.Time
}

// examples returns up to three questions: one that is allowed, one that is
// forbidden, one with a misspelt metric. A charter without such is no error.
func (x explorer) examples(ctx context.Context) []example {
	p := x.engine.Current()
	if p == nil {
		return nil
	}
	c := p.Charter()
	allowed, ok := x.allowed(ctx, c)
	if !ok {
		return nil
	}
	found := []example{{"allowed, with what the caller must do", allowed}}
	if q, ok := x.forbidden(ctx, c, allowed); ok {
		found = append(found, example{"forbidden, whoever asks", q})
	}
	if q, ok := x.misspelt(ctx, allowed); ok {
		found = append(found, example{"unknown, with the metric that was meant", q})
	}
	return found
}

// search asks the candidates in turn and returns the first that is accepted.
func (x explorer) search(ctx context.Context, candidates func(yield func(decision.Input) bool), accept func(decision.Decision) bool) (decision.Input, bool) {
	tries := 0
	for q := range candidates {
		if tries++; tries > maxTries {
			break
		}
		asked := q
		asked.Time = x.now.UTC().Format(time.RFC3339Nano)
		if d, err := x.engine.Decide(ctx, asked); err == nil && accept(d) {
			return q, true
		}
	}
	return decision.Input{}, false
}

// allowed prefers collecting, which most callers ask for, over reading.
func (x explorer) allowed(ctx context.Context, c *charter.Charter) (decision.Input, bool) {
	accept := func(d decision.Decision) bool { return d.Outcome == decision.Allowed }
	for _, operation := range []string{decision.Collect, decision.Read} {
		if q, ok := x.search(ctx, whitelisted(c, operation), accept); ok {
			return q, true
		}
	}
	return decision.Input{}, false
}

// whitelisted yields questions about the exact names of all clauses, by every
// role that could collect something.
func whitelisted(c *charter.Charter, operation string) func(yield func(decision.Input) bool) {
	return func(yield func(decision.Input) bool) {
		for _, clause := range c.AllClauses() {
			for _, metric := range exact(clause.Match) {
				for _, role := range c.Roles {
					if operation == decision.Collect && len(role.Collects) == 0 {
						continue
					}
					q := decision.Input{Metric: metric, Node: sampleNode(c, clause.Nodes), Role: role.Name, Operation: operation, Claims: role.Requires}
					if len(clause.Purposes) > 0 && operation != decision.Collect {
						q.Purpose = clause.Purposes[0]
					}
					if !yield(q) {
						return
					}
				}
			}
		}
	}
}

func (x explorer) forbidden(ctx context.Context, c *charter.Charter, like decision.Input) (decision.Input, bool) {
	gravest := slices.Clone(c.Forbidden)
	severities := []string{"critical", "high", "medium", "low"}
	slices.SortStableFunc(gravest, func(a, b charter.Forbidden) int {
		return cmp.Compare(slices.Index(severities, a.Severity), slices.Index(severities, b.Severity))
	})
	return x.search(ctx, func(yield func(decision.Input) bool) {
		for _, f := range gravest {
			for _, pattern := range f.Match {
				q := like
				q.Metric = sample(pattern)
				if !yield(q) {
					return
				}
			}
		}
	}, func(d decision.Decision) bool { return d.Outcome == decision.Forbidden })
}

func (x explorer) misspelt(ctx context.Context, like decision.Input) (decision.Input, bool) {
	return x.search(ctx, func(yield func(decision.Input) bool) {
		for i := len(like.Metric) - 1; i > 0; i-- {
			q := like
			q.Metric = like.Metric[:i] + like.Metric[i+1:]
			if !yield(q) {
				return
			}
		}
	}, func(d decision.Decision) bool {
		return d.Outcome == decision.UnknownMetric && strings.Contains(d.Suggestion, like.Metric)
	})
}

func exact(patterns []string) []string {
	var names []string
	for _, p := range patterns {
		if !strings.Contains(p, "*") {
			names = append(names, p)
		}
	}
	return names
}

// sample is a name that the pattern matches and that looks like a metric's.
func sample(pattern string) string {
	if rest, ok := strings.CutPrefix(pattern, "*"); ok {
		if strings.HasPrefix(rest, "_") || strings.HasPrefix(rest, ".") {
			pattern = "device" + rest
		} else {
			pattern = "device_" + rest
		}
	}
	return strings.ReplaceAll(strings.TrimSuffix(pattern, "*"), "*", "x")
}

// sampleNode is a node that the selector covers.
func sampleNode(c *charter.Charter, selector []string) string {
	for _, s := range selector {
		name, isGroup := strings.CutPrefix(s, "group:")
		if !isGroup {
			return strings.ReplaceAll(s, "*", "1")
		}
		for _, g := range c.Nodes.Groups {
			if g.Name == name && len(g.Match) > 0 {
				return strings.ReplaceAll(g.Match[0], "*", "1")
			}
		}
	}
	return "edge-1"
}

// writeExamples prints a shell script: comments, and one curl line for each.
func writeExamples(w io.Writer, url string, examples []example) error {
	for _, e := range examples {
		body, err := marshal(e.question)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "# %s\ncurl -sS %s -d %s\n", e.title, quote(url+"/v1/check?pretty"), quote(body)); err != nil {
			return err
		}
	}
	return nil
}

func marshal(q decision.Input) (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(q); err != nil {
		return "", fmt.Errorf("encode example: %w", err)
	}
	return strings.TrimSpace(b.String()), nil
}

// quote makes s one word for a POSIX shell.
func quote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

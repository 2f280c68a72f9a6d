package activation

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/engine"
)

// maxQuestions bounds how many entries of a charter a self-test asks about.
const maxQuestions = 64

// selfTest asks a policy about what its charter says: whatever the charter forbids by
// name must be denied for that reason, and about clauses and unknown names there must
// be a determined answer. No module may be missing that another one imports.
func selfTest(ctx context.Context, p *engine.Policy, now time.Time) error {
	if err := complete(p); err != nil {
		return err
	}
	c := p.Charter()
	question := decision.Input{
		Metric: "charter_self_test", Node: "charter-self-test", Role: "charter-self-test", Operation: decision.Collect, Time: now.UTC().Format(time.RFC3339),
	}
	if len(c.Roles) > 0 {
		question.Role = c.Roles[0].Name
	}
	if _, err := p.Decide(ctx, question); err != nil {
		return err
	}
	asked := 0
	for _, entry := range c.Forbidden {
		for _, pattern := range entry.Match[:min(len(entry.Match), maxQuestions-asked)] {
			asked++
			question.Metric = example(pattern)
			d, err := p.Decide(ctx, question)
			if err != nil {
				return err
			}
			if !forbids(d) {
				return fmt.Errorf("%s is forbidden by %s, and the policy answers %s by %s", question.Metric, entry.ID, d.Outcome, d.Clause)
			}
		}
	}
	asked = 0
	for _, category := range c.Metrics {
		for _, clause := range category.Clauses[:min(len(category.Clauses), maxQuestions-asked)] {
			asked++
			question.Metric = example(clause.Match[0])
			if _, err := p.Decide(ctx, question); err != nil {
				return fmt.Errorf("clause %s: %w", clause.ID, err)
			}
		}
	}
	return nil
}

// complete fails when a module imports a package that the bundle does not have: to
// Rego that is only something undefined.
func complete(p *engine.Policy) error {
	packages := map[string]bool{}
	for _, id := range p.Modules() {
		m, _ := p.Module(id)
		packages[m.AST.Package.Path.String()] = true
	}
	for _, id := range p.Modules() {
		m, _ := p.Module(id) // whose AST has lost its imports
		for line := range strings.Lines(m.Text) {
			path, ok := strings.CutPrefix(line, "import ")
			path, _, _ = strings.Cut(strings.TrimSpace(path), " ")
			if ok && strings.HasPrefix(path, "data.") && !packages[path] {
				return fmt.Errorf("%s imports %s, which is not in the bundle", id, path)
			}
		}
	}
	return nil
}

// example returns a name that a pattern matches.
func example(pattern string) string {
	if name := strings.ReplaceAll(pattern, "*", ""); name != "" {
		return name
	}
	return "x"
}

// forbids reports whether an answer denies, or would deny, because the name is
// forbidden.
func forbids(d decision.Decision) bool {
	if d.WouldDeny != nil {
		d = *d.WouldDeny
	}
	return !d.Allow && slices.ContainsFunc(d.Reasons, func(r decision.Reason) bool { return r.Code == decision.CodeForbiddenMetric })
}

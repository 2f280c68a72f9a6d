package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/engine"
	"github.com/westworld-charter/charter/internal/exposition"
)

// judged is one series and its decision, as the json form shows it.
type judged struct {
	Metric string            `json:"metric"`
	Labels map[string]string `json:"labels"`
	decided
}

// decided is the part of a decision that belongs to a series; what belongs to
// the run, such as the revision, stands beside the results.
type decided struct {
	Allow       bool                 `json:"allow"`
	Outcome     string               `json:"outcome"`
	Clause      string               `json:"clause"`
	Source      string               `json:"source,omitempty"`
	Severity    string               `json:"severity"`
	Reasons     []decision.Reason    `json:"reasons"`
	Obligations decision.Obligations `json:"obligations"`
	Mode        string               `json:"mode"`
	Enforced    *bool                `json:"enforced,omitempty"`
	WouldDeny   *decision.Decision   `json:"would_deny,omitempty"`
}

func decidedOf(d decision.Decision) decided {
	return decided{d.Allow, d.Outcome, d.Clause, d.Source, d.Severity, d.Reasons, d.Obligations, d.Mode, d.Enforced, d.WouldDeny}
}

// summary counts series. It holds no list.
type summary struct {
	Series   int              `json:"series"`
	Allowed  int              `json:"allowed"`
	Denied   int              `json:"denied"`
	Clauses  map[string]split `json:"clauses"`
	Outcomes map[string]int   `json:"outcomes"`
}

type split struct {
	Allowed int `json:"allowed"`
	Denied  int `json:"denied"`
}

func (p *program) checkExposition(ctx context.Context, path string, flags checkFlags) error {
	if len(flags.labels) > 0 {
		return usagef("check: --label goes with --metric; an exposition brings its own labels")
	}
	series, err := p.readExposition(ctx, flags.exposition)
	if err != nil {
		return err
	}
	policy, err := p.loadPolicy(ctx, path, flags.state)
	if err != nil {
		return err
	}
	in, err := p.input(policy.Charter(), flags)
	if err != nil {
		return err
	}
	rest := in
	rest.Metric = "any" // a series that cannot be asked about is a result, not a mistake
	if err := rest.Validate(); err != nil {
		return badQuestion(err)
	}
	results, err := judge(ctx, policy, in, series)
	if err != nil {
		return err
	}
	if flags.format.is(formatJSON) {
		return p.printResults(policy.Revision(), results)
	}
	return p.printTables(policy.Revision(), in, results, flags.all)
}

func (p *program) readExposition(ctx context.Context, ref string) ([]exposition.Series, error) {
	var series []exposition.Series
	var err error
	if ref == "-" {
		series, err = exposition.Parse(p.stdin, exposition.Limits{})
	} else {
		series, err = exposition.Open(ctx, ref, exposition.Options{})
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, usagef("check: %w", err)
	case len(series) == 0:
		return nil, usagef("check: the exposition %s holds no series", ref)
	default:
		return series, nil
	}
}

// judge decides every series. Decisions read the names of labels and never
// their values, so series that share the metric and the names of labels with a
// value share the decision.
func judge(ctx context.Context, policy *engine.Policy, in decision.Input, series []exposition.Series) ([]judged, error) {
	number := map[string]int{} // of a question in asked
	var asked []exposition.Series
	of := make([]int, len(series))
	for i, s := range series {
		key := question(s)
		n, ok := number[key]
		if !ok {
			n = len(asked)
			number[key] = n
			asked = append(asked, s)
		}
		of[i] = n
	}
	answers, err := decideAll(ctx, policy, in, asked)
	if err != nil {
		return nil, err
	}
	results := make([]judged, len(series))
	for i, s := range series {
		if s.Labels == nil {
			s.Labels = map[string]string{}
		}
		results[i] = judged{Metric: s.Metric, Labels: s.Labels, decided: answers[of[i]]}
	}
	return results, nil
}

// decideAll decides one question per series on all processors.
func decideAll(ctx context.Context, policy *engine.Policy, in decision.Input, asked []exposition.Series) ([]decided, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	answers := make([]decided, len(asked))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(asked) || ctx.Err() != nil {
					return
				}
				one := in
				one.Metric, one.Labels = asked[i].Metric, asked[i].Labels
				d, err := policy.Decide(ctx, one)
				if err != nil {
					cancel(fmt.Errorf("decide %s (line %d): %w", one.Metric, asked[i].Line, err))
				}
				answers[i] = decidedOf(policy.Locate(d))
			}
		})
	}
	wg.Wait()
	return answers, context.Cause(ctx)
}

// question is what a decision can tell series apart by. Lengths keep parts from
// running into one another.
func question(s exposition.Series) string {
	names := make([]string, 0, len(s.Labels))
	for name, value := range s.Labels {
		if value != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var key strings.Builder
	for _, part := range append([]string{s.Metric}, names...) {
		fmt.Fprintf(&key, "%d:%s", len(part), part)
	}
	return key.String()
}

func summarize(results []judged) summary {
	sum := summary{Series: len(results), Clauses: map[string]split{}, Outcomes: map[string]int{}}
	for _, r := range results {
		c := sum.Clauses[r.Clause]
		if r.Allow {
			sum.Allowed++
			c.Allowed++
		} else {
			sum.Denied++
			c.Denied++
		}
		sum.Clauses[r.Clause] = c
		sum.Outcomes[r.Outcome]++
	}
	return sum
}

// printResults writes one result per line, for programs that read JSON and for
// people who grep.
func (p *program) printResults(revision string, results []judged) error {
	head, err := json.Marshal(map[string]any{"revision": revision, "summary": summarize(results)})
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "%s,\"results\":[", strings.TrimSuffix(string(head), "}"))
	for i, r := range results {
		line, err := json.Marshal(r)
		if err != nil {
			return err
		}
		if i > 0 {
			fmt.Fprint(p.stdout, ",")
		}
		fmt.Fprintf(p.stdout, "\n%s", line)
	}
	_, err = fmt.Fprintln(p.stdout, "\n]}")
	return err
}

// sortedKeys returns the keys of m in order.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/compile"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/engine"
)

// revisions is how many charters alternate, clauseSize how many metrics a clause
// speaks for; every tenth clause is a glob instead.
const revisions, clauseSize = 2, 10

// document is one of the charters. They differ in who may read what, how long
// it may be kept, which labels are dropped and which names are forbidden.
func document(revision, metrics int) []byte {
	levels, retention, drop, forbidden := [2]string{"public", "operator"}, "30d", "address", "*_gps*"
	if revision == 1 {
		levels, retention, drop, forbidden = [2]string{"operator", "public"}, "60d", "instance", "*_mac*"
	}
	var b strings.Builder
	fmt.Fprintf(&b, `apiVersion: charter/v1
kind: Charter
metadata: {name: load, version: %d.0.0}
access_levels: [public, operator]
purposes: [operations]
roles:
  - {name: reader, reads: [public]}
  - {name: operator, reads: ["*"], collects: ["*"], requires: [owns_node]}
forbidden:
  - {id: privacy, match: ["%s"], labels: [latitude], severity: critical, reason: location can endanger people}
metrics:
  fleet:
`, revision+1, forbidden)
	for first := 0; first < metrics; first += clauseSize {
		clause := first / clauseSize
		var names []string
		for i := first; i < min(first+clauseSize, metrics); i++ {
			names = append(names, strconv.Quote(fmt.Sprintf("metric_%d", i)))
		}
		if clause%10 == 0 {
			names = []string{strconv.Quote(fmt.Sprintf("family_%d_*", first))}
		}
		fmt.Fprintf(&b, "    - {id: c%d, match: [%s], access: %s, retention: %s, labels: {drop: [%s]}, nodes: [\"edge-*\"]}\n",
			clause, strings.Join(names, ", "), levels[clause%2], retention, drop)
	}
	return []byte(b.String())
}

// question is one of the pool, with what each revision answers.
type question struct {
	body []byte
	want map[string]decision.Decision // by revision
	// right are answers without their ids that were compared already, by
	// themselves: reading them again would cost more than asking.
	right sync.Map
}

// pool makes questions and has them answered by every charter, without a cache.
// It returns the revision of each charter.
func pool(ctx context.Context, n, metrics int) ([]question, []string, error) {
	random := rand.New(rand.NewPCG(7, 7)) //nolint:gosec // the same questions every time
	list, inputs := make([]question, n), make([]decision.Input, n)
	for i := range list {
		inputs[i] = input(random, metrics)
		body, err := json.Marshal(inputs[i])
		if err != nil {
			return nil, nil, err
		}
		list[i] = question{body: body, want: map[string]decision.Decision{}}
		inputs[i].Time = "2026-06-01" // no clause depends on it
	}
	var names []string
	for revision := range revisions {
		p, err := prepare(ctx, revision, metrics)
		if err != nil {
			return nil, nil, err
		}
		names = append(names, p.Revision())
		for i := range list {
			d, err := p.Decide(ctx, inputs[i])
			if err != nil {
				return nil, nil, fmt.Errorf("reference: %w", err)
			}
			list[i].want[p.Revision()] = essence(d)
		}
	}
	return list, names, nil
}

func prepare(ctx context.Context, revision, metrics int) (*engine.Policy, error) {
	c, findings := charter.Parse("charter.yaml", document(revision, metrics))
	if c == nil || findings.HasErrors() {
		return nil, fmt.Errorf("charter %d: %v", revision, findings)
	}
	b, err := compile.Build(c)
	if err != nil {
		return nil, err
	}
	return engine.Prepare(ctx, b, nil)
}

// input is a question about an exact name, a glob, or a name that is forbidden or
// unknown.
func input(random *rand.Rand, metrics int) decision.Input {
	i := random.IntN(metrics)
	in := decision.Input{
		Metric: fmt.Sprintf("metric_%d", i), Node: fmt.Sprintf("edge-%d", random.IntN(50)), Role: "reader", Operation: decision.Read,
		Labels: map[string]string{"instance": "a", "address": "b"},
	}
	if first := i - i%clauseSize; first/clauseSize%10 == 0 {
		in.Metric = fmt.Sprintf("family_%d_%d", first, random.IntN(1000))
	}
	switch random.IntN(10) {
	case 0:
		in.Metric += "_gps"
	case 1:
		in.Metric += "_mac"
	case 2:
		in.Labels["latitude"] = "52.5"
	case 3:
		in.Node = "core-1"
	}
	if random.IntN(2) == 0 {
		in.Role, in.Operation, in.Claims = "operator", decision.Collect, []string{"owns_node"}
	}
	return in
}

// essence is a decision without what is new in every answer and what the server
// adds for people.
func essence(d decision.Decision) decision.Decision {
	d.DecisionID, d.Suggestion, d.Counterfactual, d.Source = "", "", "", ""
	reasons := make([]decision.Reason, len(d.Reasons))
	for i, r := range d.Reasons {
		r.Source = ""
		reasons[i] = r
	}
	d.Reasons = reasons
	return d
}

// judge says what is wrong with the answer to a question, "" when nothing is.
// Revision is the one that must have answered, "" when a reload was under way.
func (q *question) judge(answer []byte, revision string) string {
	text := anonymous(answer)
	if known, ok := q.right.Load(text); ok && (revision == "" || known == revision) {
		return ""
	}
	var d decision.Decision
	if err := json.Unmarshal(answer, &d); err != nil {
		return fmt.Sprintf("%s: not a decision: %.200s", q.body, answer)
	}
	if revision != "" && d.Revision != revision {
		return fmt.Sprintf("%s: answered by %s while %s was in force", q.body, d.Revision, revision)
	}
	want, known := q.want[d.Revision]
	if got := essence(d); !known || !reflect.DeepEqual(got, want) {
		return fmt.Sprintf("%s: %s, want %+v", q.body, answer, want)
	}
	q.right.Store(text, d.Revision)
	return ""
}

// anonymous is an answer without its id.
func anonymous(answer []byte) string {
	const member = `"decision_id":"`
	before, rest, ok := bytes.Cut(answer, []byte(member))
	if !ok {
		return string(answer)
	}
	_, after, _ := bytes.Cut(rest, []byte(`"`))
	return string(before) + member + string(after)
}

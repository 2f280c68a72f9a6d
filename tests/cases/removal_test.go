package cases_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/engine"
	"github.com/westworld-charter/charter/internal/policytest"
)

// excuse is a place whose removal may loosen an answer, because what stands there is
// itself a restriction. Everything else is a reference: without it, charters deny.
type excuse struct {
	place string // segments separated by spaces; * is any one, ... is any number
	why   string
}

func excuses() []excuse {
	return []excuse{
		{"charter tables exact *", "the row of a name; without it a glob speaks for the name"},
		{"charter tables exact * clauses", "the same"},
		{"charter tables exact * forbidden ...", "the row that forbids the name"},
		{"charter tables patterns * clauses", "what a glob selects; without it a wider one speaks"},
		{"charter tables patterns * rank", "the same"},
		{"charter tables patterns * forbidden ...", "the row that forbids what a glob matches"},
		{"charter tables labels exact * ...", "the row that forbids a label"},
		{"charter tables labels prefixes * ...", "the same, by glob"},
		{"charter tables labels lengths *", "the same"},
		{"charter tables nodes *", "the bad standing of a node"},
		{"charter tables clauses * forbid *", "a label that the clause refuses"},
		{"charter tables clauses * obligations *", "something that the clause obliges to"},
		{"charter tables roles * requires *", "a claim that the role requires"},
		{"charter tables groups * labels *", "one of several conditions of a group"},
		{"charter_state", "all restrictions of the state, where state is optional"},
		{"charter_state standing", "the standing of all nodes"},
		{"charter_state standing *", "the standing of a node"},
		{"charter_state revocations", "the revocations of all nodes"},
		{"charter_state revocations *", "the revocation of a node"},
		{"charter_state overrides * nodes", "the nodes an override is limited to"},
		{"charter_state overrides * from", "the beginning of an override"},
	}
}

// TestRemovedData takes away every path of the tables and of the state in turn and asks
// the corpus again. A reference that leads nowhere must deny: a table that was cut short
// on its way must not open anything, and there is always an answer.
func TestRemovedData(t *testing.T) {
	var mu sync.Mutex
	needed := make(map[string]bool)
	t.Run("tables", func(t *testing.T) {
		for _, tb := range corpusTables(t) {
			// These repeat other tables as far as data is concerned, or are large.
			if strings.HasPrefix(tb.Path, "shipped_") || strings.HasPrefix(tb.Path, "requests") || strings.HasPrefix(tb.Path, "retention") {
				continue
			}
			t.Run(tb.Path, func(t *testing.T) {
				t.Parallel()
				used := removeData(t, tb)
				mu.Lock()
				defer mu.Unlock()
				maps.Copy(needed, used)
			})
		}
	})
	for _, e := range excuses() {
		if !needed[e.place] {
			t.Errorf("the excuse %q is not needed any more: take it out", e.place)
		}
	}
}

// removeData returns the excuses that were needed.
func removeData(t *testing.T, tb *table) map[string]bool {
	used := make(map[string]bool)
	query, data := source(t, tb)
	groups := byState(t, tb)
	for i, group := range groups {
		whole, paths := maps.Clone(data), [][]string(nil)
		if i == 0 { // the tables once, under the state with the most cases
			paths = pathsOf(data)
		}
		if group.state != nil {
			whole["charter_state"] = group.state
			paths = append(paths, pathsOf(map[string]any{"charter_state": group.state})...)
		}
		questions := askAll(t, withData(t, query, whole), group.cases)
		for _, path := range paths {
			cut := withData(t, query, remove(whole, path))
			for _, q := range questions {
				problem := q.without(t, cut, path)
				if problem == "" {
					continue
				}
				if place := excused(path); place != "" {
					used[place] = true
					continue
				}
				t.Errorf("%s: %s: without %s: %s", q.Pos, q.Name, strings.Join(path, " > "), problem)
			}
		}
	}
	return used
}

// question is a case with the answer over intact data.
type question struct {
	*policytest.TestCase
	input    ast.Value
	document ast.Value
	answer   decision.Decision
	keys     map[string]bool // what tables can be looked up by for it
}

// looksUp reports whether the answer can depend on a row of a table. It only saves time:
// tables as a whole are removed for every question.
func (q *question) looksUp(table, row string) bool {
	switch table {
	case "exact", "clauses", "forbidden", "roles", "waivers", "nodes", "purposes":
		return q.keys[row]
	case "patterns":
		prefix, _, _ := strings.Cut(row, "*")
		metric, _ := q.Input["metric"].(string)
		return strings.HasPrefix(metric, prefix)
	case "labels":
		return q.Input["labels"] != nil
	case "limits":
		return len(q.answer.Obligations.Rates) > 0
	}
	return true
}

func askAll(t *testing.T, intact *engine.Query, cases []*policytest.TestCase) []*question {
	t.Helper()
	questions := make([]*question, len(cases))
	for i, c := range cases {
		q := &question{TestCase: c, input: inputValue(t, c.Input), keys: make(map[string]bool)}
		q.document = ask(t, intact, q.input)
		q.answer = answer(t, plain(t, q.document))
		q.keys[q.answer.Clause] = true
		for _, r := range q.answer.Reasons {
			q.keys[r.Clause] = true
		}
		for _, value := range c.Input {
			if s, ok := value.(string); ok {
				q.keys[s] = true
			}
		}
		questions[i] = q
	}
	return questions
}

// without asks the question over data that lacks a path and says in what way the answer
// is looser, "" when it is not.
func (q *question) without(t *testing.T, cut *engine.Query, path []string) string {
	t.Helper()
	if len(path) > 3 && path[0] == "charter" && !q.looksUp(path[2], path[3]) {
		return ""
	}
	document := ask(t, cut, q.input)
	if document.Compare(q.document) == 0 {
		return ""
	}
	return loosened(q.answer, answer(t, plain(t, document)))
}

// group is cases of a table with one state document.
type group struct {
	state any
	cases []*policytest.TestCase
}

// byState groups the cases of a table by their state, and keeps one of those that get the
// same answer for the same operation, in short mode one for each list of reasons:
// removing data makes the same of them.
func byState(t *testing.T, tb *table) []*group {
	var groups []*group
	byKey, seen := make(map[string]*group), make(map[string]bool)
	for i := range tb.Cases {
		c := &tb.Cases[i]
		stateKey := string(toJSON(t, c.State))
		d := answer(t, eval(t, withState(t, tb.policy, c.State), c.Input))
		key := fmt.Sprint(stateKey, d.Outcome, d.Clause, codesOf(d), d.Mode, c.Input["operation"], len(d.Obligations.Rates))
		if testing.Short() {
			key = fmt.Sprint(stateKey, d.Outcome, codesOf(d))
		}
		if d.Outcome == decision.InvalidRequest || seen[key] {
			continue
		}
		seen[key] = true
		g := byKey[stateKey]
		if g == nil {
			g = &group{}
			if c.State != nil {
				g.state = decode(t, []byte(stateKey))
			}
			byKey[stateKey], groups = g, append(groups, g)
		}
		g.cases = append(g.cases, c)
	}
	slices.SortStableFunc(groups, func(a, b *group) int { return len(b.cases) - len(a.cases) })
	return groups
}

func codesOf(d decision.Decision) []string {
	codes := make([]string, len(d.Reasons))
	for i, r := range d.Reasons {
		codes[i] = r.Code
	}
	return codes
}

// loosened says in what way an answer is looser than the one before, "" when it is not.
func loosened(before, after decision.Decision) string {
	if broken := brokenRules(after); len(broken) > 0 && after.Revision != "" {
		return broken[0]
	}
	switch {
	case !after.Allow:
		return ""
	case !before.Allow && before.Outcome != decision.Forbidden && slices.Contains(codesOf(after), decision.CodeUnknownMetric):
		return "" // the metric became unknown, which has the mode of the charter
	case !before.Allow:
		return fmt.Sprintf("%s %v became %s %v", before.Outcome, codesOf(before), after.Outcome, codesOf(after))
	case after.Outcome != decision.Allowed:
		return "" // still reported; modes say whether it counts
	case before.Outcome != decision.Allowed || before.Clause != after.Clause:
		return fmt.Sprintf("%s by %s became allowed by %s", before.Outcome, before.Clause, after.Clause)
	}
	b, a := before.Obligations, after.Obligations
	if !contains(a.DropLabels, b.DropLabels) || !contains(a.HashLabels, b.HashLabels) || !contains(a.ForbidLabels, b.ForbidLabels) || longer(a.Retention, b.Retention) {
		return fmt.Sprintf("obligations %v became %v", b, a)
	}
	return ""
}

func contains(list, all []string) bool {
	return !slices.ContainsFunc(all, func(s string) bool { return !slices.Contains(list, s) })
}

// longer reports whether retention a is longer than b; "" is without end.
func longer(a, b string) bool {
	if a == "" || b == "" {
		return a != b && a == ""
	}
	da, errA := charter.ParseDuration(a)
	db, errB := charter.ParseDuration(b)
	return errA != nil || errB != nil || da > db
}

func excused(path []string) string {
	for _, e := range excuses() {
		if fits(path, strings.Fields(e.place)) {
			return e.place
		}
	}
	return ""
}

func fits(path, place []string) bool {
	for i, segment := range place {
		switch {
		case segment == "...":
			return true
		case i >= len(path), segment != "*" && segment != path[i]:
			return false
		}
	}
	return len(path) == len(place)
}

// source prepares the bundle of a table so that its data can be replaced.
func source(t *testing.T, tb *table) (*engine.Query, map[string]any) {
	t.Helper()
	raw, _ := tb.bundle.File("data.json")
	data, ok := decode(t, raw).(map[string]any)
	if !ok {
		t.Fatal("data.json is not an object")
	}
	modules := make(map[string][]byte)
	for _, path := range tb.bundle.Modules() {
		modules[path], _ = tb.bundle.File(path)
	}
	query, err := engine.NewQuery(t.Context(), engine.Source{
		Modules: modules, Data: data, Query: "data.charter.decision", Capabilities: engine.Capabilities(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return query, data
}

func withData(t *testing.T, q *engine.Query, data map[string]any) *engine.Query {
	t.Helper()
	next, err := q.WithData(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

func ask(t *testing.T, q *engine.Query, input ast.Value) ast.Value {
	t.Helper()
	results, err := q.Eval(t.Context(), input)
	if err != nil || len(results) != 1 {
		t.Fatalf("input %v: %d results, %v", input, len(results), err)
	}
	term, ok := results[0].Expressions[0].Value.(*ast.Term)
	if !ok {
		t.Fatalf("result is a %T", results[0].Expressions[0].Value)
	}
	return term.Value
}

func decode(t *testing.T, data []byte) any {
	t.Helper()
	var v any
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// pathsOf lists every key at every depth of a document.
func pathsOf(v any) [][]string {
	object, _ := v.(map[string]any)
	var paths [][]string
	for _, key := range slices.Sorted(maps.Keys(object)) {
		paths = append(paths, []string{key})
		for _, below := range pathsOf(object[key]) {
			paths = append(paths, append([]string{key}, below...))
		}
	}
	return paths
}

// remove returns a copy of an object without the value at a path.
func remove(object map[string]any, path []string) map[string]any {
	out := maps.Clone(object)
	if len(path) == 1 {
		delete(out, path[0])
	} else if below, ok := out[path[0]].(map[string]any); ok {
		out[path[0]] = remove(below, path[1:])
	}
	return out
}

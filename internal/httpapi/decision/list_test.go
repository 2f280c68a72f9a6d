package decisionapi_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/compile"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/engine"
	decisionapi "github.com/westworld-charter/charter/internal/httpapi/decision"
	"github.com/westworld-charter/charter/internal/space"
	"github.com/westworld-charter/charter/internal/wire"
)

// The engine answers batches on one snapshot.
var _ decisionapi.SnapshotDecider = (*engine.Engine)(nil)

const listPath = "/v1/list"

// listed is the answer of /v1/list.
type listed struct {
	Revision  string
	Exact     *bool
	Metrics   []listedEntry
	Forbidden []listedEntry
	Globs     []listedEntry
	Outside   *listedEntry
}

type listedEntry struct {
	Metric, Match, Outcome, Clause, Witness string
	Allow                                   *bool
	Exact                                   *bool
	Obligations                             decision.Obligations
	Error                                   *wire.Error
}

func list(t *testing.T, url, body string) listed {
	t.Helper()
	got := post(t, url, body)
	var l listed
	dec := json.NewDecoder(strings.NewReader(got.body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&l); err != nil || got.status != http.StatusOK || l.Exact == nil || l.Metrics == nil {
		t.Fatalf("%s: %d %v %s", body, got.status, err, got.body)
	}
	return l
}

// of is what a list says about a name, read as documented.
func (l *listed) of(name string) listedEntry {
	for _, e := range l.Metrics {
		if e.Metric == name {
			return e
		}
	}
	for _, e := range slices.Concat(l.Forbidden, l.Globs) {
		if g, err := space.ParseGlob(e.Match); err == nil && g.Match(name) {
			return e
		}
	}
	return *l.Outside
}

// policyOf compiles a charter; nil when it has errors.
func policyOf(t *testing.T, text string) *engine.Policy {
	t.Helper()
	c, findings := charter.Parse("charter.yaml", []byte(text))
	if c == nil || findings.HasErrors() {
		t.Fatalf("%v\n%s", findings, text)
	}
	if findings := compile.Check(c); findings.HasErrors() {
		return nil
	}
	b, err := compile.Build(c)
	if err != nil {
		t.Fatal(err)
	}
	p, err := engine.Prepare(t.Context(), b, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// serve answers from an engine over HTTP.
func serve(t *testing.T, e *engine.Engine) string {
	t.Helper()
	f := &fake{status: decisionapi.Status{Charter: "random", Revision: "?"}}
	h, err := decisionapi.New(decisionapi.Options{
		Decider: decisionapi.Batching(e), Reporter: f, InsecureSelfAsserted: true, Now: func() time.Time { return noon },
		Policy: func() decisionapi.Policy {
			if p := e.Current(); p != nil {
				return p
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// random writes charters of a small alphabet, so that patterns meet often.
type random struct{ *rand.Rand }

func (r random) pick(list ...string) string { return list[r.IntN(len(list))] }

func (r random) name() string {
	var b strings.Builder
	for range 1 + r.IntN(4) {
		b.WriteString(r.pick("a", "b", "_"))
	}
	return b.String()
}

func (r random) pattern() string {
	switch r.IntN(5) {
	case 0:
		return r.name()
	case 1:
		return r.name() + "*"
	case 2:
		return "*" + r.name()
	case 3:
		return r.name() + "*" + r.name()
	default:
		return "*" + r.name() + "*"
	}
}

func (r random) patterns() string {
	set := map[string]bool{}
	for range 1 + r.IntN(2) {
		set[r.pattern()] = true
	}
	var list []string
	for p := range set {
		list = append(list, fmt.Sprintf("%q", p))
	}
	slices.Sort(list)
	return "[" + strings.Join(list, ", ") + "]"
}

func (r random) charter() string {
	var b strings.Builder
	fmt.Fprintf(&b, `apiVersion: charter/v1
kind: Charter
metadata: {name: random, version: 1.0.0}
access_levels: [public, operator]
purposes: [operations, billing]
roles:
  - {name: all, reads: ["*"], collects: ["*"], exports: ["*"]}
  - {name: some, reads: [public], collects: [one]}
enforcement: {mode: %s}
metrics:
`, r.pick("enforce", "enforce", "enforce", "warn", "shadow"))
	for _, category := range []string{"one", "two"} {
		fmt.Fprintf(&b, "  %s:\n", category)
		for i := range 1 + r.IntN(4) {
			fmt.Fprintf(&b, "    - {id: %s.c%d, match: %s, access: %s", category, i, r.patterns(), r.pick("public", "operator"))
			fmt.Fprint(&b, r.pick("", "", ", operations: [read]", ", purposes: [billing]"), r.pick("", "", ", retention: 30d", ", labels: {drop: [x]}"))
			fmt.Fprint(&b, r.pick("", "", `, nodes: ["edge-*"]`, `, nodes: ["core-*"]`), r.pick("", "", "", ", mode: warn", ", mode: enforce"), "}\n")
		}
	}
	if n := r.IntN(3); n > 0 {
		b.WriteString("forbidden:\n")
		for i := range n {
			fmt.Fprintf(&b, "  - {id: f%d, match: %s, severity: high, reason: no%s}\n", i, r.patterns(), r.pick("", "", ", mode: warn", ", mode: enforce", ", protected: true"))
		}
	}
	return b.String()
}

// What a list says about a pattern must hold for every name it stands for, or
// the list must say that it does not.
func TestListAgainstBruteForce(t *testing.T) {
	const wanted = 4 // each costs a compilation
	r := random{rand.New(rand.NewPCG(3, 14))}
	charters, exact, inexact := 0, 0, 0
	for charters < wanted {
		text := r.charter()
		p := policyOf(t, text)
		if p == nil {
			continue // ties, most of the time
		}
		charters++
		e := engine.New()
		e.Swap(p)
		base := serve(t, e)
		names := []string{"zzz", "a.b", "ö"}
		for range 100 {
			names = append(names, r.name()+r.pick("", r.name(), "x"+r.name()))
		}
		for _, operation := range []string{decision.Collect, decision.Read} {
			in := decision.Input{Role: r.pick("all", "some"), Node: r.pick("edge-1", "core-1", "x"), Operation: operation, Purpose: r.pick("", "billing", "operations"), Time: "2026-06-01T12:00:00.123456789Z"}
			body, _ := json.Marshal(map[string]any{"role": in.Role, "node": in.Node, "operation": in.Operation, "purpose": in.Purpose})
			l := list(t, base+listPath, string(body))
			if l.Revision != p.Revision() || l.Outside == nil {
				t.Fatalf("revision %q, want %q", l.Revision, p.Revision())
			}
			whole := true
			for _, entry := range slices.Concat(l.Forbidden, l.Globs, []listedEntry{*l.Outside}) {
				whole = whole && *entry.Exact
			}
			if whole != *l.Exact {
				t.Errorf("exact %v, the patterns say %v", *l.Exact, whole)
			}
			for _, name := range names {
				in.Metric = name
				want, err := p.Decide(t.Context(), in)
				if err != nil {
					t.Fatal(err)
				}
				got := l.of(name)
				if got.Exact != nil && !*got.Exact {
					inexact++
					if got.Allow != nil && *got.Allow && !want.Allow {
						t.Errorf("%s: not exact, and wrong on the loose side\n%s", name, text)
					}
					continue
				}
				exact++
				if *got.Allow != want.Allow || got.Outcome != "" && got.Match == "" && got.Outcome != want.Outcome || want.Allow && got.Clause != want.Clause {
					t.Fatalf("%s is %+v, decided %v %s %s for %s\n%s", name, got, want.Allow, want.Outcome, want.Clause, body, text)
				}
			}
		}
	}
	if exact < 4*inexact {
		t.Errorf("%d exact entries against %d: that is hardly an answer", exact, inexact)
	}
}

const listQuestion = `"role":"all","node":"edge-1","operation":"collect"`

const listedCharter = `apiVersion: charter/v1
kind: Charter
metadata: {name: listed, version: %s}
access_levels: [public]
roles:
  - {name: all, reads: ["*"], collects: ["*"]}
metrics:
  net:
    - {id: net.node, match: ["node_network_*"], access: public, retention: 30d}
    - {id: net.mtu, match: ["node_network_mtu", "node_network_x*"], access: public, operations: [read]}
forbidden:
  - {id: privacy, match: ["*gps*", "node_serial"], severity: high, reason: no}
`

func TestList(t *testing.T) {
	e := engine.New()
	e.Swap(policyOf(t, fmt.Sprintf(listedCharter, "1.0.0")))
	base := serve(t, e) + listPath
	l := list(t, base, `{`+listQuestion+`}`)
	var told []string
	for _, entry := range slices.Concat(l.Metrics, l.Forbidden, l.Globs, []listedEntry{*l.Outside}) {
		told = append(told, fmt.Sprint(entry.Metric, entry.Match, " ", *entry.Allow, " ", entry.Outcome, " ", entry.Clause, " ", entry.Obligations.Retention))
	}
	want := []string{
		"node_network_mtu false denied net.mtu ", "node_serial false forbidden privacy ", "*gps* false forbidden privacy ",
		"node_network_x* false denied net.mtu ", "node_network_* true allowed net.node 30d", "* false unknown_metric default ",
	}
	if !slices.Equal(told, want) || !*l.Exact {
		t.Errorf("exact %v\n%q, want\n%q", *l.Exact, told, want)
	}

	l = list(t, base, `{`+listQuestion+`,"metrics":["node_network_up","nothing","node_network_up","my_gps"],"claims":["c"],"purpose":""}`)
	told = nil
	for _, entry := range l.Metrics {
		told = append(told, fmt.Sprint(entry.Metric, " ", *entry.Allow, " ", entry.Clause))
	}
	want = []string{"node_network_up true net.node", "nothing false default", "node_network_up true net.node", "my_gps false privacy"}
	if !slices.Equal(told, want) || !*l.Exact || l.Globs != nil || l.Outside != nil || !strings.HasPrefix(l.Revision, "listed-1.0.0+") {
		t.Errorf("%+v", l)
	}
	if l := list(t, base, `{`+listQuestion+`,"metrics":[]}`); len(l.Metrics) != 0 || l.Globs != nil {
		t.Errorf("no names are not all names: %+v", l)
	}
}

func TestListRefuses(t *testing.T) {
	e := engine.New()
	e.Swap(policyOf(t, fmt.Sprintf(listedCharter, "1.0.0")))
	base := serve(t, e) + listPath
	for body, location := range map[string]string{
		``:   "input",
		`{}`: "operation",
		`{"role":"all","operation":"read","metric":"a"}`:                               "metric",
		`{"role":"all","operation":"read","labels":{}}`:                                "labels",
		`{"role":1,"operation":"read"}`:                                                "role",
		`{"role":"all","role":"b","operation":"read"}`:                                 "role",
		`{"role":"all","operation":"read","claims":{}}`:                                "claims",
		`{"role":"all","operation":"collect"}`:                                         "node",
		`{` + listQuestion + `,"time":"2026-01-01"}`:                                   "time",
		`{` + listQuestion + `,"metrics":null}`:                                        "metrics",
		`{` + listQuestion + `,"metrics":[1]}`:                                         "metrics",
		`{` + listQuestion + `,"metrics":["a",""]}`:                                    "metrics[1]",
		`{` + listQuestion + `,"metrics":["` + strings.Repeat("x", 513) + `"]}`:        "metrics[0]",
		`{` + listQuestion + `,"metrics":["a"` + strings.Repeat(`,"a"`, 10_000) + `]}`: "metrics",
	} {
		got := post(t, base, body)
		if err := got.fault(t); got.status != http.StatusBadRequest || err.Errors[0].Location != location {
			t.Errorf("%.100s: %d %.300s", body, got.status, got.body)
		}
	}
	e.Swap(nil)
	if got := post(t, base, `{`+listQuestion+`}`); got.status != http.StatusServiceUnavailable || got.fault(t).Code != "unavailable" {
		t.Errorf("no policy: %d %s", got.status, got.body)
	}
	if got := post(t, base, `{`+listQuestion+`,"metrics":["a"]}`); got.status != http.StatusOK || !strings.Contains(got.body, `"outcome":"no_policy"`) {
		t.Errorf("no policy, by name: %d %s", got.status, got.body)
	}
	if got := post(t, start(t, &fake{})+listPath, `{`+listQuestion+`}`); got.status != http.StatusNotFound {
		t.Errorf("without a charter: %d", got.status)
	}
}

// The names of one charter must not be told with the decisions of another.
func TestListWhileThePolicyChanges(t *testing.T) {
	first, second := policyOf(t, fmt.Sprintf(listedCharter, "1.0.0")), policyOf(t, fmt.Sprintf(listedCharter, "2.0.0"))
	e := engine.New()
	e.Swap(second)
	for _, lag := range []int{1, 5} {
		calls := 0
		h, err := decisionapi.New(decisionapi.Options{Decider: decisionapi.Batching(e), Reporter: &fake{}, InsecureSelfAsserted: true, Policy: func() decisionapi.Policy {
			if calls++; calls <= lag {
				return first
			}
			return e.Current()
		}})
		if err != nil {
			t.Fatal(err)
		}
		s := httptest.NewServer(h)
		got := post(t, s.URL+listPath, `{`+listQuestion+`}`)
		s.Close()
		if lag == 1 && (got.status != http.StatusOK || !strings.Contains(got.body, second.Revision())) || lag > 3 && got.status != http.StatusServiceUnavailable {
			t.Errorf("lag %d: %d %s", lag, got.status, got.body)
		}
	}
}

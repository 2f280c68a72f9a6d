// Package workload makes charters of any size and the questions that are asked
// about them, the same in every run.
//
// Start with [New]. A [Spec] is plain data from which each rival builds what it
// needs; [Spec.YAML] is the charter. Questions come in blocks of 20: 12 about
// exact names, 4 about names that a glob matches, 3 about names nobody chartered
// and 1 for a node that is unknown or quarantined.
package workload

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/westworld-charter/charter/internal/decision"
)

const (
	// Nodes is how many nodes a charter knows; every fiftieth is quarantined.
	Nodes = 1000
	// Series is how many series the scraped node exposes.
	Series = 3026

	seed       = 20261121
	quarantine = 50
)

// Roles of every charter.
const (
	Operator = "node_operator" // collects; must hold Claims
	Auditor  = "auditor"       // reads every level; needs no claims
)

// Claims are what the operator must hold.
func Claims() []string { return []string{"owns_node", "mtls"} }

// Categories returns the categories of metrics, all of which the operator
// collects.
func Categories() []string {
	return []string{"energy", "infrastructure", "network", "service", "storage"}
}

// Levels returns the access levels, all of which the auditor reads.
func Levels() []string { return []string{"public", "operator", "audit"} }

// Purposes returns the declared purposes; clauses permit the first two.
func Purposes() []string { return []string{"operations", "capacity", "billing"} }

// Clause is a group of chartered metrics: exact names, or globs.
type Clause struct {
	ID       string
	Category string
	Access   string
	Match    []string
}

// Spec is what a charter says, as plain data.
type Spec struct {
	Exact       []Clause // hold N names in all
	Globs       []Clause // hold min(N, 1,000) globs in all, each a prefix and a star
	Nodes       []string // the fleet, the only nodes that clauses speak of
	Quarantined []string // those of the fleet that must not collect
}

// New specifies a charter of n exact metric names.
func New(n int) *Spec {
	s := &Spec{}
	exact, globs := make([]string, n), make([]string, min(n, 1000))
	for i := range exact {
		exact[i] = fmt.Sprintf("%s_%s_m%06d_%s", subsystem(i), kinds()[i%len(kinds())], i, units()[i%len(units())])
	}
	for i := range globs {
		globs[i] = fmt.Sprintf("app%03d_%s_*", i, kinds()[i%len(kinds())])
	}
	s.Exact, s.Globs = clauses("exact", exact), clauses("glob", globs)
	for i := range Nodes {
		s.Nodes = append(s.Nodes, fmt.Sprintf("edge-%04d", i))
		if i%quarantine == quarantine-1 {
			s.Quarantined = append(s.Quarantined, s.Nodes[i])
		}
	}
	return s
}

func subsystem(i int) string { return "sub" + strconv.Itoa(i%50) }
func kinds() []string        { return []string{"cpu", "disk", "queue", "request", "power"} }
func units() []string        { return []string{"total", "bytes", "seconds"} }

// clauses groups names by up to 20; few names still make several clauses.
func clauses(kind string, names []string) []Clause {
	size := max(1, min(20, len(names)/5))
	var all []Clause
	for at := 0; at < len(names); at += size {
		i := len(all)
		all = append(all, Clause{
			ID:       fmt.Sprintf("%s.c%d", kind, i),
			Category: Categories()[i%len(Categories())],
			Access:   Levels()[i%len(Levels())],
			Match:    names[at:min(at+size, len(names))],
		})
	}
	return all
}

// kind of a question.
type kind int

const (
	exactName kind = iota
	globName
	unchartered
	badNode
)

// block is the mixture: 60 % exact names, 20 % globs, 15 % unchartered, 5 % bad
// nodes.
func block() []kind {
	return []kind{
		exactName, exactName, exactName, exactName, exactName, exactName,
		exactName, exactName, exactName, exactName, exactName, exactName,
		globName, globName, globName, globName,
		unchartered, unchartered, unchartered,
		badNode,
	}
}

// Uniform returns n questions, whole blocks of 20, about any metric on any node.
func (s *Spec) Uniform(n int) []decision.Input {
	return s.ask(n, func(r *rand.Rand) string { return s.Nodes[r.IntN(len(s.Nodes))] })
}

// Scrape returns the questions of one scrape: Series of them, from one node but
// for the few that ask for a bad one. A repeating workload asks them again and
// again, with [At] a later time.
func (s *Spec) Scrape() []decision.Input {
	node := s.Nodes[7]
	return s.ask(Series, func(*rand.Rand) string { return node })
}

// EveryClause returns one question for each clause.
func (s *Spec) EveryClause() []decision.Input {
	var questions []decision.Input
	for i, c := range slices.Concat(s.Exact, s.Globs) {
		in := decision.Input{Metric: c.Match[0], Node: s.Nodes[0], Role: Operator, Operation: decision.Collect, Claims: Claims()}
		questions = append(questions, At(in, i))
	}
	return questions
}

// ask draws n questions.
func (s *Spec) ask(n int, node func(*rand.Rand) string) []decision.Input {
	r := rand.New(rand.NewPCG(seed, uint64(n)))
	questions := make([]decision.Input, 0, n)
	mixture := block()
	for i := range n {
		at := i % len(mixture)
		if at == 0 {
			r.Shuffle(len(mixture), func(i, j int) { mixture[i], mixture[j] = mixture[j], mixture[i] })
		}
		questions = append(questions, At(s.draw(r, mixture[at], node), i))
	}
	return questions
}

func (s *Spec) draw(r *rand.Rand, k kind, node func(*rand.Rand) string) decision.Input {
	in := decision.Input{
		Metric: pick(r, s.Exact), Node: node(r),
		Role: Operator, Operation: decision.Collect, Claims: Claims(),
	}
	for bad(s, in.Node) {
		in.Node = node(r)
	}
	switch k {
	case globName:
		glob := pick(r, s.Globs)
		in.Metric = glob[:len(glob)-1] + "v" + strconv.Itoa(r.IntN(100))
	case unchartered:
		in.Metric = fmt.Sprintf("%s_%s_x%06d_total", subsystem(r.IntN(50)), kinds()[r.IntN(5)], r.IntN(1_000_000))
	case badNode:
		in.Node = fmt.Sprintf("rogue-%04d", r.IntN(Nodes))
		if r.IntN(2) == 0 {
			in.Node = s.Quarantined[r.IntN(len(s.Quarantined))]
		}
		return in
	}
	if r.IntN(5) == 0 {
		in.Role, in.Operation, in.Purpose, in.Claims = Auditor, decision.Read, Purposes()[0], nil
	}
	return in
}

func bad(s *Spec, node string) bool {
	for _, q := range s.Quarantined {
		if q == node {
			return true
		}
	}
	return false
}

func pick(r *rand.Rand, from []Clause) string {
	c := from[r.IntN(len(from))]
	return c.Match[r.IntN(len(c.Match))]
}

// At returns the question asked at the i-th tick, of 10 ms each, of June 2026: no
// two questions come at the same time.
func At(in decision.Input, i int) decision.Input {
	in.Time = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(i) * 10 * time.Millisecond).Format(time.RFC3339Nano)
	return in
}

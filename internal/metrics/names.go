package metrics

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/space"
)

// Other stands for every label value that is not on a list, and for every one
// that came when there was no room for more.
const Other = "other"

// Bounds of labels that have no closed list, for the life of a process. What a
// caller makes up never counts towards them: only names of charters that were in
// force, of their state documents, and of nodes that showed a certificate.
const (
	maxNames  = 1000 // values of one label: metrics, nodes
	maxSeries = 2000 // series of one family that tell nodes apart
)

// Ways to say it in the catalogue.
const (
	nodeBound   = "nodes that charter or state document name or that showed a certificate, at most 1,000; else `other`"
	metricBound = "exact names and patterns of the charter, at most 1,000; else `other`"
)

// names are those that may become label values. It is immutable.
type names struct {
	*charted
	state map[string]bool // nodes of the state document
}

// charted are the names of a charter.
type charted struct {
	of        *charter.Charter
	exact     map[string]bool // metrics that the charter names without a star
	globs     []space.Glob    // the others
	clauses   []string        // whose glob it is
	index     *space.Index
	nodes     map[string]bool
	receivers []string
}

// namesOf collects the names of a charter and its state document. The state changes
// often, and what is known of the charter stays.
func namesOf(c *charter.Charter, state map[string]any, before *names) *names {
	n := &names{state: map[string]bool{}}
	for _, of := range []string{"standing", "revocations", "nodes"} {
		nodes, _ := state[of].(map[string]any)
		addNodes(n.state, slices.Collect(maps.Keys(nodes)))
	}
	if before != nil && before.of == c {
		n.charted = before.charted
	} else {
		n.charted = chart(c)
	}
	return n
}

func chart(c *charter.Charter) *charted {
	n := &charted{of: c, exact: map[string]bool{}, nodes: map[string]bool{}}
	if c == nil {
		n.index = space.NewIndex(nil)
		return n
	}
	for _, clause := range c.AllClauses() {
		n.add(clause.ID, clause.Match)
		addNodes(n.nodes, clause.Nodes)
	}
	for i := range c.Forbidden {
		n.add(c.Forbidden[i].ID, c.Forbidden[i].Match)
	}
	for i := range c.Waivers {
		addNodes(n.nodes, c.Waivers[i].Nodes)
	}
	for i := range c.Limits {
		addNodes(n.nodes, c.Limits[i].Nodes)
	}
	for i := range c.Nodes.Groups {
		addNodes(n.nodes, c.Nodes.Groups[i].Match)
	}
	for i := range c.Nodes.Entries {
		addNodes(n.nodes, []string{c.Nodes.Entries[i].Node})
	}
	for i := range c.Notify {
		n.receivers = append(n.receivers, c.Notify[i].Name)
	}
	n.index = space.NewIndex(n.globs)
	return n
}

func (n *charted) add(clause string, match []string) {
	for _, pattern := range match {
		g, err := space.ParseGlob(pattern)
		switch {
		case err != nil: // no charter in force has such
		case g.Exact():
			n.exact[pattern] = true
		default:
			n.globs, n.clauses = append(n.globs, g), append(n.clauses, clause)
		}
	}
}

// addNodes takes exact names.
func addNodes(to map[string]bool, list []string) {
	for _, node := range list {
		if !strings.Contains(node, "*") && !strings.HasPrefix(node, "group:") {
			to[strings.ToValidUTF8(node, "\uFFFD")] = true
		}
	}
}

// metric is what stands for a metric that a caller named: the name if the charter
// has it, else the pattern that speaks of it, one of the deciding clause before
// others and a more specific one before others.
func (n *charted) metric(name, clause string) string {
	if n.exact[name] {
		return name
	}
	best, rank := Other, -1
	n.index.Match(name, func(i int) bool {
		r := n.globs[i].Rank()
		if n.clauses[i] == clause {
			r += 1 << 40
		}
		if r > rank {
			best, rank = n.globs[i].String(), r
		}
		return true
	})
	return best
}

// admitted remembers at most max values. It is safe for concurrent use.
type admitted struct {
	max  int
	mu   sync.RWMutex
	seen map[string]bool // guarded by mu
}

// has reports whether a value may be used: since it was before, or since it
// qualifies and there is room.
func (a *admitted) has(value string, qualifies bool) bool {
	a.mu.RLock()
	known := a.seen[value]
	a.mu.RUnlock()
	if known || !qualifies {
		return known
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.seen[value] && len(a.seen) >= a.max {
		return false
	}
	if a.seen == nil {
		a.seen = map[string]bool{}
	}
	a.seen[strings.Clone(value)] = true // not the request that it is part of
	return true
}

// bounds keep labels few.
type bounds struct {
	nodes, metrics              admitted // values of these labels, in all families together
	attempts, violated, revoked admitted // series of these families that tell nodes apart
}

func newBounds() *bounds {
	return &bounds{
		nodes: admitted{max: maxNames}, metrics: admitted{max: maxNames},
		attempts: admitted{max: maxSeries}, violated: admitted{max: maxSeries}, revoked: admitted{max: maxSeries},
	}
}

// node is the label of a node. Proven says that it showed a certificate.
func (m *Metrics) node(node string, proven bool) string {
	if n := m.names.Load(); node == "" || node == Other || !m.bounds.nodes.has(node, proven || n.nodes[node] || n.state[node]) {
		return Other
	}
	return strings.ToValidUTF8(node, "\uFFFD")
}

// metric is the label of a metric.
func (m *Metrics) metric(name, clause string) string {
	label := m.names.Load().metric(name, clause)
	if label == Other || !m.bounds.metrics.has(label, true) {
		return Other
	}
	return label
}

// within returns node, or [Other] when a family tells enough nodes apart already.
func within(a *admitted, node string, key ...string) string {
	if node == Other || !a.has(node+"\x00"+strings.Join(key, "\x00"), true) {
		return Other
	}
	return node
}

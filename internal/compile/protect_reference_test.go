package compile_test

import (
	"slices"
	"strings"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
)

// reference decides questions by the letter of the charter language, without
// indexes and without a single line of the code under test.
type reference struct{ *charter.Charter }

type question struct {
	metric, node, role, operation, purpose, retention string
	labels, claims                                    []string
}

// answer is what a question gets. Keep is the longest retention, 0 for none.
type answer struct {
	allow      bool
	keep       time.Duration
	drop, hash []string
}

func matches(pattern, name string) bool {
	if pattern == "" {
		return name == ""
	}
	if pattern[0] == '*' {
		return matches(pattern[1:], name) || name != "" && matches(pattern, name[1:])
	}
	return name != "" && name[0] == pattern[0] && matches(pattern[1:], name[1:])
}

func (r reference) selects(nodes []string, node string) bool {
	if len(nodes) == 0 {
		return true
	}
	return slices.ContainsFunc(nodes, func(n string) bool {
		name, group := strings.CutPrefix(n, "group:")
		if !group {
			return node != "" && matches(n, node)
		}
		i := slices.IndexFunc(r.Nodes.Groups, func(g charter.Group) bool { return g.Name == name })
		// In the state of this test node n2 has the labels {zone: a}, no other has any.
		g := r.Nodes.Groups[i]
		byLabel := len(g.Labels) > 0 && node == "n2" && len(g.Labels) == 1 && g.Labels["zone"] == "a"
		return byLabel || slices.ContainsFunc(g.Match, func(p string) bool { return node != "" && matches(p, node) })
	})
}

// selected is the clause that speaks for a metric; of equally specific ones the
// one that covers the node.
func (r reference) selected(metric, node string) *charter.Clause {
	var best *charter.Clause
	top := [3]int{-1}
	for _, c := range r.AllClauses() {
		for _, p := range c.Match {
			if !matches(p, metric) {
				continue
			}
			rank := [3]int{0, strings.IndexByte(p+"*", '*'), len(strings.ReplaceAll(p, "*", ""))}
			if p == metric {
				rank = [3]int{1, 0, 0}
			}
			switch slices.Compare(rank[:], top[:]) {
			case 1:
				top, best = rank, c
			case 0:
				if !r.selects(best.Nodes, node) {
					best = c
				}
			}
		}
	}
	return best
}

func (r reference) mode(m string) string {
	if m == "" {
		return r.Enforcement.Mode
	}
	return m
}

// span is a duration in this test, 0 when absent.
func span(s string) time.Duration {
	d, _ := charter.ParseDuration(s)
	return d
}

func (r reference) decide(q question) answer {
	c := r.selected(q.metric, q.node)
	modes := r.denials(q, c) // the mode of every reason to deny
	var a answer
	if slices.Contains(modes, "enforce") {
		return a
	}
	a.allow = true
	if c == nil {
		return a
	}
	a.drop, a.hash = c.Labels.Drop, c.Labels.Hash
	longest, asked := r.longest(c, q.node), span(q.retention)
	a.keep = span(c.Retention)
	if a.keep > 0 && longest > a.keep {
		a.keep = longest
	}
	if asked > 0 && (a.keep == 0 || asked <= a.keep) {
		a.keep = asked
	}
	return a
}

func (r reference) denials(q question, c *charter.Clause) []string {
	var modes []string
	for _, f := range r.Forbidden {
		mode := r.mode(f.Mode)
		if f.Protected {
			mode = "enforce"
		}
		if slices.ContainsFunc(f.Match, func(p string) bool { return matches(p, q.metric) }) {
			modes = append(modes, mode)
		}
		for _, l := range q.labels {
			dropped := c != nil && slices.Contains(c.Labels.Drop, l) && (!f.Protected || f.Droppable)
			if !dropped && slices.ContainsFunc(f.Labels, func(p string) bool { return matches(p, l) }) {
				modes = append(modes, mode)
			}
		}
	}
	gated := q.operation != "read"
	bad := slices.ContainsFunc(r.Nodes.Entries, func(e charter.NodeEntry) bool { return e.Node == q.node })
	if c == nil || gated && bad {
		modes = append(modes, r.Enforcement.Mode)
	}
	if c != nil && !r.met(q, c) {
		modes = append(modes, r.mode(c.Mode))
	}
	return modes
}

// grants are the waivers of a clause for a node, and the overrides of the state
// of this test, which grant every clause 90d.
func (r reference) grants(c *charter.Clause, node string) []charter.Grants {
	var all []charter.Grants
	if c.Protected {
		return nil
	}
	for _, w := range r.Waivers {
		if w.Clause == c.ID && r.selects(w.Nodes, node) {
			all = append(all, w.Grants)
		}
	}
	// The override names the clauses o and p only.
	if (c.ID == "o" || c.ID == "p") && slices.Contains(r.Emergency.May, "retention") {
		all = append(all, charter.Grants{Retention: "90d"})
	}
	return all
}

func (r reference) longest(c *charter.Clause, node string) time.Duration {
	var longest time.Duration
	for _, g := range r.grants(c, node) {
		longest = max(longest, span(g.Retention))
	}
	return longest
}

func (r reference) met(q question, c *charter.Clause) bool {
	i := slices.IndexFunc(r.Roles, func(role charter.Role) bool { return role.Name == q.role })
	if i < 0 {
		return false
	}
	role := &r.Roles[i]
	grants := r.grants(c, q.node)
	has := func(list []string, name string) bool {
		return slices.Contains(list, name) || slices.Contains(list, "*")
	}
	operations, purposes := c.Operations, c.Purposes
	if len(operations) == 0 {
		operations = []string{"collect", "read"}
	}
	for _, g := range grants {
		operations = slices.Concat(operations, g.Operations)
	}
	access := map[string]bool{
		"collect": has(role.Collects, c.Category),
		"read":    has(role.Reads, c.Access),
		"export":  has(role.Reads, c.Access) && has(role.Exports, c.Access),
	}[q.operation]
	for _, claim := range role.Requires {
		access = access && slices.Contains(q.claims, claim)
	}
	purpose := q.operation == "collect"
	if !purpose {
		unsaid := len(purposes) == 0
		for _, g := range grants {
			purposes = slices.Concat(purposes, g.Purposes)
		}
		purpose = (q.purpose == "" || slices.Contains(r.Purposes, q.purpose)) && (unsaid || slices.Contains(purposes, q.purpose))
	}
	keep, asked := span(c.Retention), span(q.retention)
	retention := asked == 0 || keep == 0 || asked <= max(keep, r.longest(c, q.node))
	labels := !slices.ContainsFunc(q.labels, func(l string) bool { return slices.Contains(c.Labels.Forbid, l) })
	return slices.Contains(operations, q.operation) && access && r.selects(c.Nodes, q.node) && purpose && retention && labels
}

// looser reports whether the derived charter permits more than the base. A label
// that the base wants dropped or hashed may also be refused.
func looser(derived, base reference, q question) bool {
	a, b := derived.decide(q), base.decide(q)
	switch {
	case !a.allow:
		return false
	case !b.allow:
		return true
	case b.keep > 0 && (a.keep == 0 || a.keep > b.keep):
		return true
	}
	passes := func(label string) bool {
		with := q
		with.labels = append(slices.Clone(q.labels), label)
		return derived.decide(with).allow
	}
	bare := func(want, have []string) bool {
		return slices.ContainsFunc(want, func(l string) bool { return !slices.Contains(have, l) && passes(l) })
	}
	return bare(b.drop, a.drop) || bare(b.hash, slices.Concat(a.hash, a.drop))
}

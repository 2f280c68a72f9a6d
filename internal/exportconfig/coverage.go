package exportconfig

import (
	"strings"

	"github.com/westworld-charter/charter/internal/charter"
)

// coverage tells which clauses speak of one node. Where two clauses share a pattern
// and differ in their nodes, that decides which of them is selected; the rest the
// engine answers.
type coverage struct {
	node   string
	labels map[string]any // of the node, in the state document
	groups map[string]*charter.Group
}

func newCoverage(c *charter.Charter, state map[string]any, node string) *coverage {
	cover := &coverage{node: node, labels: within(state, "nodes", node, "labels"), groups: map[string]*charter.Group{}}
	for i := range c.Nodes.Groups {
		cover.groups[c.Nodes.Groups[i].Name] = &c.Nodes.Groups[i]
	}
	return cover
}

// within is the object below keys of a document, nil when there is none.
func within(document map[string]any, keys ...string) map[string]any {
	for _, key := range keys {
		document, _ = document[key].(map[string]any)
	}
	return document
}

func (c *coverage) clause(clause *charter.Clause) (bool, error) {
	if len(clause.Nodes) == 0 {
		return true, nil
	}
	for _, item := range clause.Nodes {
		covers, err := c.item(item)
		if covers || err != nil {
			return covers, err
		}
	}
	return false, nil
}

// item is one value of a nodes field.
func (c *coverage) item(item string) (bool, error) {
	name, isGroup := strings.CutPrefix(item, charter.GroupPrefix)
	if !isGroup {
		return matches([]string{item}, c.node)
	}
	group := c.groups[name]
	if group == nil {
		return false, nil
	}
	if covers, err := matches(group.Match, c.node); covers || err != nil {
		return covers, err
	}
	for key, value := range group.Labels {
		if got, ok := c.labels[key].(string); !ok || got != value {
			return false, nil
		}
	}
	return len(group.Labels) > 0, nil
}

func matches(patterns []string, name string) (bool, error) {
	all, err := globs(patterns)
	return matchesAny(all, name), err
}

// memberOf is the names of the groups that the node belongs to, in the order of the
// charter.
func (c *coverage) memberOf(ch *charter.Charter) ([]string, error) {
	var names []string
	for i := range ch.Nodes.Groups {
		name := ch.Nodes.Groups[i].Name
		member, err := c.item(charter.GroupPrefix + name)
		if err != nil {
			return nil, err
		}
		if member {
			names = append(names, name)
		}
	}
	return names, nil
}

package compile

import (
	"slices"
	"strings"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/diag"
	"github.com/westworld-charter/charter/internal/space"
)

// nodeSet is a nodes field with its groups resolved.
type nodeSet struct {
	// open is every node, also a question that names none: an absent field.
	open  bool
	globs []space.Glob
	// labels are conditions on labels that only the state document knows.
	labels []map[string]string
	// broken is a set of which a part could not be read.
	broken bool
}

// nodeSet reads a nodes field.
func (t *terrain) nodeSet(at charter.Source, nodes []string, list *diag.List) nodeSet {
	if len(nodes) == 0 {
		return nodeSet{open: true}
	}
	var s nodeSet
	for i, node := range nodes {
		e, err := t.nodeItem(node)
		if err != nil {
			list.Errorf(at.Item("nodes", i), codeBadGlob, "%v", err)
		}
		s.globs = append(s.globs, e.globs...)
		s.labels = append(s.labels, e.labels...)
		s.broken = s.broken || e.broken
	}
	return s
}

// nodeItem reads one value of a nodes field.
func (t *terrain) nodeItem(node string) (nodeSet, error) {
	name, isGroup := strings.CutPrefix(node, charter.GroupPrefix)
	if !isGroup {
		glob, err := space.ParseGlob(node)
		if err != nil {
			return nodeSet{broken: true}, err
		}
		return nodeSet{globs: []space.Glob{glob}}, nil
	}
	group := t.groups[name]
	if group == nil {
		return nodeSet{broken: true}, nil
	}
	var s nodeSet
	for _, pattern := range group.Match {
		glob, err := space.ParseGlob(pattern)
		s.broken = s.broken || err != nil // reported where the group is written
		s.globs = append(s.globs, glob)
	}
	if len(group.Labels) > 0 {
		s.labels = append(s.labels, group.Labels)
	}
	return s, nil
}

// disjoint reports whether it is certain that no node is in both. What depends
// on the labels of nodes never is.
func (s nodeSet) disjoint(other nodeSet) bool {
	if s.loose() || other.loose() {
		return false
	}
	for _, g := range s.globs {
		for _, h := range other.globs {
			if space.Intersects(g, h) {
				return false
			}
		}
	}
	return true
}

// loose reports that nothing is known about which nodes are in the set.
func (s nodeSet) loose() bool { return s.open || s.broken || len(s.labels) > 0 }

// within reports whether it is certain that every node of s is in other.
func (s nodeSet) within(other nodeSet) bool {
	switch {
	case other.open:
		return true
	case s.open || s.broken:
		return false
	}
	for _, g := range s.globs {
		if !slices.ContainsFunc(other.globs, g.Within) {
			return false
		}
	}
	all := slices.ContainsFunc(other.globs, func(g space.Glob) bool { return g.String() == everything })
	for _, wanted := range s.labels {
		if !all && !slices.ContainsFunc(other.labels, func(fewer map[string]string) bool { return includes(wanted, fewer) }) {
			return false
		}
	}
	return true
}

// includes reports whether m has every entry of part.
func includes(m, part map[string]string) bool {
	for key, value := range part {
		if have, ok := m[key]; !ok || have != value {
			return false
		}
	}
	return true
}

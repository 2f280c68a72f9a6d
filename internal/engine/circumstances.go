package engine

import (
	"slices"
	"strings"
	"time"

	"github.com/westworld-charter/charter/internal/decision"
)

// circumstances is what the state document means for keys: which nodes it
// speaks of, and when something changes by itself.
type circumstances struct {
	// off says why nothing can be cached under this state, "" when it can.
	off string
	// spoken holds tables by node: what they say about a node is evaluated.
	spoken []map[string]any
	grants map[string]any // by role, then by node
	named  map[string]bool
	// located is what the state says about nodes by name, of which rules read
	// the labels that groups ask for. Nodes that agree in these are one place.
	located     map[string]any
	groupLabels []string
	places      *interner
	// points are the instants at which a decision can change, in nanoseconds
	// since 1970, ascending.
	points []int64
}

// mentions reports whether charter or state speak of the node of the question.
func (c *circumstances) mentions(in *decision.Input) bool {
	for _, entries := range c.spoken {
		if _, ok := entries[in.Node]; ok {
			return true
		}
	}
	if c.named[in.Node] {
		return true
	}
	granted, ok := c.grants[in.Role]
	if !ok {
		return false
	}
	byNode, isTable := granted.(map[string]any)
	_, ok = byNode[in.Node]
	return ok || !isTable
}

// epoch numbers the intervals between change points. All comparisons with the
// time are "not before" or "before" a point, hence half-open.
func (c *circumstances) epoch(now int64) uint32 {
	i, found := slices.BinarySearch(c.points, now)
	if found {
		i++
	}
	return uint32(i)
}

// under reads the state document. Charter entries about nodes and the change
// points of the charter are those of the vocabulary.
func (v *vocabulary) under(state any) circumstances {
	c := circumstances{
		spoken: slices.Clone(v.spoken), points: slices.Clone(v.points), named: map[string]bool{},
		groupLabels: v.groupLabels, places: &interner{},
	}
	if state == nil {
		c.sort()
		return c
	}
	document, ok := state.(map[string]any)
	if !ok {
		return circumstances{off: "the state is not an object"}
	}
	for _, section := range []string{"standing", "revocations"} {
		entries, ok := table(document, section)
		if !ok {
			return circumstances{off: "state: " + section + " is not an object"}
		}
		c.spoken = append(c.spoken, entries)
	}
	if c.grants, ok = table(document, "grants"); !ok {
		return circumstances{off: "state: grants is not an object"}
	}
	if c.located, ok = table(document, "nodes"); !ok {
		return circumstances{off: "state: nodes is not an object"}
	}
	overrides, ok := table(document, "overrides")
	if !ok {
		return circumstances{off: "state: overrides is not an object"}
	}
	for id, override := range overrides {
		if !c.override(override) {
			return circumstances{off: "state: override " + id + " cannot be read"}
		}
	}
	if expires, ok := document["expires"]; ok && !c.change(expires) {
		return circumstances{off: "state: expires cannot be read"}
	}
	c.sort()
	return c
}

func (c *circumstances) sort() {
	slices.Sort(c.points)
	c.points = slices.Compact(c.points)
}

// placeOf numbers what the labels of a node in the state mean for groups, 0 when
// they mean nothing; false when they cannot be read.
func (c *circumstances) placeOf(node string) (uint32, bool) {
	entry, ok := c.located[node]
	if !ok || len(c.groupLabels) == 0 {
		return 0, true
	}
	fields, _ := entry.(map[string]any)
	labels, ok := fields["labels"].(map[string]any)
	if !ok {
		return 0, false
	}
	var room [usualRow]byte
	content := room[:0]
	for _, label := range c.groupLabels {
		if value, ok := labels[label]; ok {
			content = appendContent(content, value)
		} else {
			content = append(content, '-')
		}
	}
	return c.places.of(content)
}

// table is an object by names inside a document; absent is empty.
func table(document map[string]any, name string) (map[string]any, bool) {
	v, ok := document[name]
	if !ok {
		return nil, true
	}
	entries, ok := v.(map[string]any)
	return entries, ok
}

// override notes when an override begins and ends and which nodes it names.
func (c *circumstances) override(v any) bool {
	fields, ok := v.(map[string]any)
	if !ok || !c.change(fields["until"]) {
		return false
	}
	if from, given := fields["from"]; given && !c.change(from) {
		return false
	}
	nodes, given := fields["nodes"]
	if !given {
		return true
	}
	list, ok := nodes.([]any)
	for _, item := range list {
		node, isText := item.(string)
		c.named[node] = true
		ok = ok && isText
	}
	return ok
}

// change notes a time of the state as the rules read it; false when they could
// read it otherwise.
func (c *circumstances) change(v any) bool {
	text, ok := v.(string)
	if !ok {
		return false
	}
	if !strings.Contains(text, "T") {
		text += "T00:00:00Z"
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || t.Year() < 1970 || t.Year() > 2261 {
		return false
	}
	c.points = append(c.points, t.UnixNano())
	return true
}

package engine

import "slices"

// circumstances is what the state document means for keys: which nodes it and
// the charter speak of, and when something changes by itself.
type circumstances struct {
	*family

	// off says why nothing can be cached under this state, "" when it can.
	off      string
	mentions mentions
	grants   map[string]any // by role, then by node: what they say is evaluated
	// located is what the state says about nodes by name, of which rules read
	// the labels that groups ask for. Nodes that agree in these are one place.
	located     map[string]any
	groupLabels []string
	// points are the instants at which a decision can change, in nanoseconds
	// since 1970, ascending.
	points []int64
}

// granted reports whether the state grants the role of the question for a time.
func (c *circumstances) granted(role, node string) bool {
	granted, ok := c.grants[role]
	if !ok {
		return false
	}
	byNode, isTable := granted.(map[string]any)
	_, ok = byNode[node]
	return ok || !isTable
}

// under reads the state document. Charter entries about nodes and the change
// points of the charter are those of the vocabulary.
func (v *vocabulary) under(state any, l *family) circumstances {
	c := circumstances{family: l, mentions: mentions{}, points: slices.Clone(v.points), groupLabels: v.groupLabels}
	c.mentions.entries(v.spoken, "until")
	if state == nil {
		c.sort()
		return c
	}
	document, ok := state.(map[string]any)
	if !ok {
		return circumstances{off: "the state is not an object"}
	}
	for _, section := range []struct {
		name  string
		times []string
	}{{"standing", []string{"until"}}, {"revocations", []string{"until", "export_until"}}} {
		entries, ok := table(document, section.name)
		if !ok {
			return circumstances{off: "state: " + section.name + " is not an object"}
		}
		c.mentions.entries(entries, section.times...)
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
		c.mentions.of(node)
		ok = ok && isText
	}
	return ok
}

// change notes a time of the state; false when the rules could read it
// otherwise.
func (c *circumstances) change(v any) bool {
	point, ok := changePoint(v)
	if ok {
		c.points = append(c.points, point)
	}
	return ok
}

package engine

import (
	"math"
	"slices"
	"strings"
	"time"
)

// mention is what charter and state say about one node by its name. Such a node
// is a class of its own, and some of what is said ends by itself.
type mention struct {
	number uint32 // from 1: of the node and what is said about it, see family
	// points are the instants at which that changes, in nanoseconds since 1970,
	// ascending.
	points []int64
	// unusual says that rules could read it otherwise than this package does.
	unusual bool
}

// mentions is by node. It is complete before it is used and never changes then.
type mentions map[string]*mention

func (m mentions) of(node string) *mention {
	if m[node] == nil {
		m[node] = &mention{}
	}
	return m[node]
}

// entries notes a table by node whose rows may say, in these fields, when what they
// mean changes. The rules read them only when they are texts; a row without them
// means the same for good.
func (m mentions) entries(rows map[string]any, times ...string) {
	for node, row := range rows {
		at := m.of(node)
		fields, ok := row.(map[string]any)
		if !ok {
			at.unusual = true
			continue
		}
		for _, name := range times {
			if v, given := fields[name]; given {
				at.change(v)
			}
		}
	}
}

// change notes a time at which what is said changes.
func (m *mention) change(v any) {
	point, ok := changePoint(v)
	if !ok {
		m.unusual = true
		return
	}
	i, known := slices.BinarySearch(m.points, point)
	if !known {
		m.points = slices.Insert(m.points, i, point)
	}
}

// changePoint reads a time of charter or state as the rules do; false when they
// could read it otherwise.
func changePoint(v any) (ns int64, ok bool) {
	text, ok := v.(string)
	if !ok {
		return 0, false
	}
	if !strings.Contains(text, "T") {
		text += "T00:00:00Z"
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || t.Year() < 1970 || t.Year() > 2261 {
		return 0, false
	}
	return t.UnixNano(), true
}

// span is a time from an instant until before another, in nanoseconds since 1970.
type span struct{ from, until int64 }

var always = span{math.MinInt64, math.MaxInt64}

func (s span) has(now int64) bool { return s.from <= now && now < s.until }

// passed is how many of the points have come, and the part of a span around now in
// which none comes. All comparisons with the time are "not before" or "before" a
// point, hence half-open.
func passed(points []int64, now int64, within span) (uint32, span) {
	i, found := slices.BinarySearch(points, now)
	if found {
		i++
	}
	if i > 0 {
		within.from = max(within.from, points[i-1])
	}
	if i < len(points) {
		within.until = min(within.until, points[i])
	}
	return uint32(i), within
}

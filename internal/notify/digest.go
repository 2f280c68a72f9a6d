package notify

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Limits of a digest.
const (
	maxNamed   = 256 // names that are counted apart in one respect
	maxSamples = 5   // messages that are kept in full
	topNamed   = 10  // names that are shown
)

// digest is what one delivery says: one message, or how many there were of what.
type digest struct {
	Count      int       `json:"count"`
	First      time.Time `json:"first"` // of the earliest message
	Last       time.Time `json:"last"`
	Severity   string    `json:"severity,omitempty"` // the gravest
	Severities tally     `json:"severities"`
	Kinds      tally     `json:"kinds"`
	Clauses    tally     `json:"clauses"`
	Nodes      tally     `json:"nodes"`
	Messages   []Message `json:"messages"` // the first ones
}

// tally counts by name. Names beyond maxNamed are counted together.
type tally struct {
	By    map[string]int `json:"by,omitempty"`
	Other int            `json:"other,omitempty"`
}

func (t *tally) add(name string) {
	if name == "" {
		return
	}
	if _, known := t.By[name]; !known && len(t.By) >= maxNamed {
		t.Other++
		return
	}
	if t.By == nil {
		t.By = map[string]int{}
	}
	t.By[name]++
}

// Counted is how often a name occurred.
type Counted struct {
	Name  string `json:"name"`
	Count int    `json:"count"`
}

// top returns the names that occurred most, and how many occurrences are not among
// them.
func (t tally) top() (list []Counted, rest int) {
	for name, n := range t.By {
		list = append(list, Counted{name, n})
	}
	slices.SortFunc(list, func(a, b Counted) int { return cmp.Or(b.Count-a.Count, cmp.Compare(a.Name, b.Name)) })
	rest = t.Other
	for _, c := range list[min(len(list), topNamed):] {
		rest += c.Count
	}
	return list[:min(len(list), topNamed)], rest
}

func (d *digest) add(m Message) {
	if d.Count == 0 || m.Time.Before(d.First) {
		d.First = m.Time
	}
	if m.Time.After(d.Last) {
		d.Last = m.Time
	}
	if d.Count == 0 || graver(m.Severity, d.Severity) {
		d.Severity = m.Severity
	}
	d.Count++
	d.Severities.add(m.Severity)
	d.Kinds.add(m.Kind)
	d.Clauses.add(m.Clause)
	d.Nodes.add(m.Node)
	if len(d.Messages) < maxSamples {
		d.Messages = append(d.Messages, m)
	}
}

// sound reports whether a digest that was read can have been made by add.
func (d *digest) sound() bool {
	if d == nil || d.Count < 1 || len(d.Messages) < 1 || len(d.Messages) > min(maxSamples, d.Count) {
		return false
	}
	for _, t := range []tally{d.Severities, d.Kinds, d.Clauses, d.Nodes} {
		if len(t.By) > maxNamed || t.Other < 0 {
			return false
		}
		for _, n := range t.By {
			if n < 1 {
				return false
			}
		}
	}
	return true
}

// graver orders severities; one that is not known is the least.
func graver(a, b string) bool { return gravity(a) > gravity(b) }

func gravity(severity string) int {
	return 1 + slices.Index([]string{"low", "medium", "high", Critical}, severity)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

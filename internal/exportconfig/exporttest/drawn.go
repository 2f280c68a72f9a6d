// Package exporttest draws charters and expositions for tests that hold for all of them.
// Names are made of so few letters that patterns meet, cover and shadow each other
// all the time. What is drawn may be no valid charter, because of ties for instance;
// who asks draws again.
package exporttest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// Who asks in drawn charters; no claims are needed.
const (
	Role = "collector"
	Node = "n1"
)

// Charter returns the text of a charter. It holds no keyed hash.
func Charter(r *rand.Rand) string {
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: charter/v1\nkind: Charter\nmetadata: {name: drawn, version: 1.0.0}\naccess_levels: [public]\n")
	fmt.Fprintf(&b, "roles: [{name: %s, reads: [public], collects: [one]}]\n", Role)
	b.WriteString("metrics:\n  one:\n")
	n := 0
	for i := range 1 + r.IntN(6) {
		if i > 0 && r.IntN(5) == 0 && !strings.Contains(b.String(), "  two:\n") {
			b.WriteString("  two:\n") // which the role does not collect
		}
		n++
		clause(&b, r, n)
	}
	b.WriteString("forbidden:\n")
	for i := range 1 + r.IntN(3) {
		forbidden(&b, r, i)
	}
	if r.IntN(6) == 0 {
		b.WriteString("enforcement: {mode: warn}\n")
	}
	return b.String()
}

func clause(b *strings.Builder, r *rand.Rand, n int) {
	fmt.Fprintf(b, "    - {id: c%d, match: %s, access: public", n, list(r, 1+r.IntN(3), glob))
	labels := Labels()
	r.Shuffle(len(labels), func(i, j int) { labels[i], labels[j] = labels[j], labels[i] })
	drop, forbid := labels[:max(0, r.IntN(5)-2)], labels[3:3+r.IntN(2)]
	if len(drop)+len(forbid) > 0 {
		b.WriteString(", labels: {")
		if len(drop) > 0 {
			fmt.Fprintf(b, "drop: [%s]", strings.Join(drop, ", "))
		}
		if len(forbid) > 0 {
			if len(drop) > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(b, "forbid: [%s]", strings.Join(forbid, ", "))
		}
		b.WriteString("}")
	}
	switch r.IntN(6) {
	case 0:
		b.WriteString(", nodes: [n1]")
	case 1:
		b.WriteString(", nodes: [n2]")
	}
	if r.IntN(6) == 0 {
		b.WriteString(", mode: warn")
	}
	b.WriteString("}\n")
}

func forbidden(b *strings.Builder, r *rand.Rand, n int) {
	fmt.Fprintf(b, "  - {id: f%d, severity: low, reason: drawn", n)
	if n == 0 || r.IntN(3) > 0 {
		fmt.Fprintf(b, ", labels: %s", list(r, 1+r.IntN(2), labelGlob))
	} else {
		fmt.Fprintf(b, ", match: %s", list(r, 1, glob))
	}
	switch r.IntN(5) {
	case 0:
		b.WriteString(", protected: true")
	case 1:
		b.WriteString(", protected: true, droppable: true")
	case 2:
		b.WriteString(", mode: shadow")
	}
	b.WriteString("}\n")
}

func list(r *rand.Rand, n int, draw func(*rand.Rand) string) string {
	var all []string
	for range n {
		if item := `"` + draw(r) + `"`; !slices.Contains(all, item) {
			all = append(all, item)
		}
	}
	return "[" + strings.Join(all, ", ") + "]"
}

func word(r *rand.Rand, most int) string {
	var b strings.Builder
	for range 1 + r.IntN(most) {
		b.WriteByte("ab"[r.IntN(2)])
	}
	return b.String()
}

// glob is a pattern over metrics, one in three of them a name.
func glob(r *rand.Rand) string {
	switch r.IntN(6) {
	case 0, 1:
		return word(r, 3)
	case 2:
		return word(r, 2) + "*"
	case 3:
		return "*" + word(r, 2)
	case 4:
		return "*" + word(r, 2) + "*"
	default:
		return word(r, 1) + "*" + word(r, 2)
	}
}

// labelGlob is a pattern over labels; the last ones meet labels of Prometheus.
func labelGlob(r *rand.Rand) string {
	return []string{"x", "y", "z", "xy", "yx", "xx_q", "other", "x*", "*y", "x*y", "*z*", "*_q", "*name*", "__*"}[r.IntN(14)]
}

// Labels returns the labels of drawn charters.
func Labels() []string { return []string{"x", "y", "xy", "yx", "z", "xx_q"} }

// Names returns every metric of up to most letters over a, b and a letter that no
// drawn charter mentions.
func Names(most int) []string {
	var all []string
	last := []string{""}
	for range most {
		var next []string
		for _, s := range last {
			next = append(next, s+"a", s+"b", s+"c")
		}
		all, last = append(all, next...), next
	}
	return all
}

// LabelSet draws labels, some of them empty and some that no charter mentions.
func LabelSet(r *rand.Rand) map[string]string {
	set := map[string]string{}
	for _, name := range append(Labels(), "other") {
		switch r.IntN(8) {
		case 0:
			set[name] = "v"
		case 1:
			set[name] = ""
		}
	}
	if r.IntN(20) == 0 {
		set["my_name"] = "line\nfeed"
	}
	return set
}

// Exposition returns one series of every name, with drawn labels.
func Exposition(r *rand.Rand, names []string) string {
	var b strings.Builder
	for _, name := range names {
		set := LabelSet(r)
		var pairs []string
		for _, label := range append(Labels(), "my_name", "other") {
			if value, ok := set[label]; ok {
				pairs = append(pairs, fmt.Sprintf("%s=%q", label, value))
			}
		}
		fmt.Fprintf(&b, "%s{%s} 1\n", name, strings.Join(pairs, ","))
	}
	return b.String()
}

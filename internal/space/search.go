package space

import (
	"encoding/binary"
	"slices"
)

// maxSteps bounds one search by the number of automaton moves; with its share
// of bookkeeping a move takes 20 to 80 ns, so the worst question costs some tens
// of milliseconds.
const maxSteps = 1 << 19

// maxNone bounds the globs that a search takes away; more than that cannot be
// searched within the budget anyway.
const maxNone = 1024

// search walks the product of the automata of all and none breadth-first, so
// that the first name found is a shortest one.
type search struct {
	all, none []*automaton
	// without are the exact names of none. They are finitely many: instead of
	// automata of their own they allow every product state to be reached by
	// that many names more, so that one of them is another name.
	without  map[string]bool
	alphabet []rune

	nodes  []searchNode
	states []int // len(all)+len(none) per node
	visits map[string]int
	steps  int
}

// searchNode is one name: that of its parent and one character.
type searchNode struct {
	parent int
	r      rune
}

func newSearch(all, none []Glob, other rune) *search {
	s := &search{without: map[string]bool{}, visits: map[string]int{}}
	for _, g := range all {
		s.all = append(s.all, newAutomaton(g))
	}
	for _, g := range none {
		if g.Exact() {
			s.without[g.pattern] = true
		} else {
			s.none = append(s.none, newAutomaton(g))
		}
	}
	// Characters that no glob mentions are all alike; one stands for them. Names
	// of without add none: a product state that they share with another name is
	// reached by that one as well.
	s.alphabet = letters(append(slices.Clone(s.all), s.none...), other)
	return s
}

// letters is every character of the automata, in order, and other.
func letters(automata []*automaton, other rune) []rune {
	all := []rune{other}
	for _, a := range automata {
		for _, run := range a.runs {
			all = append(all, run...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (s *search) run() (string, Verdict) {
	s.nodes = append(s.nodes, searchNode{parent: -1})
	for _, a := range append(slices.Clone(s.all), s.none...) {
		s.states = append(s.states, a.start())
	}
	for at := 0; at < len(s.nodes); at++ {
		for _, r := range s.alphabet {
			if s.steps > maxSteps {
				return "", Unknown
			}
			if s.extend(at, r) && s.accepted() {
				if name := s.name(len(s.nodes) - 1); !s.without[name] {
					return name, Found
				}
			}
		}
	}
	return "", Empty
}

// width is the number of automata.
func (s *search) width() int { return len(s.all) + len(s.none) }

// extend appends the name of node at and r, unless it leads nowhere.
func (s *search) extend(at int, r rune) bool {
	mark, from := len(s.states), at*s.width()
	for i := range s.width() {
		s.steps++
		var next int
		if i < len(s.all) {
			next = s.all[i].step(s.states[from+i], r)
		} else {
			next = s.none[i-len(s.all)].step(s.states[from+i], r)
		}
		lost := i < len(s.all) && next == dead ||
			i >= len(s.all) && s.none[i-len(s.all)].final(next)
		if lost {
			s.states = s.states[:mark]
			return false
		}
		s.states = append(s.states, next)
	}
	key := s.key(s.states[mark:])
	if s.visits[key] > len(s.without) {
		s.states = s.states[:mark]
		return false
	}
	s.visits[key]++
	s.nodes = append(s.nodes, searchNode{parent: at, r: r})
	return true
}

func (s *search) key(states []int) string {
	var buf []byte
	for _, state := range states {
		buf = binary.AppendVarint(buf, int64(state))
	}
	return string(buf)
}

// accepted reports whether the name of the last node answers the question, but
// for the exact names.
func (s *search) accepted() bool {
	last := s.states[len(s.states)-s.width():]
	for i, state := range last {
		if i < len(s.all) && !s.all[i].accepts(state) ||
			i >= len(s.all) && s.none[i-len(s.all)].accepts(state) {
			return false
		}
	}
	return true
}

func (s *search) name(at int) string {
	var runes []rune
	for ; s.nodes[at].parent >= 0; at = s.nodes[at].parent {
		runes = append(runes, s.nodes[at].r)
	}
	slices.Reverse(runes)
	return string(runes)
}

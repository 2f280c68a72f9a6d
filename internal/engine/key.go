package engine

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/space"
)

// key is everything of a question that a decision can depend on under one
// snapshot: questions with equal keys have equal answers, apart from the id and
// the suggestion. What follows from names alone is a class, a small number that
// all names share which no rule can tell apart.
//
// It is numbers alone, without gaps between them, so that hashing and comparing it
// takes one call each.
type key struct {
	metric, node uint32
	place        uint32 // the node by its labels in the state document
	epoch        uint32 // how many change points of charter and state have passed
	mentioned    uint32 // the node, when charter or state speak of it by name
	since        uint32 // how many of its change points have passed
	further      uint32 // labels without a bit, and those that match forbidden globs
	role         uint32
	purpose      uint32
	retention    uint32
	operation    uint64 // a small one, but it leaves no gap
	claims       uint64 // which required claims of the role are held
	labels       uint64 // which labels that some entry names are there with a value
}

const (
	// maxKeyText bounds the text that one entry of the cache keeps.
	maxKeyText = 256
	// maxBits is how many names a set in a key can speak of.
	maxBits = 64
	// usualFurther is how many labels without a bit a key can speak of.
	usualFurther = 4
)

// keyer makes keys for the questions of one snapshot.
type keyer struct {
	*vocabulary
	circumstances

	askers *memo[asker]
}

// newKeyer returns nil and the reason when no question of the snapshot has a key. It
// keeps the family of the keyer before, nil for none, when that is of the same
// vocabulary and its state differs in nothing but what is said about nodes.
func newKeyer(v *vocabulary, why string, state any, before *keyer) (y *keyer, off string) {
	if v == nil {
		return nil, why
	}
	l := newFamily(state)
	if before != nil && before.vocabulary == v && before.family.continues(l) {
		l = before.family
	}
	c := v.under(state, l)
	if c.off == "" && !c.number(state) {
		c.family = newFamily(state) // the one before is full
		if !c.number(state) {
			c.ordinals()
		}
	}
	if c.off != "" {
		return nil, c.off
	}
	return &keyer{vocabulary: v, circumstances: c, askers: newMemo[asker](maxAskers)}, ""
}

// key returns the key of a question; false when its answer must be evaluated.
// Whatever is unusual is evaluated: that is never wrong.
func (y *keyer) key(in *decision.Input) (key, bool) {
	var r reading
	if !y.read(in, &r) {
		return key{}, false
	}
	k, _, ok := y.keyOf(in, &r)
	return k, ok
}

// keyOf is key for a question that was read, and says when else it has this key.
func (y *keyer) keyOf(in *decision.Input, r *reading) (k key, holds span, ok bool) {
	asked, ok := y.askerOf(in, r)
	if !ok {
		return k, holds, false
	}
	k = asked.key
	k.labels, k.further = r.labels, r.further
	k.epoch, holds = passed(y.circumstances.points, r.now, always)
	if asked.mentioned != nil {
		k.since, holds = passed(asked.mentioned.points, r.now, holds)
	}
	k.metric, ok = y.metrics.of(in.Metric)
	return k, holds, ok
}

func valid(s string) bool { return len(s) <= decision.MaxNameBytes && utf8.ValidString(s) }

// retention reports whether s is empty or matches ^[1-9][0-9]{0,5}[smhdwy]$.
func retention(s string) bool {
	if s == "" {
		return true
	}
	last := len(s) - 1
	return last >= 1 && last <= 6 && s[0] != '0' && digits(s[:last]) > 0 && strings.IndexByte("smhdwy", s[last]) >= 0
}

// labelsOf is the set of mentioned labels that have a value, as bits, and a
// number for the set of the others that count, which have no bit or match a
// forbidden glob; false when there are too many of these.
func (y *keyer) labelsOf(in *decision.Input) (present uint64, further uint32, ok bool) {
	var room [usualFurther]string
	names := room[:0]
	if len(in.Labels) > decision.MaxLabels {
		return 0, 0, false
	}
	for label, value := range in.Labels {
		bit, mentioned := y.labels[label]
		if !mentioned && !valid(label) || !utf8.ValidString(value) {
			return 0, 0, false
		}
		if value == "" {
			continue
		}
		present |= bit
		if mentioned && bit == 0 || y.labelGlobs != nil && matchesAny(y.labelGlobs, label) {
			if len(names) == usualFurther || len(label) > maxKeyText/usualFurther {
				return 0, 0, false
			}
			names = append(names, label)
		}
	}
	if len(names) == 0 {
		return present, 0, true
	}
	slices.Sort(names)
	var content [maxKeyText + usualFurther]byte
	list := content[:0]
	for _, label := range names {
		list = appendText(list, label)
	}
	further, ok = y.further.of(list)
	return present, further, ok
}

func matchesAny(globs *space.Index, name string) (found bool) {
	globs.Match(name, func(int) bool { found = true; return false })
	return found
}

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
	operation    uint32
	role         uint32
	purpose      uint32
	retention    uint32
	_            uint32
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
	return &keyer{vocabulary: v, circumstances: c}, ""
}

// key returns the key of a question; false when its answer must be evaluated.
// Whatever is unusual is evaluated: that is never wrong.
func (y *keyer) key(in *decision.Input) (k key, ok bool) {
	if k.operation, ok = wellFormed(in); !ok {
		return k, false
	}
	now, ok := instant(in.Time)
	if !ok || y.granted(in.Role, in.Node) {
		return k, false
	}
	k.epoch = passed(y.circumstances.points, now)
	if k.role, k.claims, ok = y.roleOf(in); !ok {
		return k, false
	}
	if k.purpose, ok = y.purposes.of(in.Purpose); !ok {
		return k, false
	}
	if k.retention, ok = y.retentions.of(in.Retention); !ok {
		return k, false
	}
	if k.labels, k.further, ok = y.labelsOf(in); !ok {
		return k, false
	}
	if k.metric, ok = y.metrics.of(in.Metric); !ok {
		return k, false
	}
	if in.Node == "" { // class 0 is that of no node at all
		return k, true
	}
	if k.place, ok = y.placeOf(in.Node); !ok {
		return k, false
	}
	if m := y.mentions[in.Node]; m != nil {
		if m.unusual {
			return k, false
		}
		k.mentioned, k.since = m.number, passed(m.points, now)
	}
	k.node, ok = y.nodes.of(in.Node)
	return k, ok
}

// wellFormed reports whether a question is complete and small enough, and numbers its
// operation. Texts are checked where they are read, and only when they were not
// read before; all together refuse what [decision.Input.Validate] does, and more.
func wellFormed(in *decision.Input) (operation uint32, ok bool) {
	switch in.Operation {
	case decision.Collect:
		operation = 1
	case decision.Read:
		operation = 2
	case decision.Export:
		operation = 3
	default:
		return 0, false
	}
	if in.Metric == "" || in.Role == "" || in.Operation != decision.Read && in.Node == "" {
		return 0, false
	}
	if len(in.Claims) > decision.MaxClaims || len(in.Labels) > decision.MaxLabels ||
		len(in.Role)+len(in.Purpose)+len(in.Retention) > maxKeyText {
		return 0, false
	}
	return operation, true
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

// roleOf numbers the role and returns the set of its required claims that are held.
func (y *keyer) roleOf(in *decision.Input) (number uint32, held uint64, ok bool) {
	role, declared := y.roles[in.Role]
	if number, ok = role.number, len(role.requires) <= maxBits; !declared {
		number, ok = y.undeclared.of(in.Role)
	}
	for _, claim := range in.Claims {
		if i, found := slices.BinarySearch(role.requires, claim); found {
			held |= 1 << i
		} else if !valid(claim) {
			return 0, 0, false
		}
	}
	return number, held, ok
}

// labelsOf is the set of mentioned labels that have a value, as bits, and a
// number for the set of the others that count, which have no bit or match a
// forbidden glob; false when there are too many of these.
func (y *keyer) labelsOf(in *decision.Input) (present uint64, further uint32, ok bool) {
	var room [usualFurther]string
	names := room[:0]
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

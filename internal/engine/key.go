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
type key struct {
	metric, node uint32
	place        uint32 // the node by its labels in the state document
	epoch        uint32 // how many change points of charter and state have passed
	since        uint32 // how many of those of the mentioned node
	mentioned    string // the node, when charter or state speak of it by name
	operation    uint8
	claims       uint64 // which required claims of the role are held
	labels       uint64 // which labels that some entry names are there with a value
	further      uint32 // those without a bit, and those that match forbidden globs
	role         string
	purpose      string
	retention    string
}

const (
	// maxKeyText bounds the text that one entry of the cache keeps.
	maxKeyText = 256
	// maxBits is how many names a set in a key can speak of.
	maxBits = 64
	// usualFurther is how many labels without a bit a key can speak of.
	usualFurther = 4
)

// owned returns a key that does not keep the memory of a request alive.
func (k key) owned() key {
	k.role, k.purpose, k.retention = strings.Clone(k.role), strings.Clone(k.purpose), strings.Clone(k.retention)
	k.mentioned = strings.Clone(k.mentioned)
	return k
}

// keyer makes keys for the questions of one snapshot.
type keyer struct {
	*vocabulary
	circumstances
}

// newKeyer returns nil and the reason when no question of the snapshot has a key.
func newKeyer(v *vocabulary, why string, state any) (y *keyer, off string) {
	if v == nil {
		return nil, why
	}
	c := v.under(state)
	if c.off != "" {
		return nil, c.off
	}
	return &keyer{vocabulary: v, circumstances: c}, ""
}

// key returns the key of a question; false when its answer must be evaluated.
// Whatever is unusual is evaluated: that is never wrong.
func (y *keyer) key(in *decision.Input) (key, bool) {
	k := key{role: in.Role, purpose: in.Purpose, retention: in.Retention}
	if !wellFormed(in) {
		return k, false
	}
	now, ok := instant(in.Time)
	if !ok || y.granted(in.Role, in.Node) {
		return k, false
	}
	k.epoch = passed(y.circumstances.points, now)
	k.operation = uint8(slices.Index(operations[:], in.Operation))
	if k.claims, ok = y.claimsOf(in); !ok {
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
		if m.unusual || len(in.Node) > maxKeyText {
			return k, false
		}
		k.mentioned, k.since = in.Node, passed(m.points, now)
	}
	k.node, ok = y.nodes.of(in.Node)
	return k, ok
}

var operations = [...]string{decision.Collect, decision.Read, decision.Export}

// wellFormed reports whether a question is valid; it may refuse valid ones. It
// is [decision.Input.Validate] without words, except for claims and labels,
// which are checked where they are read, and the time.
func wellFormed(in *decision.Input) bool {
	if in.Metric == "" || in.Role == "" || !slices.Contains(operations[:], in.Operation) ||
		in.Operation != decision.Read && in.Node == "" {
		return false
	}
	if len(in.Claims) > decision.MaxClaims || len(in.Labels) > decision.MaxLabels ||
		len(in.Role)+len(in.Purpose)+len(in.Retention) > maxKeyText {
		return false
	}
	return name(in.Metric) && name(in.Node) && name(in.Role) && name(in.Purpose) && retention(in.Retention)
}

func name(s string) bool { return len(s) <= decision.MaxNameBytes && utf8.ValidString(s) }

// retention reports whether s is empty or matches ^[1-9][0-9]{0,5}[smhdwy]$.
func retention(s string) bool {
	if s == "" {
		return true
	}
	last := len(s) - 1
	return last >= 1 && last <= 6 && s[0] != '0' && digits(s[:last]) > 0 && strings.IndexByte("smhdwy", s[last]) >= 0
}

// claimsOf is the set of the role's required claims that are held.
func (y *keyer) claimsOf(in *decision.Input) (held uint64, ok bool) {
	required, known := y.required[in.Role]
	if len(required) > maxBits {
		return 0, false
	}
	for _, claim := range in.Claims {
		if !name(claim) {
			return 0, false
		}
		if !known {
			continue
		}
		if i, found := slices.BinarySearch(required, claim); found {
			held |= 1 << i
		}
	}
	return held, true
}

// labelsOf is the set of mentioned labels that have a value, as bits, and a
// number for the set of the others that count, which have no bit or match a
// forbidden glob; false when there are too many of these.
func (y *keyer) labelsOf(in *decision.Input) (present uint64, further uint32, ok bool) {
	var room [usualFurther]string
	names := room[:0]
	for label, value := range in.Labels {
		if !name(label) || !utf8.ValidString(value) {
			return 0, 0, false
		}
		if value == "" {
			continue
		}
		bit, mentioned := y.labels[label]
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

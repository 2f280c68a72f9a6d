package engine

import "crypto/sha256"

// family is what snapshots of one bundle have in common whose state documents differ
// in nothing but standings and revocations. Of these two sections, rules read the rows
// of the node that is asked about and no others. Within a family a number stands for
// a node with these rows, whatever the snapshot. So keys that are equal stand for
// questions with equal answers also across its snapshots: they share their answers.
type family struct {
	rest   [sha256.Size]byte // of the content of all other sections
	closed bool              // its numbers mean something in one snapshot alone
	said   interner          // nodes with what is said about them
	places interner
}

// sections by node, of which rules read one row.
const (
	sectionStanding    = "standing"
	sectionRevocations = "revocations"
)

func newFamily(state any) *family {
	document, ok := state.(map[string]any)
	if !ok {
		return &family{rest: sha256.Sum256(appendContent(nil, state))}
	}
	others := make(map[string]any, len(document))
	for name, section := range document {
		if name != sectionStanding && name != sectionRevocations {
			others[name] = section
		}
	}
	return &family{rest: sha256.Sum256(appendContent(nil, others))}
}

// continues reports whether a snapshot whose own family would be next may have this
// one.
func (l *family) continues(next *family) bool { return !l.closed && l.rest == next.rest }

// number numbers what is spoken of; false when there are too many numbers.
func (c *circumstances) number(state any) bool {
	document, _ := state.(map[string]any)
	standing, _ := table(document, sectionStanding)
	revocations, _ := table(document, sectionRevocations)
	var room [usualRow]byte
	for node, m := range c.mentions {
		content := appendText(room[:0], node)
		for _, rows := range []map[string]any{standing, revocations} {
			if row, said := rows[node]; said {
				content = appendContent(content, row)
			} else {
				content = append(content, '-') // with which no value begins
			}
		}
		sum := sha256.Sum256(content)
		var ok bool
		if m.number, ok = c.said.of(sum[:]); !ok {
			return false
		}
	}
	return true
}

// ordinals numbers what is spoken of in this snapshot alone.
func (c *circumstances) ordinals() {
	c.closed = true
	next := uint32(0)
	for _, m := range c.mentions {
		next++
		m.number = next
	}
}

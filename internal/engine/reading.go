package engine

import (
	"encoding/binary"

	"github.com/westworld-charter/charter/internal/decision"
)

// maxText is how long the texts of a question may be together that is remembered.
const maxText = 192

// reading is what a question says, before anything is looked up.
type reading struct {
	now     int64  // nanoseconds since 1970
	labels  uint64 // see key
	further uint32
	from    int // where in the text who asks begins
	size    int // of the text, 0 when it would be too long
	room    [maxText]byte
}

// text is the question without its time and without labels that make no difference:
// two with the same text differ in nothing else. It begins with the labels and the
// metric.
func (r *reading) text() []byte { return r.room[:r.size] }

// asker is the end of the text: who asks, and what for.
func (r *reading) asker() []byte { return r.room[r.from:r.size] }

// read reads a question; false when it must be evaluated.
func (y *keyer) read(in *decision.Input, r *reading) (ok bool) {
	if r.now, ok = instant(in.Time); !ok {
		return false
	}
	if len(in.Labels) > 0 {
		if r.labels, r.further, ok = y.labelsOf(in); !ok {
			return false
		}
	}
	// In front of the text are at most 13 bytes of labels, and each part has its length.
	size := 13 + 6 + len(in.Metric) + len(in.Node) + len(in.Role) + len(in.Operation) + len(in.Purpose) + len(in.Retention)
	for _, claim := range in.Claims {
		size += 1 + len(claim)
	}
	if size > maxText {
		return true
	}
	b := append(r.room[:0], 0)
	if r.labels != 0 || r.further != 0 {
		b[0] = 1
		b = binary.LittleEndian.AppendUint64(b, r.labels)
		b = binary.LittleEndian.AppendUint32(b, r.further)
	}
	b = appendShort(b, in.Metric)
	r.from = len(b)
	b = appendShort(b, in.Node)
	b = appendShort(b, in.Role)
	b = appendShort(b, in.Operation)
	b = appendShort(b, in.Purpose)
	b = appendShort(b, in.Retention)
	for _, claim := range in.Claims {
		b = appendShort(b, claim)
	}
	r.size = len(b)
	return true
}

// appendShort writes a text of less than 256 bytes after its length.
func appendShort(b []byte, s string) []byte { return append(append(b, byte(len(s))), s...) }

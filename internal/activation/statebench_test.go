package activation

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/committee"
	"github.com/westworld-charter/charter/internal/release"
)

// What it costs to tell of 10,000 quarantined nodes and 1,000 restored ones, and to
// believe it; a node verifies the requests of what it holds alone.
func BenchmarkState(b *testing.B) {
	all := newPeople(b)
	says := rows{}
	for i := range 10_000 {
		says[fmt.Sprintf("edge-%d", i)] = doc{"state": "quarantined", "reason": "v1, lifted by vote"}
	}
	d := encoded(b, doc{"standing": says})
	var signed []committee.Signed
	for i := range 1000 {
		signed = append(signed, all.sign(b, 2, noon(), committee.Request{Kind: committee.Restore, Node: fmt.Sprintf("core-%d", i)}))
	}
	s := newState(b, 2, d, signed...)
	archive, err := s.Archive()
	if err != nil {
		b.Fatal(err)
	}
	b.Run("write", func(b *testing.B) {
		for b.Loop() {
			s, err := bundle.NewState(2, d, s.Proofs())
			if err != nil {
				b.Fatal(err)
			}
			if _, err := s.Archive(); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(len(archive)), "bytes")
	})
	b.Run("read", func(b *testing.B) {
		for b.Loop() {
			if _, err := bundle.ReadState(bytes.NewReader(archive), bundle.Limits{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	p := release.State{Charter: "mesh", Sequence: 2, Issued: noon(), Expires: noon().Add(time.Hour)}
	before := holding{Standing: map[string]heldStanding{}}
	for i := range 1000 {
		before.Standing[fmt.Sprintf("core-%d", i)] = heldStanding{Stated: noon().Add(-time.Hour)}
	}
	for name, h := range map[string]holding{"believe": {}, "believe/verifying": before} {
		b.Run(name, func(b *testing.B) {
			c := all.charter(b)
			for b.Loop() {
				h, _, _ := h.next(s, p, "d", c, noon())
				if len(h.Standing) != 10_000 {
					b.Fatal(len(h.Standing))
				}
			}
		})
	}
}

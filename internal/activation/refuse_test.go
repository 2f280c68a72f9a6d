package activation

import (
	"slices"
	"testing"

	"github.com/westworld-charter/charter/tests/releases"
)

// Whatever is wrong with what is offered: it has its own code, the last good policy
// goes on deciding, the node says that it is degraded, and it is told once. So it stays
// over a restart, and ends with the next good release.
func TestRefuses(t *testing.T) {
	for _, tc := range releases.Cases() {
		t.Run(tc.Name, func(t *testing.T) {
			t.Parallel()
			s := releases.NewScene(t)
			s.PublishActive(t)
			n := newNode(t, s.Registry.Source(t, s.Ref))
			n.trust.Store(releases.Trust(t, releases.Channel, "", s.Key))
			n.start(t)
			n.poll(t)
			n.serves(t, 2)
			n.problem(t, "")
			n.take()

			before := s.Ref
			tc.Break(t, s)
			var started []string
			if s.Ref != before { // nodes are configured anew
				n.Source = s.Registry.Source(t, s.Ref)
				n.start(t)
				started = []string{"activated"}
			}
			for range 3 {
				if code := n.poll(t); code != tc.Code {
					t.Fatalf("code %q, want %q", code, tc.Code)
				}
			}
			n.serves(t, 2)
			n.problem(t, tc.Code)
			n.wantEvents(t, append(started, "refused "+tc.Code)...)

			n.start(t)
			n.poll(t)
			n.serves(t, 2)
			n.problem(t, tc.Code)
			n.wantEvents(t, "activated", "refused "+tc.Code)

			s.Heal(t)
			n.o.Source = s.Registry.Source(t, before)
			if code := n.poll(t); code != "" {
				t.Fatalf("the next good release: %q", code)
			}
			n.serves(t, 4)
			n.problem(t, "")
			if !slices.Contains(Codes(), tc.Code) {
				t.Errorf("%s is not among the codes", tc.Code)
			}
		})
	}
}

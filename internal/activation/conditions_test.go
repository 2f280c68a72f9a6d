package activation

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/westworld-charter/charter/internal/distribution"
	"github.com/westworld-charter/charter/tests/releases"
)

// alternating offers something else with each poll.
type alternating struct {
	offers []*releases.Made
	asked  atomic.Int64
}

func (s *alternating) Resolve(context.Context, distribution.Resolved, time.Duration) (distribution.Resolved, error) {
	m := s.offers[int(s.asked.Add(1)-1)%len(s.offers)]
	return distribution.Resolved{Digest: m.Digest(), Manifest: m.Manifest.Bytes(), Statements: m.Statements}, nil
}

func (s *alternating) Layer(context.Context, distribution.Resolved) ([]byte, error) {
	return nil, errors.New("nothing here is worth it")
}

// list are the events since the last call of take.
func (n *node) list() []Event {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.events)
}

// counting has what has no event of its own counted.
func counting(o *Options) *atomic.Int64 {
	n := new(atomic.Int64)
	o.Repeated = func(context.Context, Event) { n.Add(1) }
	return n
}

// A source that offers bad releases in turns has one event for each of them, up to a
// bound, and one with a count at the end of each hour; nothing is lost.
func TestReleasesThatAlternateAreFewEvents(t *testing.T) {
	for _, different := range []int{2, maxDistinct + 4} {
		var offers []*releases.Made
		for i := range different {
			m := offered(t, i+1, int64(i+1))
			m.Statements = nil
			offers = append(offers, m)
		}
		synctest.Test(t, func(t *testing.T) {
			source := &alternating{offers: offers}
			var counted *atomic.Int64
			n := runs(t, source, func(o *Options) { counted = counting(o) })
			pass(50 * time.Minute)
			first := min(different, maxDistinct)
			if got := n.take(); len(got) != first {
				t.Errorf("%d events, want the first of %d: %q", len(got), first, got)
			}
			if p := n.Status().Problems; len(p) != 1 || p[0].Repeats == 0 || p[0].Repeats != uint64(counted.Load()) {
				t.Errorf("%d were counted: %+v", counted.Load(), p)
			}
			pass(23*time.Hour + 10*time.Minute)
			if most := 24 * (first + 1); len(n.list()) > most {
				t.Errorf("%d events in a day, want at most %d", len(n.list()), most)
			}
			n.halt()
			told, single := int64(0), int64(first)
			for _, e := range n.list() {
				told += int64(e.Repeats)
				if e.Repeats == 0 {
					single++
				} else if e.Kind != EventRefused || e.Code != "unsigned" || !strings.Contains(e.Message, "times more within") {
					t.Errorf("%+v", e)
				}
			}
			if told != counted.Load() || told+single != source.asked.Load() {
				t.Errorf("%d polls: %d events, %d counted in events, %d by the one who counts", source.asked.Load(), single, told, counted.Load())
			}
		})
	}
}

// The last event says how it is now, whatever came and went in between.
func TestLastEventIsOfNow(t *testing.T) {
	for _, bad := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var events []Event
			o := Options{Record: func(_ context.Context, e Event) { events = append(events, e) }}
			o.defaults()
			c := newConditions(&o)
			wrong := Event{Part: PartPolicy, Kind: EventRefused, Code: "unsigned", Digest: "sha256:a"}
			for range 100 {
				c.set(t.Context(), keyPoll, wrong)
				c.clear(t.Context(), keyPoll)
			}
			if bad {
				c.set(t.Context(), keyPoll, wrong)
			}
			if len(events) != 2 {
				t.Fatalf("%d events", len(events))
			}
			<-time.After(repeatWindow)
			c.settle(t.Context(), false)
			want, repeats := EventRecovered, uint64(99)
			if bad {
				want, repeats = EventRefused, 100
			}
			if last := events[len(events)-1]; len(events) != 4 || last.Kind != want || last.Repeats != repeats {
				t.Errorf("%+v", events)
			}
			c.settle(t.Context(), true)
			if len(events) != 4 {
				t.Errorf("it is told twice: %+v", events)
			}
		})
	}
}

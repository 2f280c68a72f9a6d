package fleet

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// A node whose labels are others in each report wakes nobody but itself, costs a write a
// minute, and is in no more stages than its labels of a minute.
func TestLabelsThatAlternate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, writes := quick(), 0
		write := d.write
		d.write = func(path string, data []byte) error {
			if strings.HasSuffix(path, nodesFile) {
				writes++
			}
			return write(path, data)
		}
		dir := t.TempDir()
		f, err := openOn(d, Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		must(t)(f.Publish(t.Context(), "ana", []Release{signed(production, 1, "a")}))
		mustBegin(t, f, 1, everybody())
		if _, err := f.Promote(t.Context(), "ana", production); err != nil {
			t.Fatal(err)
		}
		must(t)(f.Publish(t.Context(), "ana", []Release{signed(production, 3, "b"), signed(production, 4, "a")}))
		stages := []Stage{{Labels: map[string]string{"env": "canary"}, Percent: 100, Soak: Duration(time.Hour)}, {Percent: 100}}
		for _, name := range []string{"fickle", "steady"} {
			f.mustReport(t, running(name, 1, time.Now()))
			offered(f, name)
		}
		mustBegin(t, f, 3, Plan{Stages: stages, Gates: DefaultGates()})
		_, others, _, _ := f.Offer(production, "steady")
		_, strangers, _, _ := f.Offer(production, "")
		_, own, _, _ := f.Offer(production, "fickle")
		writes = 0
		for i := range 6000 { // for ten minutes
			r := running("fickle", 1, time.Now())
			r.Labels = map[string]string{"site": fmt.Sprint(i)}
			f.mustReport(t, r)
			<-time.After(100 * time.Millisecond)
		}
		if closed(others) || closed(strangers) {
			t.Error("what a node says about itself wakes the others")
		}
		if !closed(own) {
			t.Error("a node is not told when its own labels count")
		}
		if writes < 1 || writes > 11 {
			t.Errorf("%d writes in ten minutes", writes)
		}

		// Another label that counts at once is one that a stage asks for; the one after
		// that has to wait.
		<-time.After(labelPause)
		r := running("fickle", 1, time.Now())
		r.Labels = map[string]string{"env": "edge"}
		f.mustReport(t, r)
		r.Labels = map[string]string{"env": "canary"}
		if got := f.mustReport(t, r); got.Sequence != 1 {
			t.Errorf("labels of the same minute count: offered %d", got.Sequence)
		}
		<-time.After(labelPause)
		f = open(t, Options{Dir: dir})
		_, own, _, _ = f.Offer(production, "fickle")
		if got := f.mustReport(t, r); got.Sequence != 3 {
			t.Errorf("after a minute the labels do not count: offered %d", got.Sequence)
		}
		if !closed(own) || offered(f, "fickle") != 3 || offered(f, "steady") != 1 {
			t.Error("the new canary is not woken, or not alone")
		}
	})
}

// A step of a rollout wakes everybody.
func TestStepWakesEverybody(t *testing.T) {
	f := released(t, newClock().options(t.TempDir()))
	var waiting []<-chan struct{}
	for _, name := range []string{"", "edge-1", "edge-2"} {
		_, changed, _, _ := f.Offer(production, name)
		waiting = append(waiting, changed)
	}
	mustBegin(t, f, 3, everybody())
	for i, changed := range waiting {
		if !closed(changed) {
			t.Errorf("waiter %d is not woken", i)
		}
	}
}

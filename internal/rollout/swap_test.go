package rollout

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/engine"
)

// While active policy, state and candidate are replaced all the time, every
// answer is that of the revision it names, and two policies of the same meaning
// are never seen to differ: no answer is compared with one of another state.
func TestSwapsUnderLoad(t *testing.T) {
	quarantined := map[string]any{"standing": map[string]any{"n1": map[string]any{"state": "quarantined"}}}
	actives := []*engine.Policy{edited(t), nil}
	twins := []*engine.Policy{edited(t, "1.0.0", "3.0.0"), nil} // means the same
	for _, pair := range [][]*engine.Policy{actives, twins} {
		var err error
		if pair[1], err = pair[0].WithState(t.Context(), quarantined); err != nil {
			t.Fatal(err)
		}
	}
	r := offered(t, twins[0], 50, Options{Queue: 64, Workers: 2, Threshold: Threshold{Kinds: Kinds(), Rate: 1}})
	var load, swaps sync.WaitGroup
	var stop atomic.Bool
	swaps.Go(func() {
		for i := 0; !stop.Load(); i++ {
			r.Swap(actives[i%2], twins[i%2])
			if i%7 == 0 {
				if err := r.Offer(twins[i%2], 50); err != nil {
					t.Error(err)
				}
			}
			_ = r.Status()
			_ = r.Stats()
		}
	})
	for g := range 4 {
		load.Go(func() {
			for i := range 500 {
				node := fmt.Sprintf("n%d", (g+i)%4)
				questions := []decision.Input{collect("load", node), collect("nothing", node)}
				for j, d := range append(r.DecideBatch(t.Context(), questions), ask(t, r, questions[0]), ask(t, r, questions[1])) {
					if want := j%2 == 0; d.Allow != want && d.Outcome != decision.Quarantined || !strings.HasPrefix(d.Revision, "trial-") {
						t.Errorf("%+v", d)
					}
				}
			}
		})
	}
	load.Wait()
	stop.Store(true)
	swaps.Wait()
	s := r.Stats()
	if s.Counts[None] == 0 {
		t.Errorf("nothing was compared: %+v", s)
	}
	s.Counts[None] = 0
	if s.Counts != [kinds]uint64{} {
		t.Errorf("twins differ: %v %+v", s.Counts, r.Status().Differences)
	}
}

// Whenever a policy is replaced between two answers, these are not compared, and
// the caller has the active one.
func TestAnswersAcrossASwapAreNotCompared(t *testing.T) {
	var r *Rollout
	asked := 0
	r = faked(t, 100, Options{}, func(context.Context, decision.Input) (decision.Decision, error) {
		asked++
		r.Swap(edited(t), nil)
		return decision.Decision{Allow: true, Outcome: decision.Allowed, Revision: "trial-2.0.0+x"}, nil
	})
	in := collect("latency", "n1")
	alone, batch := ask(t, r, in), r.DecideBatch(t.Context(), []decision.Input{in})[0]
	for _, d := range []decision.Decision{alone, batch} {
		if d.Allow {
			t.Errorf("%+v", d)
		}
	}
	late := question{input: in, active: alone, generation: r.generation.Load()}
	r.compare(r.running.Load(), &late) // replaced meanwhile
	r.compare(r.running.Load(), &late) // and long before
	if s := r.Stats(); asked != 3 || s.Counts != [kinds]uint64{} || s.Dropped != 4 {
		t.Errorf("asked %d times, %+v", asked, s)
	}
	r.generation.Add(1) // as if a policy were being replaced just now
	if d := ask(t, r, in); d.Allow || asked != 3 {
		t.Errorf("asked %d times, %+v", asked, d)
	}
	if d := r.DecideBatch(t.Context(), []decision.Input{in})[0]; d.Allow || asked != 3 {
		t.Errorf("asked %d times, %+v", asked, d)
	}
	r.generation.Add(1)
}

// Replaced, promoted and stopped from all sides, a rollout answers on.
func TestCandidatesUnderLoad(t *testing.T) {
	wide := widened(t)
	r := offered(t, wide, 100, Options{OnStop: func(string, Stop) {}, Threshold: Threshold{Kinds: []Kind{Widened}, Count: 50}})
	narrow := r.active.Current()
	var load, changes sync.WaitGroup
	var stop atomic.Bool
	changes.Go(func() {
		for i := 0; !stop.Load(); i++ {
			switch i % 4 {
			case 0:
				_ = r.Offer(wide, 100)
			case 1:
				_ = r.SetPercent(i % 101)
			case 2:
				_ = r.Stop(Stop{Code: Operator})
			case 3:
				_ = r.Offer(wide, 50)
				_, _, _ = r.Promote()
				r.Swap(narrow, nil)
			}
		}
	})
	revisions := sync.Map{}
	for range 4 {
		load.Go(func() {
			for i := range 1000 {
				d := ask(t, r, collect("latency", fmt.Sprintf("n%d", i)))
				if d.Allow != (d.Revision == wide.Revision()) {
					t.Errorf("%+v", d)
				}
				revisions.Store(d.Revision, true)
			}
		})
	}
	load.Wait()
	stop.Store(true)
	changes.Wait()
	r.Close()
	if err := r.Offer(wide, 100); err != nil || r.Candidate() != nil {
		t.Errorf("a candidate after the end: %v", err)
	}
}

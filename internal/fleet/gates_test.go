package fleet

import (
	"fmt"
	"maps"
	"math"
	"testing"
	"testing/synctest"
	"time"
)

// canaries begins a rollout to so many nodes with a label, and returns their names.
func (w *world) canaries(count int, change func(*Plan)) []string {
	w.Helper()
	var names []string
	for i := range count {
		name := fmt.Sprintf("edge-%d", i)
		w.nodes[name].labels = map[string]string{"env": "canary"}
		names = append(names, name)
	}
	w.pass(time.Minute)
	p := staged()
	p.Stages[0] = Stage{Labels: map[string]string{"env": "canary"}, Percent: 100, Soak: Duration(10 * time.Minute)}
	if change != nil {
		change(&p)
	}
	mustBegin(w, w.f, 3, p)
	return names
}

// However often one node reports, it counts once: alone it neither has a release rolled
// back nor brings it to the next stage.
func TestOneNodeCountsOnce(t *testing.T) {
	for name, fault := range map[string]*Fault{"all is well": nil, "all is bad": {Code: "self_test_failed"}} {
		t.Run(name, func(t *testing.T) {
			simulate(t, 12, func(w *world) {
				names := w.canaries(6, func(p *Plan) { p.Gates.Nodes = 3 })
				liar, now := names[0], time.Now()
				for range 500 { // all of it before another canary has said a word
					offered(w.f, liar)
					r := running(liar, 3, now)
					r.Labels, r.Status.LastError, r.Decisions.P99 = map[string]string{"env": "canary"}, fault, 60
					w.f.mustReport(w, r)
				}
				if err := w.f.look(w.Context(), production); err != nil {
					w.Fatal(err)
				}
				p := latest(w, w.f)
				if p.State != Running || p.Stage != 0 || p.Measures.Heard != 1 || p.Measures.Needed != 3 || p.Measures.Waits != WaitsForNodes {
					w.Fatalf("%s in stage %d: %+v", p.State, p.Stage, p.Measures)
				}
				for _, other := range names[1:] { // who is silent has been heard; here nobody says anything
					delete(w.nodes, other)
				}
				<-time.After(10*time.Minute + time.Second)
				if p := latest(w, w.f); p.Stage != 0 {
					w.Errorf("one node alone brought the release to stage %d: %+v", p.Stage, p.Measures)
				}
			})
		})
	}
}

// One bad node among several holds a stage up where its share is too large, and has
// nothing rolled back; two of them do.
func TestOneBadNodeRollsNothingBack(t *testing.T) {
	bad := map[string]func(n *simulated){
		GateErrors:     func(n *simulated) { n.fails = 3 },
		GateViolations: func(n *simulated) { n.denies = map[int64]uint64{3: 100} },
		GateLatency:    func(n *simulated) { n.slow = map[int64]float64{3: 3000} },
	}
	for gate, spoil := range bad {
		for _, count := range []int{1, 2} {
			t.Run(fmt.Sprint(gate, " ", count), func(t *testing.T) {
				simulate(t, 12, func(w *world) {
					canaries := 3
					if gate == GateLatency {
						canaries = 2 // the median of three is that of a good one
					}
					for i := range count {
						spoil(w.nodes[fmt.Sprintf("edge-%d", i)])
					}
					w.canaries(canaries, nil)
					w.pass(30 * time.Minute)
					p := latest(w, w.f)
					if count == 2 {
						if p.State != RolledBack || p.Cause == nil || p.Cause.Gate != gate {
							w.Fatalf("%s in stage %d, cause %+v: %+v", p.State, p.Stage, p.Cause, p.Measures)
						}
						return
					}
					if p.State != Running || p.Stage != 0 || p.Measures.Waits != gate {
						w.Fatalf("%s in stage %d: %+v", p.State, p.Stage, p.Measures)
					}
					// A person who has looked at it goes on; among many it has no weight.
					for range 2 {
						if _, err := w.f.Promote(w.Context(), "ana", production); err != nil {
							w.Fatal(err)
						}
					}
					w.pass(time.Minute)
					if p := latest(w, w.f); p.State != Running || p.Stage != 2 {
						w.Errorf("%s in stage %d: %+v", p.State, p.Stage, p.Measures)
					}
				})
			})
		}
		t.Run(gate+" where one may decide", func(t *testing.T) {
			simulate(t, 12, func(w *world) {
				spoil(w.nodes["edge-0"])
				w.canaries(1, func(p *Plan) { p.Gates.Nodes = 1 })
				w.pass(9 * time.Minute)
				if p := latest(w, w.f); p.State != RolledBack || p.Cause == nil || p.Cause.Gate != gate {
					w.Fatalf("%s: %+v", p.State, p.Measures)
				}
			})
		})
	}
}

// One node that has what was before cannot make a bad release look good, when only few
// of its kind are left.
func TestOneOldNodeIsNoBaseline(t *testing.T) {
	simulate(t, 20, func(w *world) {
		w.spoilt(func(n *simulated) {
			n.denies, n.slow = map[int64]uint64{1: 1, 3: 1}, map[int64]float64{1: 0.001, 3: 0.001}
		})
		w.canaries(4, func(p *Plan) { p.Stages[1] = Stage{Percent: 99, Soak: Duration(10 * time.Minute)} })
		w.pass(11 * time.Minute)
		p := latest(w, w.f)
		if p.Stage != 1 || p.Denied == nil || *p.Denied > 0.02 {
			w.Fatalf("stage %d remembers no baseline: %+v", p.Stage, p.Rollout)
		}
		all := float64(1)
		if got := before(&all, p.Denied, true); *got != *p.Denied {
			w.Error("few nodes count more than many did")
		}
		if got := before(&all, p.Denied, false); *got != all {
			w.Error("many nodes count less than what was before")
		}
		if got := before(&all, nil, true); *got != all {
			w.Error("a few are better than nothing")
		}
	})
}

// What is asked of one node alone is not enough to compare shares of questions.
func TestOneNodeIsNotAllDecisions(t *testing.T) {
	nodes := []Decisions{{Total: math.MaxUint64, Denied: math.MaxUint64}, {Total: 1}, {Total: 2}}
	if got := denied(nodes, 100); got != nil {
		t.Errorf("a share of %g from five questions and a lie", *got)
	}
}

// A node that reports and does not take what it is told to take is not waited for.
func TestNobodyWaitsForWhoDoesNotTakeIt(t *testing.T) {
	simulate(t, 12, func(w *world) {
		names := w.canaries(3, nil)
		stubborn := w.nodes[names[0]]
		delete(w.nodes, stubborn.name)
		for range 24 {
			r := running(stubborn.name, 1, time.Now())
			r.Labels = stubborn.labels
			w.f.mustReport(w, r)
			w.pass(30 * time.Second)
		}
		if p := latest(w, w.f); p.Stage == 0 {
			w.Errorf("still in stage 0: %+v", p.Measures)
		}
	})
}

// A release that nobody takes has not been tried: its stage is not passed by waiting.
func TestWhatNobodyTakesIsNotDone(t *testing.T) {
	simulate(t, 12, func(w *world) {
		w.canaries(3, nil)
		stubborn := maps.Clone(w.nodes)
		clear(w.nodes)
		for range 24 {
			for name, n := range stubborn {
				r := running(name, 1, time.Now())
				r.Labels = n.labels
				w.f.mustReport(w, r)
			}
			w.pass(30 * time.Second)
		}
		if p := latest(w, w.f); p.State != Running || p.Stage != 0 || p.Measures.Waits != WaitsForNodes {
			w.Errorf("%s in stage %d: %+v", p.State, p.Stage, p.Measures)
		}
	})
}

// While the server is down nobody can report to it: that is no silence of the nodes.
func TestServerThatWasDownRollsNothingBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		f := released(t, Options{Dir: dir})
		mustBegin(t, f, 3, Plan{Stages: []Stage{{Percent: 100, Soak: Duration(24 * time.Hour)}}, Gates: DefaultGates()})
		for range 3 {
			for i := range 12 {
				name := fmt.Sprintf("edge-%d", i)
				f.mustReport(t, running(name, offered(f, name), time.Now()))
			}
			<-time.After(30 * time.Second)
		}
		if err := f.saveAll(); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Hour)
		f = open(t, Options{Dir: dir})
		if err := f.look(t.Context(), production); err != nil {
			t.Fatal(err)
		}
		if p := latest(t, f); p.State == RolledBack {
			t.Fatalf("%+v for %+v", p.State, p.Cause)
		}
		<-time.After(10 * time.Minute) // but now they are silent
		if err := f.look(t.Context(), production); err != nil {
			t.Fatal(err)
		}
		if p := latest(t, f); p.State != RolledBack {
			t.Errorf("%s: %+v", p.State, p.Measures)
		}
	})
}

package rollout

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/engine"
)

// In shadow callers see nothing of the candidate, and reviewers see every kind of
// difference.
func TestShadowCountsByKind(t *testing.T) {
	next := edited(t, "1.0.0", "2.0.0", "match: [load], access: public, retention: 30d", "match: [latency, load], access: public, retention: 7d",
		"match: [map]", "match: [chart]", "reason: for now", "reason: for ever")
	r := offered(t, next, 0, Options{})
	for metric, want := range map[string]bool{"load": true, "latency": false, "map": true, "plain": false, "a_secret": false} {
		if d := ask(t, r, collect(metric, "n1")); d.Allow != want || !strings.HasPrefix(d.Revision, "trial-1.0.0+") {
			t.Errorf("%s: %+v", metric, d)
		}
	}
	s := counted(t, r, 5)
	if want := [kinds]uint64{None: 1, Widened: 1, Narrowed: 1, Obligations: 1, Explanation: 1}; s.Counts != want || s.Dropped != 0 || s.Percent != 0 {
		t.Errorf("%+v, want %v", s, want)
	}
	st := r.Status()
	if st.Revision != next.Revision() || st.Digest != next.Charter().Digest() || st.Counts["widened"] != 1 || len(st.Differences) != 4 || st.Stopped != nil {
		t.Errorf("%+v", st)
	}
	for _, d := range st.Differences {
		if d.Difference == "widened" && (d.Metric != "latency" || d.Node != "n1" || d.Role != "operator" || d.Operation != "collect" ||
			d.Active != (Side{"unknown_metric", "default"}) || d.Candidate != (Side{"allowed", "core.load"}) || d.Count != 1) {
			t.Errorf("%+v", d)
		}
	}
}

// A candidate that hangs or floods costs callers nothing, and is not silent.
func TestFullQueueDrops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := func(ctx context.Context, _ decision.Input) (decision.Decision, error) {
			<-ctx.Done()
			return decision.Decision{}, ctx.Err()
		}
		r := faked(t, 0, Options{Queue: 3, Timeout: time.Minute}, hang)
		start := time.Now()
		ask(t, r, collect("load", "n1"))
		synctest.Wait() // the worker holds it
		for range 10 {
			ask(t, r, collect("load", "n1"))
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("callers waited %s for a candidate that answers nobody", took)
		}
		if s := r.Stats(); s.Dropped != 7 {
			t.Errorf("%+v, want 7 dropped", s)
		}
		<-time.After(2 * time.Minute)
		synctest.Wait()
		if s := r.Stopped(); s == nil || s.Code != EvaluationError {
			t.Errorf("a candidate that takes for ever: %+v", s)
		}
		r.Close()
	})
}

// Whatever happens inside a candidate, callers get the active answer and the
// candidate is out.
func TestFailingCandidateIsOut(t *testing.T) {
	failures := map[string]fake{
		"error": func(context.Context, decision.Input) (decision.Decision, error) {
			return decision.Undetermined("trial-2.0.0+x", "no"), errors.New("conflict")
		},
		"panic": func(context.Context, decision.Input) (decision.Decision, error) { panic("index out of range") },
	}
	for name, f := range failures {
		for _, percent := range []int{0, 100} {
			for _, batch := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s at %d %%, batch %t", name, percent, batch), func(t *testing.T) {
					var told []Stop
					var mu sync.Mutex
					r := faked(t, percent, Options{OnStop: func(_ string, s Stop) { mu.Lock(); told = append(told, s); mu.Unlock() }}, f)
					for range 3 {
						d := r.DecideBatch(t.Context(), []decision.Input{collect("load", "n1")})[0]
						if !batch {
							d = ask(t, r, collect("load", "n1"))
						}
						if !d.Allow || !strings.HasPrefix(d.Revision, "trial-1.0.0+") {
							t.Errorf("%+v", d)
						}
					}
					for deadline := time.Now().Add(10 * time.Second); r.Stopped() == nil && time.Now().Before(deadline); {
						<-time.After(time.Millisecond)
					}
					r.Close() // the workers have told
					if len(told) != 1 || told[0].Code != EvaluationError || told[0].Err == nil {
						t.Errorf("told %+v", told)
					}
				})
			}
		}
	}
}

// A caller that leaves is no failure of the candidate.
func TestCallersThatLeaveStopNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r := faked(t, 100, Options{}, func(inner context.Context, in decision.Input) (decision.Decision, error) {
		if inner == ctx {
			cancel()
			return decision.Undetermined("trial-2.0.0+x", "canceled"), ctx.Err()
		}
		return decision.Decision{Allow: true, Outcome: decision.Allowed, Revision: "trial-2.0.0+x"}, nil
	})
	d, err := r.Decide(ctx, collect("load", "n1"))
	if err != nil || !d.Allow || !strings.HasPrefix(d.Revision, "trial-1.0.0+") {
		t.Errorf("%+v %v", d, err)
	}
	counted(t, r, 1) // by a worker, later
	if s := r.Stopped(); s != nil {
		t.Errorf("stopped: %+v", s)
	}
}

func TestWrongCacheStops(t *testing.T) {
	r := offered(t, widened(t), 100, Options{})
	if d := ask(t, r, collect("latency", "n1")); !d.Allow {
		t.Errorf("%+v", d)
	}
	r.cacheFailed(r.running.Load())
	if d := ask(t, r, collect("latency", "n1")); d.Allow || r.Stopped().Code != CacheMismatch || !r.Stats().Stopped || r.Stats().Percent != 0 {
		t.Errorf("%+v %+v", d, r.Stats())
	}
}

// Enough wrong answers within the window end the trial for all nodes at once;
// what is older, too few, or a small share does not.
func TestThreshold(t *testing.T) {
	limit := Threshold{Kinds: []Kind{Widened}, Rate: 0.5, Count: 3, Window: time.Minute}
	told := 0
	run := func(name string, play func(t *testing.T, r *Rollout), want string) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				told = 0
				r := faked(t, 100, Options{Threshold: limit, OnStop: func(string, Stop) { told++ }}, func(_ context.Context, in decision.Input) (decision.Decision, error) {
					return decision.Decision{Allow: in.Metric == "latency", Outcome: "x", Revision: "trial-2.0.0+x"}, nil
				})
				play(t, r)
				got := ""
				if s := r.Stopped(); s != nil {
					got = s.Code
				}
				if got != want {
					t.Errorf("stopped %q, want %q", got, want)
				}
				r.Close()
				<-time.After(time.Minute) // the workers of the engine end when they are idle
			})
		})
	}
	wrong := func(t *testing.T, r *Rollout) { ask(t, r, collect("latency", "n1")) }
	right := func(t *testing.T, r *Rollout) { ask(t, r, collect("other", "n1")) }
	run("too few", func(t *testing.T, r *Rollout) { wrong(t, r); wrong(t, r) }, "")
	run("enough", func(t *testing.T, r *Rollout) {
		wrong(t, r)
		wrong(t, r)
		if d := ask(t, r, collect("latency", "n1")); d.Allow {
			t.Error("the question that was one too many is answered by the candidate")
		}
		if d := ask(t, r, collect("latency", "n2")); d.Allow || told != 1 {
			t.Errorf("%+v, told %d times", d, told)
		}
		if err := r.SetPercent(1); !errors.Is(err, ErrStopped) {
			t.Errorf("a stopped candidate gets a percentage: %v", err)
		}
		if _, _, err := r.Promote(); !errors.Is(err, ErrStopped) {
			t.Errorf("a stopped candidate is promoted: %v", err)
		}
		if s := r.Stopped(); !strings.Contains(s.Message, "3 of 3 questions compared within 1m0s were widened") || s.Since != time.Now().UTC() {
			t.Errorf("%+v", s)
		}
	}, ThresholdReached)
	run("a small share", func(t *testing.T, r *Rollout) {
		for range 5 {
			right(t, r)
			wrong(t, r)
		}
	}, "")
	run("long ago", func(t *testing.T, r *Rollout) {
		wrong(t, r)
		wrong(t, r)
		for _, later := range []time.Duration{time.Minute + time.Second, time.Minute + 15*time.Second} {
			<-time.After(later) // in the place of the old part, or beside it
			wrong(t, r)
			wrong(t, r)
		}
	}, "")
	run("the whole batch is that of one policy", func(t *testing.T, r *Rollout) {
		in := collect("latency", "n1")
		for i, d := range r.DecideBatch(t.Context(), []decision.Input{collect("other", "n1"), in, in, in}) {
			if !strings.HasPrefix(d.Revision, "trial-1.0.0+") {
				t.Errorf("answer %d is of a candidate that was stopped before the batch was answered: %+v", i, d)
			}
		}
	}, ThresholdReached)
	run("a new beginning", func(t *testing.T, r *Rollout) {
		wrong(t, r)
		wrong(t, r)
		for _, percent := range []int{0, 100} {
			if err := r.SetPercent(percent); err != nil {
				t.Fatal(err)
			}
		}
		wrong(t, r)
		wrong(t, r)
		r.Swap(edited(t, "1.0.0", "1.1.0"), nil)
		wrong(t, r)
		wrong(t, r)
	}, "")
	run("another state is none", func(t *testing.T, r *Rollout) {
		wrong(t, r)
		wrong(t, r)
		r.Swap(edited(t), nil) // nodes can bring that about
		wrong(t, r)
	}, "threshold")
	run("a higher percentage is no new beginning", func(t *testing.T, r *Rollout) {
		wrong(t, r)
		wrong(t, r)
		if err := r.SetPercent(99); err != nil {
			t.Fatal(err)
		}
		wrong(t, r)
		synctest.Wait() // its node may be the active policy's now
	}, ThresholdReached)
	run("over the edge of a part", func(t *testing.T, r *Rollout) {
		for range 3 {
			wrong(t, r)
			<-time.After(15 * time.Second)
		}
	}, ThresholdReached)
	run("in shadow nothing is at stake", func(t *testing.T, r *Rollout) {
		if err := r.SetPercent(0); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			wrong(t, r)
		}
		synctest.Wait()
		if n := r.Stats().Counts[Widened]; n != 10 {
			t.Errorf("%d counted", n)
		}
		if err := r.SetPercent(100); err != nil {
			t.Fatal(err)
		}
		wrong(t, r)
	}, "")
	run("asked in shadow and compared as a canary", func(t *testing.T, r *Rollout) {
		if err := r.SetPercent(0); err != nil {
			t.Fatal(err)
		}
		in := collect("latency", "n1")
		d, _ := r.active.Decide(t.Context(), in)
		late := question{input: in, active: d, generation: r.generation.Load()}
		if err := r.SetPercent(100); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			r.compare(r.running.Load(), &late)
		}
	}, "")
	run("nodes of the active policy count too", func(t *testing.T, r *Rollout) {
		if err := r.SetPercent(1); err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			ask(t, r, collect("latency", fmt.Sprintf("edge-%d", i)))
		}
		synctest.Wait()
	}, ThresholdReached)
	run("by hand", func(t *testing.T, r *Rollout) {
		if err := r.Stop(Stop{Code: Operator, Message: "enough"}); err != nil {
			t.Fatal(err)
		}
		if err := r.Stop(Stop{Code: Operator}); !errors.Is(err, ErrStopped) {
			t.Errorf("twice: %v", err)
		}
	}, Operator)
}

// A protected entry of the active charter holds for canary nodes although the
// candidate has none.
func TestPromisesHold(t *testing.T) {
	next := edited(t, "1.0.0", "2.0.0", "match: [load]", `match: [load, "*_secret", plain]`, ", labels: {drop: [place]}", "",
		`  - {id: f.secret, match: ["*_secret"], labels: [secret], severity: high, reason: secret, protected: true}`+"\n", "",
		`  - {id: f.place, labels: ["pl*ce"], severity: high, reason: places, protected: true, droppable: true}`+"\n", "",
		`match: ["plain"]`, `match: ["plainer"]`)
	r := offered(t, next, 100, Options{})
	for name, c := range map[string]struct {
		in       decision.Input
		revision string
		allow    bool
	}{
		"a protected name":               {collect("a_secret", "n1"), "trial-1", false},
		"a protected label":              {labelled(collect("load", "n1"), map[string]string{"secret": "s"}), "trial-1", false},
		"a label that must be dropped":   {collect("map", "n1"), "trial-1", true},
		"an entry that is no promise":    {collect("plain", "n1"), "trial-2", true},
		"nothing that was ever promised": {collect("load", "n1"), "trial-2", true},
	} {
		alone, batch := ask(t, r, c.in), r.DecideBatch(t.Context(), []decision.Input{c.in})[0]
		for _, d := range []decision.Decision{alone, batch} {
			if d.Allow != c.allow || !strings.HasPrefix(d.Revision, c.revision) {
				t.Errorf("%s: %+v", name, d)
			}
		}
	}
	if r.Stopped() != nil {
		t.Errorf("%+v", r.Stopped())
	}
	forbidden, err := r.active.Decide(t.Context(), collect("plain", "n1"))
	if err != nil {
		t.Fatal(err)
	}
	mapped := ask(t, r, collect("map", "n1"))
	for _, other := range []*promises{nil, {revision: "another"}} {
		for _, d := range []decision.Decision{forbidden, mapped} {
			if !other.broken(&d, &decision.Decision{Allow: true}) {
				t.Errorf("nobody knows what was promised, and %s is allowed", d.Clause)
			}
		}
	}
}

// What is kept for reviewers is bounded, distinct, and has no label value in it.
func TestRecentDifferences(t *testing.T) {
	r := offered(t, widened(t), 100, Options{})
	for i := range maxRecent + 50 {
		for range 2 {
			ask(t, r, labelled(collect("latency", fmt.Sprintf("n%d", i)), map[string]string{"cpu": "forty-two"}))
		}
	}
	all := r.Status().Differences
	if len(all) != maxRecent || all[0].Count != 2 || len(r.running.Load().recent.known) != maxRecent {
		t.Errorf("%d kept, the first %+v", len(all), all[0])
	}
	seen := map[string]bool{}
	for _, d := range all {
		seen[d.Node] = true
	}
	if len(seen) != maxRecent || seen["n49"] || !seen["n50"] || strings.Contains(fmt.Sprint(all), "forty-two") {
		t.Errorf("%d nodes: %v", len(seen), all)
	}
	in := labelled(collect("latency", "n1"), map[string]string{"cpu": "forty-two", "absent": ""})
	if names := namesOf(in.Labels); len(names) != 1 || names["cpu"] == "forty-two" || names["cpu"] == "" {
		t.Errorf("workers see %v", names)
	}
}

func TestPromote(t *testing.T) {
	next := widened(t)
	r := offered(t, next, 0, Options{})
	previous, promoted, err := r.Promote()
	if err != nil || promoted != next || previous.Revision() == next.Revision() || r.active.Current() != next || r.Status() != nil || r.Candidate() != nil {
		t.Errorf("%v", err)
	}
	if d := ask(t, r, collect("latency", "n1")); !d.Allow {
		t.Errorf("%+v", d)
	}
	for _, err := range []error{r.SetPercent(1), r.Stop(Stop{})} {
		if !errors.Is(err, ErrNoCandidate) {
			t.Errorf("without a candidate: %v", err)
		}
	}
	if _, _, err := r.Promote(); !errors.Is(err, ErrNoCandidate) {
		t.Errorf("twice: %v", err)
	}
}

func TestWithoutPolicy(t *testing.T) {
	r := New(engine.New(), Options{})
	defer r.Close()
	if err := r.Offer(widened(t), 100); err != nil {
		t.Fatal(err)
	}
	if d := ask(t, r, collect("load", "n1")); d.Outcome != decision.NoPolicy || r.Stats().Counts != [kinds]uint64{} {
		t.Errorf("%+v: a candidate answers although there is nothing to compare it with", d)
	}
	invalid := collect("load", "n1")
	invalid.Operation = "steal"
	r.Swap(edited(t), nil)
	if d := ask(t, r, invalid); d.Outcome != decision.InvalidRequest || r.Stats().Counts != [kinds]uint64{} {
		t.Errorf("%+v", d)
	}
}

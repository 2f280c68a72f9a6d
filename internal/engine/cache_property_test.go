package engine_test

import (
	"errors"
	"flag"
	"maps"
	"os"
	"reflect"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/engine"
)

// An answer from the cache must be the one that an evaluation gives, whatever
// the charter, the state and the question, and whatever was asked and swapped
// before. CHARTER_LONG=1 asks a million questions.
func TestCachedIsUncached(t *testing.T) {
	charters, states, questions := 10, 2, 25
	if os.Getenv("CHARTER_LONG") != "" {
		charters, states, questions = 1000, 2, 250
	}
	if err := errors.Join(flag.Set("rapid.checks", strconv.Itoa(charters)), flag.Set("rapid.shrinktime", "10s")); err != nil {
		t.Fatal(err)
	}
	e := engine.NewWith(engine.Options{VerifyEvery: -1})
	asked, kept, progress := 0, 0, t.Logf // a long run that says nothing looks like one that hangs
	rapid.Check(t, func(t *rapid.T) {
		p, err := engine.Prepare(t.Context(), build(t, worldCharter(t)), nil)
		if err != nil {
			t.Fatal(err)
		}
		if p.Uncached() != "" {
			t.Fatalf("nothing is cached: %s", p.Uncached())
		}
		templates := rapid.SliceOfN(rapid.Custom(worldQuestion), 2, 5).Draw(t, "templates")
		for range states {
			state := worldState(t)
			for range 3 { // of which the later ones keep the answers
				if p, err = p.WithState(t.Context(), state); err != nil {
					t.Fatal(err)
				}
				before := e.Current()
				if e.Swap(p); before != nil && e.Stats().Entries > 0 {
					kept++
				}
				if asked += compareAll(t, e, p, templates, questions); asked%100_000 == 0 {
					progress("%d questions: %+v", asked, e.Stats())
				}
				state = other(t, state)
			}
		}
	})
	if kept*5 < asked/questions {
		t.Errorf("only %d of the states kept answers of the one before: the test says little", kept)
	}
	s := e.Stats()
	t.Logf("%d questions: %+v", asked, s)
	if int(s.Hits)*5 < asked {
		t.Errorf("only %d hits of %d questions: the test says little", s.Hits, asked)
	}
}

// other is a state that says the same of all but standings and revocations, or of all
// but one other section.
func other(t *rapid.T, state object) object {
	next, drawn := maps.Clone(state), worldState(t)
	sections := []string{"standing", "revocations"}
	maybe(t, "more", 3, func() { sections = []string{one(t, "section", "overrides", "grants", "nodes", "expires")} })
	for _, section := range sections {
		delete(next, section)
		if rows, given := drawn[section]; given && next != nil {
			next[section] = rows
		}
	}
	return next
}

// compareAll asks questions that differ from a few templates in metric, node and
// time, alone and in batches, and returns how many.
func compareAll(t *rapid.T, e *engine.Engine, p *engine.Policy, templates []decision.Input, n int) int {
	var batch, all []decision.Input
	var want []decision.Decision
	for range n {
		in := templates[rapid.IntRange(0, len(templates)-1).Draw(t, "template")]
		if in.Metric != "" && in.Time != "" && in.Node != "" {
			in.Metric, in.Node, in.Time = one(t, "metric", worldMetrics...), one(t, "node", worldNodes...), one(t, "time", instants...)
		}
		uncached, _ := p.Decide(t.Context(), in)
		uncached = p.Locate(uncached)
		cached, _ := e.Decide(t.Context(), in)
		same(t, in, cached, uncached)
		all, want = append(all, in), append(want, uncached)
	}
	batch = append(all, all[:n/10]...)
	for i, cached := range e.DecideBatch(t.Context(), batch) {
		same(t, batch[i], cached, want[i%n])
	}
	return n
}

// same compares what the rules decide, and where: an engine also adds an id and a
// suggestion.
func same(t *rapid.T, in decision.Input, cached, uncached decision.Decision) {
	if cached.DecisionID == "" {
		t.Fatal("no id")
	}
	cached.DecisionID, cached.Suggestion = "", ""
	if !reflect.DeepEqual(cached, uncached) {
		t.Fatalf("%+v:\n  cached %+v\nuncached %+v", in, cached, uncached)
	}
}

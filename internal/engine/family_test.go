package engine

import (
	"fmt"
	"testing"

	"github.com/westworld-charter/charter/internal/decision"
)

// A standing of one node costs the others nothing: what was kept about them holds.
func TestStandingKeepsAnswers(t *testing.T) {
	p := compiled(t, doc{"sequence": 1, "standing": doc{"edge-2": doc{"state": "suspended"}}})
	e := active(p, Options{VerifyEvery: -1})
	about := func(node string) string {
		t.Helper()
		d, err := e.Decide(t.Context(), with(func(in *decision.Input) { in.Node = node }))
		if err != nil {
			t.Fatal(err)
		}
		return d.Outcome
	}
	swap := func(state doc) {
		t.Helper()
		next, err := e.Current().WithState(t.Context(), state)
		if err != nil {
			t.Fatal(err)
		}
		e.Swap(next)
	}
	misses := func() uint64 { return e.Stats().Misses }
	if about("edge-1") != decision.Allowed || about("edge-2") != decision.Suspended {
		t.Fatal("the charter of the test is another one")
	}
	before := misses()
	swap(doc{"sequence": 1, "standing": doc{"edge-3": doc{"state": "quarantined"}}, "revocations": doc{"edge-4": doc{"reason": "left"}}})
	for node, want := range map[string]string{"edge-1": decision.Allowed, "edge-2": decision.Allowed, "edge-5": decision.Allowed} {
		if got := about(node); got != want {
			t.Errorf("%s: %s, want %s", node, got, want)
		}
	}
	if got := misses(); got != before {
		t.Errorf("%d answers were forgotten", got-before)
	}
	for node, want := range map[string]string{"edge-3": decision.Quarantined, "edge-4": decision.Denied} {
		if got := about(node); got != want {
			t.Errorf("%s: %s, want %s", node, got, want)
		}
	}
	before = misses()
	swap(doc{"sequence": 1, "standing": doc{"edge-2": doc{"state": "suspended"}}}) // as it was
	if got := about("edge-2"); got != decision.Suspended || misses() != before {
		t.Errorf("%s with %d evaluations, what was kept about it holds again", got, misses()-before)
	}
	swap(doc{"sequence": 2, "standing": doc{"edge-2": doc{"state": "suspended"}}})
	if about("edge-1"); misses() == before {
		t.Error("answers were kept although something else changed")
	}
}

// An evaluation that ends after a swap adds an answer of the state before. It must not
// be given to anybody whom it does not hold for.
func TestLateAnswerOfTheStateBefore(t *testing.T) {
	e := active(compiled(t, doc{"standing": doc{"edge-2": doc{"state": "suspended"}}}), Options{VerifyEvery: -1})
	old := e.active.Load()
	next, err := e.Current().WithState(t.Context(), doc{"standing": doc{"edge-3": doc{"state": "suspended"}}})
	if err != nil {
		t.Fatal(err)
	}
	e.Swap(next)
	for _, node := range []string{"edge-1", "edge-2", "edge-3"} {
		in := with(func(in *decision.Input) { in.Node = node })
		if _, _, err := old.decide(t.Context(), &in); err != nil {
			t.Fatal(err)
		}
	}
	for node, want := range map[string]string{"edge-1": decision.Allowed, "edge-2": decision.Allowed, "edge-3": decision.Suspended} {
		d, err := e.Decide(t.Context(), with(func(in *decision.Input) { in.Node = node }))
		if err != nil || d.Outcome != want {
			t.Errorf("%s: %s, want %s (%v)", node, d.Outcome, want, err)
		}
	}
}

// More than can be numbered is cached all the same, for one state at a time.
func TestTooManyStandings(t *testing.T) {
	standing := doc{}
	for i := range maxClasses + 10 {
		standing[fmt.Sprintf("node-%d", i)] = doc{"state": "suspended"}
	}
	e := active(compiled(t, doc{"standing": standing}), Options{VerifyEvery: -1})
	for range 2 {
		for node, want := range map[string]string{"node-1": decision.Suspended, fmt.Sprintf("node-%d", maxClasses+1): decision.Suspended, "edge-1": decision.Allowed} {
			if d, err := e.Decide(t.Context(), with(func(in *decision.Input) { in.Node = node })); err != nil || d.Outcome != want {
				t.Errorf("%s: %s, want %s (%v)", node, d.Outcome, want, err)
			}
		}
		next, err := e.Current().WithState(t.Context(), doc{"standing": standing})
		if err != nil {
			t.Fatal(err)
		}
		if e.Swap(next); e.Stats().Entries > 0 {
			t.Error("answers were kept under numbers that mean something else")
		}
	}
	if e.Stats().Bypassed > 0 || e.Stats().Off != "" {
		t.Errorf("%+v", e.Stats())
	}
}

func BenchmarkWithState(b *testing.B) {
	for _, n := range []int{10, 1000, 10_000} {
		standing := doc{}
		for i := range n {
			standing[fmt.Sprintf("node-%d.example.org", i)] = doc{"state": "suspended", "reason": "v1234567, ends 2026-11-23T05:00:00Z"}
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			e := active(compiled(b, doc{"standing": standing}), Options{})
			for b.Loop() {
				next, err := e.Current().WithState(b.Context(), doc{"standing": standing})
				if err != nil {
					b.Fatal(err)
				}
				e.Swap(next)
			}
		})
	}
}

package rollout

import (
	"context"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/compile"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/engine"
)

// active allows load and denies latency as unknown; the labels secret and place
// are protected, place may be dropped.
const active = `apiVersion: charter/v1
kind: Charter
metadata: {name: trial, version: 1.0.0}
access_levels: [public]
purposes: [operations]
roles:
  - {name: operator, reads: [public], collects: [core]}
metrics:
  core:
    - {id: core.load, match: [load], access: public, retention: 30d}
    - {id: core.map, match: [map], access: public, labels: {drop: [place]}}
forbidden:
  - {id: f.secret, match: ["*_secret"], labels: [secret], severity: high, reason: secret, protected: true}
  - {id: f.place, labels: ["pl*ce"], severity: high, reason: places, protected: true, droppable: true}
  - {id: f.plain, match: ["plain"], severity: low, reason: for now}
`

// edited is the active charter with changes: pairs of old and new.
func edited(t testing.TB, pairs ...string) *engine.Policy {
	t.Helper()
	text := active
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("nothing to change: %s", pairs[i])
		}
		text = strings.Replace(text, pairs[i], pairs[i+1], 1)
	}
	c, findings := charter.Parse("charter.yaml", []byte(text))
	if findings.HasErrors() {
		t.Fatal(findings)
	}
	b, err := compile.Build(c)
	if err != nil {
		t.Fatal(err)
	}
	p, err := engine.Prepare(t.Context(), b, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// widened also allows latency.
func widened(t testing.TB) *engine.Policy {
	return edited(t, "1.0.0", "2.0.0", "match: [load]", "match: [load, latency]")
}

// offered is a rollout with a candidate.
func offered(t testing.TB, p *engine.Policy, percent int, o Options) *Rollout {
	t.Helper()
	e := engine.New()
	e.Swap(edited(t))
	r := New(e, o)
	t.Cleanup(r.Close)
	if err := r.Offer(p, percent); err != nil {
		t.Fatal(err)
	}
	return r
}

func collect(metric, node string) decision.Input {
	return decision.Input{Metric: metric, Node: node, Role: "operator", Operation: decision.Collect, Time: "2026-06-01"}
}

func ask(t testing.TB, r *Rollout, in decision.Input) decision.Decision {
	t.Helper()
	d, err := r.Decide(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// counted waits until the workers have compared n questions.
func counted(t testing.TB, r *Rollout, n uint64) Stats {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		s, sum := r.Stats(), uint64(0)
		for _, c := range s.Counts {
			sum += c
		}
		if sum >= n {
			return s
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d compared, want %d", sum, n)
		}
		<-time.After(time.Millisecond)
	}
}

// fake is a candidate that decides as it is told.
type fake func(ctx context.Context, in decision.Input) (decision.Decision, error)

func (f fake) Decide(ctx context.Context, in decision.Input) (decision.Decision, error) {
	return f(ctx, in)
}

func (f fake) DecideBatch(ctx context.Context, questions []decision.Input) []decision.Decision {
	var all []decision.Decision
	for _, in := range questions {
		d, _ := f(ctx, in)
		all = append(all, d)
	}
	return all
}

// faked replaces the candidate by f.
func faked(t testing.TB, percent int, o Options, f fake) *Rollout {
	t.Helper()
	e := engine.NewWith(engine.Options{CacheSize: -1})
	e.Swap(edited(t))
	r := New(e, o)
	t.Cleanup(r.Close)
	fresh := r.newTrial(widened(t), percent)
	fresh.asked = f
	r.shown.Store(fresh)
	r.running.Store(fresh)
	for range r.options.Workers {
		r.workers.Go(func() { r.work(fresh) })
	}
	return r
}

// without leaves out what has to differ from answer to answer.
func without(d decision.Decision) decision.Decision {
	d.DecisionID, d.Suggestion = "", ""
	return d
}

func labelled(in decision.Input, labels map[string]string) decision.Input {
	in.Labels = maps.Clone(labels)
	return in
}

// evaluating is an engine that answers without a cache.
func evaluating(p *engine.Policy) *engine.Engine {
	e := engine.NewWith(engine.Options{CacheSize: -1})
	e.Swap(p)
	return e
}

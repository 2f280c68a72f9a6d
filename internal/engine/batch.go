package engine

import (
	"context"
	"encoding/binary"
	"maps"
	"slices"

	"github.com/westworld-charter/charter/internal/decision"
)

// DecideBatch answers questions in their order, all of them with one snapshot of
// policy and state, whatever is swapped meanwhile. Questions that are equal, or
// that no rule can tell apart, are evaluated once; each answer has an id and a
// suggestion of its own. A question whose evaluation fails is denied as
// undetermined and does not touch the others. Answers share memory: see
// [Engine.Decide].
func (e *Engine) DecideBatch(ctx context.Context, questions []decision.Input) []decision.Decision {
	answers := make([]decision.Decision, len(questions))
	s := e.active.Load()
	if s == nil {
		for i := range answers {
			answers[i] = e.signed(decision.Unloaded())
		}
		return answers
	}
	b := batch{snapshot: s, byKey: map[key]int{}, byText: map[string]int{}, answers: answers}
	for i := range questions {
		answers[i] = b.decide(ctx, i, &questions[i])
	}
	for i := range answers {
		answers[i].Suggestion = s.suggestion(&answers[i], questions[i].Metric)
		answers[i] = e.signed(answers[i])
	}
	return answers
}

// batch knows where in a batch a question was answered before.
type batch struct {
	*snapshot

	byKey   map[key]int
	byText  map[string]int
	text    []byte // of the last question without a key
	answers []decision.Decision
}

func (b *batch) decide(ctx context.Context, i int, in *decision.Input) decision.Decision {
	if k, ok := b.batchKey(in); ok {
		if first, again := b.byKey[k]; again {
			b.stripe(k).repeated.Add(1)
			return b.answers[first]
		}
		d, err := b.recall(ctx, k, in)
		if err == nil && ordinary(d) && !b.mistaken.Load() {
			b.byKey[k] = i
		}
		return *d
	}
	b.text = appendQuestion(b.text[:0], in)
	if first, again := b.byText[string(b.text)]; again {
		b.engine.counters[0].repeated.Add(1)
		return b.answers[first]
	}
	b.engine.counters[0].bypassed.Add(1)
	d, err := b.evaluate(ctx, in)
	if err == nil {
		b.byText[string(b.text)] = i
	}
	return *d
}

// appendQuestion writes a question so that two have the same bytes only if they
// are the same.
func appendQuestion(b []byte, in *decision.Input) []byte {
	for _, s := range [...]string{in.Metric, in.Node, in.Role, in.Operation, in.Purpose, in.Retention, in.Time} {
		b = appendText(b, s)
	}
	b = binary.AppendUvarint(b, uint64(len(in.Claims)))
	for _, claim := range in.Claims {
		b = appendText(b, claim)
	}
	for _, label := range slices.Sorted(maps.Keys(in.Labels)) {
		b = appendText(appendText(b, label), in.Labels[label])
	}
	return b
}

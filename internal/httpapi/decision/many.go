package decisionapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/wire"
)

// maxItems bounds the questions of one batch.
const maxItems = 10_000

// BatchDecider is a [Decider] that answers many questions on one snapshot of
// the policy. The answers stand in the order of the questions, and there are as
// many; a question that could not be decided is denied as undetermined. The
// questions share claims and labels and must not be changed.
//
// Deciders that are not batch deciders are asked question by question, so that
// the policy can change in the middle of a batch.
type BatchDecider interface {
	Decider
	// The error is one of all questions: there is no answer to any of them.
	DecideBatch(ctx context.Context, in []decision.Input) ([]decision.Decision, error)
}

// SnapshotDecider is what an engine is: there is an answer to every question of a
// batch.
type SnapshotDecider interface {
	Decider
	DecideBatch(ctx context.Context, in []decision.Input) []decision.Decision
}

// Batching returns d as a BatchDecider.
func Batching(d SnapshotDecider) BatchDecider { return batching{d} }

type batching struct{ SnapshotDecider }

func (b batching) DecideBatch(ctx context.Context, in []decision.Input) ([]decision.Decision, error) {
	return b.SnapshotDecider.DecideBatch(ctx, in), nil
}

// item is one question of a batch with what became of it.
type item struct {
	input decision.Input
	// fault is why there is no decision; nil when there is one.
	fault    *wire.Error
	decision decision.Decision
}

// refused reports whether the question was not valid.
func (i *item) refused() bool {
	return i.fault != nil && i.fault.Status < http.StatusInternalServerError
}

// refusal is the fault of a question that was not understood.
func (a *api) refusal(ctx context.Context, err error, revision string, in place) *wire.Error {
	if own, ok := errors.AsType[*wire.Error](err); ok {
		return faultOf(own) // understood, and not the caller's to ask
	}
	field := fieldError(err)
	d := decision.Invalid(field, revision)
	a.Observer.Decided(ctx, nil, &d, 0)
	return faultOf(invalid(problemsOfFields(field.All()), in))
}

// faultOf is the error shape of err as part of an answer.
func faultOf(err error) *wire.Error {
	e := asError(err)
	if e.Errors == nil {
		e.Errors = []wire.Problem{}
	}
	return e
}

// fieldError is err, or err told as a fault of the question as a whole.
func fieldError(err error) *decision.FieldError {
	var field *decision.FieldError
	if !errors.As(err, &field) {
		field = &decision.FieldError{Field: inputKey, Code: decision.CodeWrongType, Message: err.Error()}
	}
	return field
}

// decideAll lets decider decide the items without a fault, at one time, and
// returns the revision that did.
func (a *api) decideAll(c echo.Context, decider Decider, items []item, in place) (revision string, err error) {
	start := a.Now()
	inputs := make([]decision.Input, 0, len(items))
	for i := range items {
		if items[i].fault == nil {
			items[i].input.Time = stampOf(items[i].input, start)
			inputs = append(inputs, items[i].input)
		}
	}
	ctx, cancel := context.WithTimeout(a.asking(c), a.BatchTimeout)
	defer cancel()
	answers, err := a.decideBatchTraced(ctx, decider, inputs)
	if err != nil {
		return "", err
	}
	share := a.Now().Sub(start) / time.Duration(max(len(inputs), 1))
	revision = a.Reporter.Status().Revision
	next := 0
	for i := range items {
		if items[i].fault != nil {
			continue
		}
		answer := answers[next]
		next++
		if answer.err == nil {
			a.Observer.Decided(ctx, &items[i].input, &answer.decision, share)
			revision = answer.decision.Revision
		}
		items[i].take(ctx, answer, in)
	}
	recordOf(c).count(items)
	return revision, nil
}

// stamp writes the time of a question.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// answer is what a Decider said about one question.
type answer struct {
	decision decision.Decision
	err      error
}

func ask(ctx context.Context, decider Decider, inputs []decision.Input) ([]answer, error) {
	answers := make([]answer, len(inputs))
	batch, ok := decider.(BatchDecider)
	if !ok {
		for i, in := range inputs {
			answers[i].decision, answers[i].err = decider.Decide(ctx, in)
		}
		return answers, nil
	}
	if len(inputs) == 0 {
		return nil, nil
	}
	decisions, err := batch.DecideBatch(ctx, inputs)
	if err != nil {
		return nil, undecided(ctx, err)
	}
	if len(decisions) != len(inputs) {
		return nil, internal(errors.New("batch decider gave another number of answers than there are questions"))
	}
	for i, d := range decisions {
		answers[i].decision = d
		if ctx.Err() != nil && undetermined(d) {
			answers[i].err = ctx.Err()
		}
	}
	return answers, nil
}

// undetermined reports whether d is not a decision but the lack of one.
func undetermined(d decision.Decision) bool {
	return d.Outcome == decision.Denied && len(d.Reasons) == 1 && d.Reasons[0].Code == decision.CodeUndetermined
}

// take sorts an answer into decision and fault.
func (i *item) take(ctx context.Context, answer answer, in place) {
	switch {
	case answer.err != nil:
		i.fault = faultOf(undecided(ctx, answer.err))
	case answer.decision.Outcome == decision.InvalidRequest:
		i.decision = answer.decision
		i.fault = faultOf(invalid(problemsOf(answer.decision.Reasons), in))
	default:
		i.decision = answer.decision
	}
}

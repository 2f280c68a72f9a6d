package decisionapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/explain"
	"github.com/westworld-charter/charter/internal/wire"
)

// dataPath is where stock OPA serves the decision document of a bundle.
const dataPath = "/v1/data/charter/decision"

// inputKey wraps the question in OPA's form.
const inputKey = "input"

// check answers a bare question: {"metric": …} gives the decision, with
// ?explain=full its explanation, too.
func (a *api) check(c echo.Context) error {
	question, err := a.readBody(c, a.MaxCheckBody)
	if err != nil {
		return err
	}
	wanted, err := a.wantsExplanation(c.QueryParams()[explainKey])
	if err != nil {
		return err
	}
	d, err := a.decide(c, question, bare)
	if err != nil {
		return err
	}
	if !wanted {
		return respond(c, http.StatusOK, d)
	}
	answer, err := a.explain(c, d, bare)
	if err != nil {
		return err
	}
	return respond(c, http.StatusOK, answer)
}

// data answers a question in OPA's form: {"input": {…}} gives {"result": …}.
func (a *api) data(c echo.Context) error {
	start := time.Now()
	body, err := a.readBody(c, a.MaxCheckBody)
	if err != nil {
		return err
	}
	question, err := unwrap(body)
	if err != nil {
		return a.refuse(c, err, wrapper)
	}
	return a.answerData(c, question, start)
}

// dataQuery is data with the question in the parameter "input", as OPA allows.
func (a *api) dataQuery(c echo.Context) error {
	start := time.Now()
	question := c.QueryParam(inputKey)
	if question == "" {
		missing := &decision.FieldError{Field: inputKey, Code: decision.CodeMissingField, Message: `the query parameter "input" is required, or use POST`}
		return a.refuse(c, missing, wrapper)
	}
	return a.answerData(c, []byte(question), start)
}

// dataAnswer is OPA's envelope. The id stands beside the result, as in OPA, so
// that the result is the document that stock OPA gives for the same bundle.
type dataAnswer struct {
	DecisionID string            `json:"decision_id,omitempty"`
	Provenance *provenance       `json:"provenance,omitempty"`
	Metrics    map[string]int64  `json:"metrics,omitempty"`
	Result     decision.Decision `json:"result"`
	// Explanation stands where OPA has traces, and is not in their form.
	Explanation *explain.Explanation `json:"explanation,omitempty"`
}

func (a *api) answerData(c echo.Context, question []byte, start time.Time) error {
	params, err := a.readDataParams(c)
	if err != nil {
		return err
	}
	parsed := time.Now()
	d, err := a.decide(c, question, wrapped)
	if err != nil {
		return err
	}
	var why explained
	if params.explain {
		if why, err = a.explain(c, d, wrapped); err != nil {
			return err
		}
		d = why.Decision
	}
	answer := dataAnswer{DecisionID: d.DecisionID, Result: d, Explanation: why.Explanation}
	answer.Result.DecisionID = ""
	if params.provenance {
		answer.Provenance = a.provenance(d.Revision)
	}
	if params.metrics {
		answer.Metrics = timers(start, parsed)
	}
	return respond(c, http.StatusOK, answer)
}

// decide reads the question, stamps its time and asks the Decider. The error is
// ready to be sent; in says where the question stood in the request.
func (a *api) decide(c echo.Context, question []byte, in place) (decision.Decision, error) {
	input, err := commonOf(c).question(question)
	if err != nil {
		recordOf(c).input = input // what was asked without being the sender's to ask
		a.notTheirs(c, input, err)
		return decision.Decision{}, a.refuse(c, err, in)
	}
	return a.decideInput(c, input, in)
}

// decideInput is decide for a question that was read.
func (a *api) decideInput(c echo.Context, input decision.Input, in place) (decision.Decision, error) {
	it := a.decideOne(a.asking(c), input, in)
	rec := recordOf(c)
	rec.input = it.input
	if it.fault != nil {
		if it.refused() {
			rec.decided = &it.decision
		}
		return decision.Decision{}, it.fault
	}
	rec.decided = &it.decision
	return it.decision, nil
}

// decideOne stamps the time of a question and asks the Decider.
func (a *api) decideOne(ctx context.Context, input decision.Input, in place) item {
	start := a.Now()
	it := item{input: input}
	it.input.Time = stampOf(it.input, start)
	ctx, cancel := context.WithTimeout(ctx, a.DecideTimeout)
	defer cancel()
	d, err := a.decideTraced(ctx, it.input)
	if err == nil {
		a.Observer.Decided(ctx, &it.input, &d, a.Now().Sub(start))
	}
	it.take(ctx, answer{d, err}, in)
	return it
}

// refuse counts a question that was not understood and returns its 400. What is
// not the caller's to ask has its answer already.
func (a *api) refuse(c echo.Context, err error, in place) error {
	if own, ok := errors.AsType[*wire.Error](err); ok {
		return own
	}
	field := fieldError(err)
	d := decision.Invalid(field, a.Reporter.Status().Revision)
	a.Observer.Decided(a.asking(c), nil, &d, 0)
	recordOf(c).decided = &d
	return invalid(problemsOfFields(field.All()), in)
}

// undecided maps the error of a Decider to an answer. It never allows.
func undecided(ctx context.Context, err error) error {
	if fault := unrecorded(err); fault != nil {
		return fault
	}
	switch ctx.Err() {
	case context.DeadlineExceeded:
		return &wire.Error{Status: http.StatusServiceUnavailable, Code: wire.CodeTimeout, Message: "the decision took too long; nothing is allowed", Cause: err}
	case context.Canceled:
		return &wire.Error{Status: wire.StatusClientClosed, Code: wire.CodeCanceled, Message: "the request was given up", Cause: err}
	default:
		return internal(err)
	}
}

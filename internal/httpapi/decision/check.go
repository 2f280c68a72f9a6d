package decisionapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/westworld-charter/charter/internal/decision"
)

// dataPath is where stock OPA serves the decision document of a bundle.
const dataPath = "/v1/data/charter/decision"

// inputKey wraps the question in OPA's form.
const inputKey = "input"

// check answers a bare question: {"metric": …} gives the decision.
func (a *api) check(c echo.Context) error {
	question, err := a.readQuestion(c)
	if err != nil {
		return err
	}
	d, err := a.decide(c, question, bare)
	if err != nil {
		return err
	}
	return respond(c, http.StatusOK, d)
}

// data answers a question in OPA's form: {"input": {…}} gives {"result": …}.
func (a *api) data(c echo.Context) error {
	body, err := a.readQuestion(c)
	if err != nil {
		return err
	}
	question, err := unwrap(body)
	if err != nil {
		return a.refuse(c, err, wrapper)
	}
	return a.answerData(c, question)
}

// dataQuery is data with the question in the parameter "input", as OPA allows.
func (a *api) dataQuery(c echo.Context) error {
	question := c.QueryParam(inputKey)
	if question == "" {
		missing := &decision.FieldError{Field: inputKey, Code: decision.CodeMissingField, Message: `the query parameter "input" is required, or use POST`}
		return a.refuse(c, missing, wrapper)
	}
	return a.answerData(c, []byte(question))
}

// dataAnswer is OPA's envelope. The id stands beside the result, as in OPA, so
// that the result is the document that stock OPA gives for the same bundle.
type dataAnswer struct {
	DecisionID string            `json:"decision_id,omitempty"`
	Result     decision.Decision `json:"result"`
}

func (a *api) answerData(c echo.Context, question []byte) error {
	d, err := a.decide(c, question, wrapped)
	if err != nil {
		return err
	}
	answer := dataAnswer{DecisionID: d.DecisionID, Result: d}
	answer.Result.DecisionID = ""
	return respond(c, http.StatusOK, answer)
}

// decide reads the question, stamps its time and asks the Decider. The error is
// ready to be sent; in says where the question stood in the request.
func (a *api) decide(c echo.Context, question []byte, in place) (decision.Decision, error) {
	start := a.Now()
	input, err := parse(question)
	if err != nil {
		return decision.Decision{}, a.refuse(c, err, in)
	}
	input.Time = start.UTC().Format(time.RFC3339Nano)
	rec := recordOf(c)
	rec.input = input

	ctx, cancel := context.WithTimeout(c.Request().Context(), a.DecideTimeout)
	defer cancel()
	d, err := a.Decider.Decide(ctx, input)
	if err != nil {
		return decision.Decision{}, undecided(ctx, err)
	}
	rec.decided = &d
	a.Observer.Decided(d, input.Operation, a.Now().Sub(start))
	if d.Outcome == decision.InvalidRequest {
		return decision.Decision{}, invalid(problemsOf(d.Reasons), in)
	}
	return d, nil
}

// parse is decision.ParseInput for callers that may not name the time: a chosen
// time would revive grants that have lapsed.
func parse(question []byte) (decision.Input, error) {
	input, err := decision.ParseInput(question)
	if err == nil && input.Time != "" {
		return decision.Input{}, &decision.FieldError{
			Field: "time", Code: decision.CodeInvalidValue,
			Message: "time is stamped by the server, leave the field out",
		}
	}
	return input, err
}

// refuse counts a question that was not understood and returns its 400.
func (a *api) refuse(c echo.Context, err error, in place) error {
	var field *decision.FieldError
	if !errors.As(err, &field) {
		field = &decision.FieldError{Field: inputKey, Code: decision.CodeWrongType, Message: err.Error()}
	}
	d := decision.Invalid(field, a.Reporter.Status().Revision)
	a.Observer.Decided(d, "", 0)
	recordOf(c).decided = &d
	return invalid(problemsOfFields(field.All()), in)
}

// undecided maps the error of a Decider to an answer. It never allows.
func undecided(ctx context.Context, err error) error {
	switch ctx.Err() {
	case context.DeadlineExceeded:
		return &Error{status: http.StatusServiceUnavailable, Code: codeTimeout, Message: "the decision took too long; nothing is allowed", cause: err}
	case context.Canceled:
		return &Error{status: statusClientClosed, Code: codeCanceled, Message: "the request was given up", cause: err}
	default:
		return internal(err)
	}
}

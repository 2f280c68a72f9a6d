package decisionapi

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/wire"
)

// Paths of the AuthZEN Authorization API 1.0 (OpenID Foundation, January 2026).
const (
	evaluationPath  = "/access/v1/evaluation"
	evaluationsPath = "/access/v1/evaluations"
	discoveryPath   = "/.well-known/authzen-configuration"
)

// evaluationAnswer is AuthZEN's Decision.
type evaluationAnswer struct {
	Decision bool `json:"decision"`
	Context  any  `json:"context,omitempty"`
}

// evaluationGrounds is the context of a decision: its grounds, and why the
// answers end with it when they do.
type evaluationGrounds struct {
	grounds
	Reason string `json:"reason,omitempty"`
}

// evaluationFault is the context of an evaluation that could not be decided.
type evaluationFault struct {
	Error struct {
		Status int `json:"status"`
		*wire.Error
	} `json:"error"`
	Reason string `json:"reason,omitempty"`
}

// evaluation answers one question in AuthZEN's form.
func (a *api) evaluation(c echo.Context) error {
	body, err := a.readAccess(c, a.MaxCheckBody)
	if err != nil {
		return err
	}
	asked, _, err := readEvaluations(body, false)
	if err != nil {
		return a.refuse(c, err, wrapper)
	}
	return a.evaluateOne(c, asked)
}

func (a *api) evaluateOne(c echo.Context, asked evaluation) error {
	input, in, err := asked.question(commonOf(c))
	if err != nil {
		a.notTheirs(c, input, err)
		return a.refuse(c, err, in)
	}
	d, err := a.decideInput(c, input, in)
	if err != nil {
		return err
	}
	return respond(c, http.StatusOK, tell(d, asked.carriesOut()))
}

// tell is a decision in AuthZEN's form.
func tell(d decision.Decision, carriesOut bool) evaluationAnswer {
	yes, why := settle(d, carriesOut)
	return evaluationAnswer{Decision: yes, Context: evaluationGrounds{grounds: why}}
}

// evaluations answers many questions, or one when there is no array of them.
func (a *api) evaluations(c echo.Context) error {
	body, err := a.readAccess(c, a.MaxBatchBody)
	if err != nil {
		return err
	}
	defaults, batch, err := readEvaluations(body, true)
	if err != nil {
		return a.refuse(c, err, wrapper)
	}
	if len(batch.items) == 0 {
		return a.evaluateOne(c, defaults)
	}
	common := commonOf(c)
	if when := defaults.context; when != nil && when.part.Time != "" && !common.who.Has(wire.ScopeReplay) {
		return a.refuse(c, chosenTime(), asRole)
	}
	if err := a.charge(c, len(batch.items)); err != nil {
		return err
	}
	items := make([]item, len(batch.items))
	revision := a.Reporter.Status().Revision
	var refused refusedQuestions
	for i := range batch.items {
		input, in, err := batch.items[i].over(defaults).question(common)
		if err != nil {
			items[i].fault = a.refusal(a.asking(c), err, revision, in)
			refused.add(input, err)
			continue
		}
		items[i].input = input
	}
	refused.record(a, c)
	if _, err := a.decideAll(c, a.Decider, items, asRole); err != nil {
		return err
	}
	return respond(c, http.StatusOK, map[string]any{evaluationsKey: batch.answers(defaults, items)})
}

// answers tells the items in order, up to the one that settles the matter under
// the semantic that was asked for.
func (b *evaluations) answers(defaults evaluation, items []item) []evaluationAnswer {
	list := make([]evaluationAnswer, 0, len(items))
	for i := range items {
		answer := evaluationAnswer{}
		if items[i].fault == nil {
			answer = tell(items[i].decision, b.items[i].over(defaults).carriesOut())
		}
		last := answer.Decision && b.semantic == permitOnFirstPermit || !answer.Decision && b.semantic == denyOnFirstDeny
		reason := ""
		if last {
			reason = b.semantic
		}
		switch context := answer.Context.(type) {
		case evaluationGrounds:
			context.Reason = reason
			answer.Context = context
		default:
			fault := evaluationFault{Reason: reason}
			fault.Error.Status, fault.Error.Error = items[i].fault.Status, items[i].fault
			answer.Context = fault
		}
		list = append(list, answer)
		if last {
			break
		}
	}
	return list
}

// readAccess reads a body of the AuthZEN API. Other media types than JSON are a
// 400 there, and nothing but JSON is taken for it.
func (a *api) readAccess(c echo.Context, limit int64) ([]byte, error) {
	h := c.Request().Header
	err := checkMedia(h)
	if err == nil && strings.HasPrefix(strings.ToLower(h.Get("Content-Type")), "application/x-www-form-urlencoded") {
		err = wire.Unsupported("Content-Type must be application/json")
	}
	if err != nil {
		fault := asError(err)
		fault.Status = http.StatusBadRequest
		return nil, fault
	}
	return a.readBody(c, limit)
}

// discovery says where the AuthZEN API is. The identifier of this decision point
// is PublicURL, or else the address that the caller used.
func (a *api) discovery(c echo.Context) error {
	self := a.PublicURL
	if self == "" {
		r := c.Request()
		u := url.URL{Scheme: "http", Host: r.Host}
		if r.TLS != nil {
			u.Scheme = "https"
		}
		self = u.String()
	}
	return respond(c, http.StatusOK, map[string]string{
		"policy_decision_point":       self,
		"access_evaluation_endpoint":  self + evaluationPath,
		"access_evaluations_endpoint": self + evaluationsPath,
	})
}

// echoID returns the caller's request id as it was given, which the standard
// demands of the AuthZEN endpoints.
func echoID(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if given := c.Request().Header.Get(requestIDHeader); given != "" {
			c.Response().Header().Set(requestIDHeader, given)
		}
		return next(c)
	}
}

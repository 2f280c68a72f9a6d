package decisionapi

import (
	"context"
	"errors"
	"slices"

	"github.com/labstack/echo/v4"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/explain"
	"github.com/westworld-charter/charter/internal/wire"
)

const (
	explainKey  = "explain"
	explainFull = "full"
	// explainCost is how many questions an explanation counts as in the budget of
	// who asks: about what its search decides.
	explainCost = 100
)

// Explainer says why a question was decided as it was. Its error is
// [explain.ErrReplaced] when the policy that decided is not active any more.
type Explainer interface {
	Explain(ctx context.Context, in decision.Input, d decision.Decision, reach *explain.Reach) (*explain.Explanation, error)
}

// explained is a decision with its explanation, if it was asked for.
type explained struct {
	decision.Decision
	Explanation *explain.Explanation `json:"explanation,omitempty"`
}

// wantsExplanation reads the parameter explain. What it does not know is refused:
// its answer would lack what was asked for.
func (a *api) wantsExplanation(values []string) (wanted bool, err error) {
	for _, v := range values {
		switch v {
		case "", "off":
		case explainFull:
			wanted = true
		default:
			return false, unsupportedParameter(explainKey, `say "full", or "off"; traces of the evaluation are for the diagnostics listener`)
		}
	}
	if wanted && a.Explainer == nil {
		return false, unsupportedParameter(explainKey, "leave it out")
	}
	return wanted, nil
}

// notExplained refuses explanations of batches, each of which would take its
// time.
func notExplained(c echo.Context) error {
	if slices.ContainsFunc(c.QueryParams()[explainKey], func(v string) bool { return v != "" && v != "off" }) {
		return unsupportedParameter(explainKey, "ask for the explanation of one question at a time")
	}
	return nil
}

// explain explains the decision d that a request was just given, completed by
// what would be allowed instead. When the policy was replaced meanwhile, the
// question is decided anew.
func (a *api) explain(c echo.Context, d decision.Decision, in place) (explained, error) {
	if err := a.charge(c, explainCost); err != nil {
		return explained{}, err
	}
	// Explanations take turns with batches, so that those who ask for single
	// decisions are still answered.
	turn := &lease{room: a.room, id: identityOf(c)}
	if err := turn.decide(c.Request().Context()); err != nil {
		return explained{}, err
	}
	defer turn.decided()
	const attempts = 3
	for range attempts {
		x, err := a.explainOnce(c, d)
		if err == nil {
			d.Counterfactual = x.Counterfactual
			return explained{d, x}, nil
		}
		if !errors.Is(err, explain.ErrReplaced) {
			return explained{}, undecided(c.Request().Context(), err)
		}
		if d, err = a.decideInput(c, recordOf(c).input, in); err != nil {
			return explained{}, err
		}
	}
	return explained{}, unlisted("the policy is being replaced, ask again")
}

// explainOnce has the time of one decision. A search that does not end by then
// is cut.
func (a *api) explainOnce(c echo.Context, d decision.Decision) (*explain.Explanation, error) {
	ctx, cancel := context.WithTimeout(c.Request().Context(), a.DecideTimeout)
	defer cancel()
	return a.Explainer.Explain(ctx, recordOf(c).input, d, reachOf(identityOf(c)))
}

// reachOf is what an identity may be told that it could ask instead: what it may
// say. That a stranger's role or claim would help is not for everybody.
func reachOf(id *Identity) *explain.Reach {
	if id.Has(wire.ScopeAssert) {
		return nil
	}
	return &explain.Reach{Roles: id.Roles, Claims: slices.Concat(id.Claims, id.Held)}
}

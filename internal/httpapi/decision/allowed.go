package decisionapi

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/diag"
	"github.com/westworld-charter/charter/internal/explain"
	"github.com/westworld-charter/charter/internal/wire"
)

const (
	allowedPath    = "/v1/allowed"
	obligationsKey = "obligations"
	queryKey       = "query"
	// withheldMessage explains a "no" that the charter did not say.
	withheldMessage = "the charter allows it under obligations and the caller does not declare that it carries them out"
)

// allowedAnswer is a yes or no with its grounds.
type allowedAnswer struct {
	Allowed bool `json:"allowed"`
	grounds
	Explanation *explain.Explanation `json:"explanation,omitempty"`
}

// grounds is what a plain yes or no rests on.
type grounds struct {
	Outcome    string            `json:"outcome"`
	DecisionID string            `json:"decision_id,omitempty"`
	Revision   string            `json:"revision"`
	Clause     string            `json:"clause"`
	Source     string            `json:"source,omitempty"`
	Severity   string            `json:"severity"`
	Reasons    []decision.Reason `json:"reasons"`
	// Obligations are to be carried out if the answer is yes.
	Obligations decision.Obligations `json:"obligations"`
	Mode        string               `json:"mode"`
	Enforced    *bool                `json:"enforced,omitempty"`
	Suggestion  string               `json:"suggestion,omitempty"`
	// Counterfactual is told with an explanation.
	Counterfactual string `json:"counterfactual,omitempty"`
	// Withheld says why the answer is no although the outcome is allowed.
	Withheld string `json:"withheld,omitempty"`
}

// settle turns a decision into a yes or no. A caller that does not carry out
// obligations gets a no while any remain.
func settle(d decision.Decision, carriesOut bool) (bool, grounds) {
	g := grounds{
		Outcome: d.Outcome, DecisionID: d.DecisionID, Revision: d.Revision, Clause: d.Clause, Source: d.Source, Severity: d.Severity,
		Reasons: d.Reasons, Obligations: d.Obligations, Mode: d.Mode, Enforced: d.Enforced, Suggestion: d.Suggestion,
		Counterfactual: d.Counterfactual,
	}
	if d.Allow && !carriesOut && !d.Obligations.Empty() {
		g.Withheld = withheldMessage
		return false, g
	}
	return d.Allow, g
}

// allowed answers GET /v1/allowed?metric=&node=: may this metric be collected
// there, or whatever operation says?
func (a *api) allowed(c echo.Context) error {
	// The parameters that net/url leaves out when it cannot read them could be
	// labels, and the answer a yes that should be a no.
	query, err := url.ParseQuery(c.Request().URL.RawQuery)
	if err != nil {
		return a.refuse(c, envelope(queryKey, decision.CodeWrongType, "the query cannot be read: "+err.Error()), queried)
	}
	wanted, err := a.wantsExplanation(query[explainKey])
	if err != nil {
		return err
	}
	input, carriesOut, err := readAllowed(query)
	if err == nil {
		input, err = commonOf(c).own(input)
		a.notTheirs(c, input, err)
	}
	if err != nil {
		return a.refuse(c, err, queried)
	}
	d, err := a.decideInput(c, input, queried)
	if err != nil {
		return err
	}
	var answer allowedAnswer
	if wanted {
		why, err := a.explain(c, d, queried)
		if err != nil {
			return err
		}
		d, answer.Explanation = why.Decision, why.Explanation
	}
	answer.Allowed, answer.grounds = settle(d, carriesOut)
	return respond(c, http.StatusOK, answer)
}

// readAllowed reads the query as strictly as a body. Claims and labels are names
// between commas: values of labels do not belong into a URL.
func readAllowed(q url.Values) (in decision.Input, carriesOut bool, err error) {
	in.Role, in.Operation = "node_operator", decision.Collect
	known := append(decision.Fields(), obligationsKey, explainKey, "pretty")
	for _, name := range slices.Sorted(maps.Keys(q)) {
		switch {
		case !slices.Contains(known, name):
			return in, false, unknownParameter(name, known)
		case len(q[name]) > 1:
			return in, false, envelope(name, decision.CodeInvalidValue, fmt.Sprintf("query parameter %q is given more than once", name))
		case name == obligationsKey:
			if carriesOut, err = declared(q[name][0]); err != nil {
				return in, false, err
			}
		default:
			assign(&in, name, q[name][0])
		}
	}
	return in, carriesOut, nil
}

// assign sets a field of the question from a query parameter.
func assign(in *decision.Input, name, value string) {
	switch name {
	case "metric":
		in.Metric = value
	case "node":
		in.Node = value
	case "role":
		in.Role = value
	case "operation":
		in.Operation = value
	case "purpose":
		in.Purpose = value
	case "retention":
		in.Retention = value
	case "time":
		in.Time = value
	case "claims":
		in.Claims = names(value)
	case "labels":
		in.Labels = map[string]string{}
		for _, label := range names(value) {
			in.Labels[label] = "present" // an empty value would mean absent
		}
	}
}

// names splits a list at its commas; nothing is an empty list.
func names(list string) []string {
	return slices.DeleteFunc(strings.Split(list, ","), func(s string) bool { return s == "" })
}

func declared(value string) (bool, error) {
	switch value {
	case "true":
		return true, nil
	case "false":
		return false, nil
	default:
		return false, envelope(obligationsKey, decision.CodeInvalidValue, `query parameter "obligations" must be true or false`)
	}
}

func unknownParameter(name string, known []string) error {
	message := fmt.Sprintf("unknown query parameter %q", wire.Echo(name))
	if near := diag.DidYouMean(wire.Echo(name), known); near != "" {
		message += fmt.Sprintf(", did you mean %q?", near)
	}
	return envelope(name, decision.CodeUnknownField, message)
}

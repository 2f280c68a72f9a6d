package opaapi

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// params are the parameters that all evaluations share.
type params struct {
	pretty, provenance, metrics, instrument, strict bool

	explain string
}

func explainModes() []string { return []string{"off", "notes", "fails", "full", "debug"} }

// readParams reads them as OPA does, except that a value that means nothing is
// refused. Parameters that OPA does not know are ignored, as there.
func readParams(q url.Values) (params, error) {
	var p params
	var labels bool
	for name, field := range map[string]*bool{
		"pretty": &p.pretty, "provenance": &p.provenance, "metrics": &p.metrics,
		"instrument": &p.instrument, "strict-builtin-errors": &p.strict, "rule_labels": &labels,
	} {
		for _, value := range q[name] {
			switch strings.ToLower(value) {
			case "", "true":
				*field = true
			case "false":
			default:
				return p, badParameter(name, "true or false")
			}
		}
	}
	if labels {
		return p, invalidParameter("query parameter %q is not supported here: leave it out", "rule_labels")
	}
	for _, mode := range q["explain"] {
		if mode != "" && !slices.Contains(explainModes(), mode) {
			return p, badParameter("explain", "one of "+strings.Join(explainModes(), ", "))
		}
		if p.explain == "" || p.explain == "off" {
			p.explain = mode
		}
	}
	return p, nil
}

func badParameter(name, want string) error {
	return invalidParameter("query parameter %q must be %s", name, want)
}

func invalidParameter(format string, args ...any) *fault {
	return &fault{status: http.StatusBadRequest, Code: codeInvalidParameter, Message: fmt.Sprintf(format, args...)}
}

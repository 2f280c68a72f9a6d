package audit

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/ledger"
)

// denied reports whether an answer is a denial, and which document says why: one
// that warn or shadow mode lifted counts as well.
func denied(d *decision.Decision) (*decision.Decision, bool) {
	if d.WouldDeny != nil {
		return d.WouldDeny, true
	}
	return d, !d.Allow
}

// entryOf is the record of one decision.
func entryOf(kind ledger.Kind, c Caller, in *decision.Input, d *decision.Decision) ledger.Entry {
	why, _ := denied(d)
	e := ledger.Entry{
		Kind:   kind,
		Metric: in.Metric, Node: in.Node, Role: in.Role, Operation: in.Operation, Purpose: in.Purpose,
		Labels: names(in.Labels), Claims: claims(in.Claims), Retention: in.Retention, Asked: in.Time,
		Outcome: why.Outcome, Clause: why.Clause, Severity: why.Severity, Mode: d.Mode,
		Revision: d.Revision, DecisionID: d.DecisionID,
		Principal: c.Principal, RequestID: c.RequestID,
	}
	for _, r := range why.Reasons {
		e.Reasons = append(e.Reasons, ledger.Reason{Code: r.Code, Clause: r.Clause, Severity: r.Severity, Field: r.Field})
	}
	fit(&e)
	return e
}

// Details is the Data of a denial, where there is any.
type Details struct {
	Route   string   `json:"route,omitempty"` // of a question that was refused before it was decided
	Omitted *Omitted `json:"omitted,omitempty"`
	// Reported says who decided, when it was not this program.
	Reported *Origin `json:"reported,omitempty"`
}

// Omitted counts what an entry had no room for: a question may be larger than an
// entry, and must not get out of the record that way. The first names of each
// list are kept.
type Omitted struct {
	Labels  int `json:"labels,omitzero"`
	Claims  int `json:"claims,omitzero"`
	Reasons int `json:"reasons,omitzero"`
}

const (
	// certain is how much text fits into an entry however it is escaped: at most
	// six bytes for one.
	certain = (ledger.MaxBody - 4<<10) / 6
	// reserve is room for what a log adds: the time, a conflict, details.
	reserve = 1 << 10
)

// fit cuts lists until the entry fits.
func fit(e *ledger.Entry) {
	if weight(e) <= certain || fits(e) {
		return
	}
	var o Omitted
	for !fits(e) {
		switch {
		case len(e.Reasons) > 1 && len(e.Reasons) >= len(e.Labels)/4:
			o.Reasons += halve(&e.Reasons)
		case len(e.Labels) > 1 && len(e.Labels) >= len(e.Claims):
			o.Labels += halve(&e.Labels)
		case len(e.Claims) > 1:
			o.Claims += halve(&e.Claims)
		case len(e.Labels) > 1:
			o.Labels += halve(&e.Labels)
		default:
			return // texts of a question are short enough
		}
	}
	e.Data = detailed(Details{Omitted: &o})
}

func fits(e *ledger.Entry) bool {
	body, err := e.Body()
	return !errors.Is(err, ledger.ErrTooLarge) && len(body) <= ledger.MaxBody-reserve
}

// halve drops the second half of a list and returns how many that were.
func halve[T any](list *[]T) int {
	keep := len(*list) / 2
	dropped := len(*list) - keep
	*list = slices.Clip((*list)[:keep])
	return dropped
}

// weight is how many bytes of text an entry has.
func weight(e *ledger.Entry) int {
	n := len(e.Metric) + len(e.Node) + len(e.Role) + len(e.Purpose) + len(e.Retention) + len(e.Asked) + len(e.Clause) + len(e.Revision) + len(e.Principal)
	for _, s := range e.Labels {
		n += len(s) + 1
	}
	for _, s := range e.Claims {
		n += len(s) + 1
	}
	for _, r := range e.Reasons {
		n += len(r.Code) + len(r.Clause) + len(r.Severity) + len(r.Field) + 10
	}
	return n
}

// routed adds a route to the details of an entry.
func routed(route string, data jsontext.Value) jsontext.Value {
	var d Details
	if data != nil && json.Unmarshal(data, &d) != nil {
		return data // it is what detailed wrote
	}
	d.Route = route
	if d == (Details{}) {
		return nil
	}
	return detailed(d)
}

func detailed(d Details) jsontext.Value {
	text, err := json.Marshal(d)
	if err != nil {
		return nil // numbers and a route can be written
	}
	return text
}

// names are those of the labels that have a value: an empty one is absent.
func names(labels map[string]string) []string {
	var sent []string
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		if labels[name] != "" {
			sent = append(sent, name)
		}
	}
	return sent
}

func claims(held []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(held)))
}

// clones are strings that do not keep the request alive which they are part of.
func clones(list []string) []string {
	for i := range list {
		list[i] = strings.Clone(list[i])
	}
	return list
}

package ledger

import (
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// canonicalEntry has the members of an [Entry] in the order of their names, so
// that encoding them is canonicalising them. A test compares it with the entry.
type canonicalEntry struct {
	Asked      string         `json:"asked,omitempty"`
	Claims     []string       `json:"claims,omitempty"`
	Clause     string         `json:"clause,omitempty"`
	ClockBack  bool           `json:"clock_back,omitzero"`
	Data       jsontext.Value `json:"data,omitzero"`
	DecisionID string         `json:"decision_id,omitempty"`
	Kind       Kind           `json:"kind"`
	Labels     []string       `json:"labels,omitempty"`
	Metric     string         `json:"metric,omitempty"`
	Mode       string         `json:"mode,omitempty"`
	Node       string         `json:"node,omitempty"`
	Operation  string         `json:"operation,omitempty"`
	Outcome    string         `json:"outcome,omitempty"`
	Principal  string         `json:"principal,omitempty"`
	Purpose    string         `json:"purpose,omitempty"`
	Reasons    []Reason       `json:"reasons,omitempty"` // whose fields are in this order, too
	RequestID  string         `json:"request_id,omitempty"`
	Retention  string         `json:"retention,omitempty"`
	Revision   string         `json:"revision,omitempty"`
	Role       string         `json:"role,omitempty"`
	Schema     int            `json:"schema"`
	Severity   string         `json:"severity,omitempty"`
	Time       string         `json:"time"`
}

// canonical encodes an entry as RFC 8785 says. Only its data has members in an
// order that is not known.
func (e *Entry) canonical() ([]byte, error) {
	c := canonicalEntry{
		Asked: e.Asked, Claims: e.Claims, Clause: e.Clause, ClockBack: e.ClockBack, Data: e.Data, DecisionID: e.DecisionID, Kind: e.Kind,
		Labels: e.Labels, Metric: e.Metric, Mode: e.Mode, Node: e.Node, Operation: e.Operation, Outcome: e.Outcome, Principal: e.Principal,
		Purpose: e.Purpose, Reasons: e.Reasons, RequestID: e.RequestID, Retention: e.Retention, Revision: e.Revision, Role: e.Role,
		Schema: e.Schema, Severity: e.Severity, Time: e.Time,
	}
	if c.Data != nil {
		c.Data = c.Data.Clone()
		if err := c.Data.Canonicalize(); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
	}
	body, err := json.Marshal(&c)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return body, nil
}

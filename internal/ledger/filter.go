package ledger

import (
	"bytes"
	"slices"
)

// Match tells whether the filter selects an entry, limits aside: From, Before,
// Newest and Limit are for whoever walks the log.
func (f *Filter) Match(c Columns, body []byte) bool {
	return (len(f.Kinds) == 0 || slices.Contains(f.Kinds, c.Kind)) &&
		(len(f.Severities) == 0 || slices.Contains(f.Severities, c.Severity)) &&
		(f.Node == "" || f.Node == c.Node) &&
		(f.Metric == "" || f.Metric == c.Metric) &&
		(f.Clause == "" || f.Clause == c.Clause) &&
		(f.Outcome == "" || f.Outcome == c.Outcome) &&
		(f.Since.IsZero() || c.Time >= f.Since.UnixNano()) &&
		(f.Until.IsZero() || c.Time < f.Until.UnixNano()) &&
		(f.Text == "" || bytes.Contains(bytes.ToLower(body), bytes.ToLower([]byte(f.Text))))
}

// Request returns the hash by which a repeated request is recognised: of the body
// without time, clock_back, decision_id and asked, which differ from one try to the next.
// The entry must have a time. There is none for an entry
// without principal or request id, nor for a [Conflict], which is about the
// request of another entry.
func (e *Entry) Request() (hash [32]byte, ok bool, err error) {
	if e.Principal == "" || e.RequestID == "" || e.Kind == Conflict {
		return hash, false, nil
	}
	body, err := e.Body()
	if err != nil {
		return hash, false, err
	}
	_, hash, err = ScanBody(body)
	return hash, err == nil, err
}

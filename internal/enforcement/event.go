package enforcement

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/ledger"
)

// event is an entry that the fold looks at.
type event struct {
	index uint64
	at    time.Time
	entry ledger.Entry
}

// own are the kinds of entries that this package appends.
func own() []ledger.Kind {
	return []ledger.Kind{ledger.Violation, ledger.Investigation, ledger.Standing, ledger.Override, ledger.Revocation, ledger.Membership}
}

// kinds are those of entries that the fold looks at.
func kinds() []ledger.Kind { return append(own(), ledger.Denial, ledger.Conflict) }

// matters tells from its columns whether the fold looks at an entry.
func matters(c *ledger.Columns) bool {
	switch c.Kind {
	case ledger.Denial, ledger.Conflict:
		return c.Outcome == decision.Forbidden && c.Node != "" && c.Principal == identity(c.Node)
	case ledger.Violation, ledger.Investigation, ledger.Standing, ledger.Override, ledger.Revocation, ledger.Membership:
		return c.Principal == Principal
	default:
		return false
	}
}

// identity is the principal of a node that has proven who it is.
func identity(node string) string { return "cert:" + node }

// read parses a row that matters.
func read(row *ledger.Row) (event, error) {
	e, err := ledger.ParseEntry(row.Body)
	if err != nil {
		return event{}, fmt.Errorf("entry %d: %w", row.Index, err)
	}
	at, err := e.At()
	if err != nil {
		return event{}, fmt.Errorf("entry %d: %w", row.Index, err)
	}
	return event{row.Index, at, e}, nil
}

// attempt reports whether an entry is a denial that counts: the node itself asked,
// proven by its certificate, to collect what is forbidden, and was denied. What warn
// or shadow mode let pass does not count.
func attempt(e *ledger.Entry) bool {
	if e.Node == "" || e.Principal != identity(e.Node) || e.Outcome != decision.Forbidden || e.Operation != decision.Collect || e.Mode != decision.Enforce {
		return false
	}
	if e.Kind != ledger.Conflict {
		return e.Kind == ledger.Denial
	}
	// A request id that is used again must not hide a denial.
	var was struct {
		Kind ledger.Kind `json:"kind"`
	}
	return json.Unmarshal(e.Data, &was) == nil && was.Kind == ledger.Denial
}

// timeOf reads a time of an entry's data; the zero time when there is none.
func timeOf(text string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}
	}
	return t
}

// textOf writes a time as the data of entries has it, "" for none.
func textOf(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

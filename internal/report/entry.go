package report

import (
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/ledger"
)

// event is an entry as reports look at it: its columns, and what else of the body
// counts.
type event struct {
	index uint64
	ledger.Columns
	body
}

// body is the part of an entry that has no column.
type body struct {
	ClockBack bool            `json:"clock_back"`
	Role      string          `json:"role"`
	Operation string          `json:"operation"`
	Purpose   string          `json:"purpose"`
	Retention string          `json:"retention"`
	Mode      string          `json:"mode"`
	Revision  string          `json:"revision"`
	Labels    []string        `json:"labels"`
	Reasons   []ledger.Reason `json:"reasons"`
	Data      jsontext.Value  `json:"data"`
}

// read takes an entry apart. Whether it is canonical, whoever verifies the ledger
// finds out. The error wraps [ledger.ErrMalformed].
func read(row *ledger.Row) (event, error) {
	ev := event{index: row.Index, Columns: row.Columns}
	if err := json.Unmarshal(row.Body, &ev.body); err != nil {
		return ev, fmt.Errorf("entry %d: %w: %w", row.Index, ledger.ErrMalformed, err)
	}
	return ev, nil
}

// dataOf reads what only this kind has.
func dataOf[T any](ev *event) (T, error) {
	var data T
	if err := json.Unmarshal(ev.Data, &data); err != nil {
		return data, fmt.Errorf("entry %d: %w: its data is not that of the kind %s: %w", ev.index, ledger.ErrMalformed, ev.Kind, err)
	}
	return data, nil
}

// lifted tells whether a denial was one on paper only: warn or shadow mode let it
// pass.
func (ev *event) lifted() bool { return ev.Mode == decision.Warn || ev.Mode == decision.Shadow }

// own tells whether the node itself asked, proven by its certificate.
func (ev *event) own() bool { return ev.Node != "" && ev.Principal == "cert:"+ev.Node }

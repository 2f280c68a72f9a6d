package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/internal/ledger"
)

// What OPAs upload is told in words.
func TestEntriesOfAgents(t *testing.T) {
	for want, e := range map[string]struct {
		kind     ledger.Kind
		revision string
		data     any
	}{
		"instance: bundle charter: r-2|opa: opa-1|before: r-1": {ledger.Instance, "r-2", ledger.InstanceChange{Instance: "opa-1", Bundle: "charter", Before: "r-1"}},
		"instance: bundle charter: none, bundle_error 502|opa: opa-1": {ledger.Instance, "", ledger.InstanceChange{
			Instance: "opa-1", Bundle: "charter", Code: "bundle_error", HTTPCode: "502",
		}},
		"gap: at least 1 decisions are missing: dropped|opa: opa-1|dropped: 7 times since it was started, a decision or an upload of them": {ledger.Gap, "", ledger.Missing{
			Reason: ledger.ReasonDropped, AtLeast: 1, Reported: "opa-1", Dropped: 7,
		}},
		"window: 3 allowed, 1 different questions|id: w|from: a|to: b|opa: opa-1|3 x: collect cpu at edge-1 as r (c)": {ledger.WindowClose, "", ledger.Window{
			ID: "w", From: "a", To: "b", Reported: "opa-1", Counts: []ledger.Counted{{Metric: "cpu", Node: "edge-1", Role: "r", Operation: "collect", Clause: "c", Count: 3}},
		}},
	} {
		data, err := json.Marshal(e.data)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range describeData(&ledger.Entry{Kind: e.kind, Revision: e.revision, Data: data}) {
			got = append(got, strings.TrimSpace(f.name)+": "+f.value)
		}
		if text := strings.Join(got, "|"); text != want {
			t.Errorf("got  %s\nwant %s", text, want)
		}
	}
}

package audit

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/report"
	"github.com/westworld-charter/charter/tests/internal/process"
	"github.com/westworld-charter/charter/tests/internal/program"
)

// A report about a node says what the server answered, to the digit, and what a crash
// lost; and so of a running server, over HTTP.
func TestReportOfARealServer(t *testing.T) {
	admin, data := program.Path(t, "charter-admin"), t.TempDir()
	s := start(t, data)
	s.must(t, allowed) // the crash loses it
	for range 7 {
		s.must(t, forbidden)
	}
	s.kill()
	s = start(t, data)
	for range 11 {
		s.must(t, allowed)
	}
	s.must(t, forbidden)
	s.stop(t)
	s = start(t, data)
	for _, from := range [][]string{{"--data", data}, {"--server", s.url}} {
		args := append(strings.Fields("audit report --from 1h --node edge-1 --charter charter.yaml --format json"), from...)
		out := process.Output(t, process.Options{}, admin, args...)
		var d report.Collection
		if err := json.Unmarshal([]byte(out), &d); err != nil {
			t.Fatal(err)
		}
		if d.Summary.Denied.Count != 8 || d.Summary.Collected.Count != 11 || len(d.Kept) != 1 || d.Kept[0].Retention != "30d" || len(d.Policies) != 1 || !d.Policies[0].Given {
			t.Errorf("%v: %s", from, out)
		}
		if gaps := d.Completeness.Gaps; d.Completeness.Complete || len(gaps) != 1 || gaps[0].Reason != ledger.ReasonCrash || gaps[0].What != report.MissingAllowed || gaps[0].Count != nil {
			t.Errorf("%v: %+v", from, d.Completeness)
		}
		if len(d.Labels) != 1 || strings.Join(d.Labels[0].Names, " ") != "device zone" || strings.Contains(out, "secret") {
			t.Errorf("%v: labels %+v", from, d.Labels)
		}
	}
}

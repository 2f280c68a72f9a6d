package metrics_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/ledger"
)

// row is an entry as a store commits it.
func row(kind ledger.Kind, node, severity, principal string, data any) ledger.Row {
	text, err := json.Marshal(map[string]any{"schema": 1, "kind": kind, "node": node, "severity": severity, "data": data})
	if err != nil {
		panic(err)
	}
	return ledger.Row{Body: text, Columns: ledger.Columns{Kind: kind, Node: node, Severity: severity, Principal: principal}}
}

// history is what the i-th node went through.
func history(i int) []ledger.Row {
	node, by := fmt.Sprintf("edge-%d", i), "charter:enforcement"
	return []ledger.Row{
		row(ledger.Violation, node, "critical", by, ledger.ViolationRecord{ID: "v", Source: ledger.FromDenial, Type: "silent_collection"}),
		row(ledger.Standing, node, "", by, ledger.StandingChange{From: "good", To: "suspended"}),
		row(ledger.Violation, "somebody-else", "high", "", ledger.ViolationRecord{ID: "r", Source: ledger.FromReport, Type: "exploitation"}),
		row(ledger.Investigation, node, "critical", by, ledger.InvestigationStep{Action: ledger.InvestigationOpened, Type: "silent_collection"}),
		row(ledger.Investigation, node, "high", "", ledger.InvestigationStep{Action: ledger.InvestigationOpened, Type: "what I write", By: "token:auditor"}),
		row(ledger.Investigation, node, "critical", "token:auditor", ledger.InvestigationStep{Action: ledger.InvestigationResolved, Outcome: "unfounded"}),
		row(ledger.Override, "", "", "", ledger.OverrideChange{Action: ledger.Began, By: "quorum", Retention: "60d"}),
		row(ledger.Override, "", "", "", ledger.OverrideChange{Action: ledger.Ended, By: "expiry", Purposes: []string{"research"}}),
		row(ledger.Revocation, node, "", "", ledger.RevocationChange{Action: ledger.Began, Reason: "legal"}),
		row(ledger.Notification, node, "critical", "charter:notify", ledger.Delivery{Receiver: "committee", State: ledger.Delivered}),
		row(ledger.Alert, "", "", "", ledger.AlertRecord{Name: "X", Status: "firing"}),
	}
}

// Counts are those of the entries.
func TestCountsAreReadOffTheLedger(t *testing.T) {
	m := used() // with history(0)
	wantLines(
		t, scrape(t, m),
		`charter_violations_total{node="edge-0",severity="critical",violation_type="silent_collection"} 1`,
		`charter_violation_reports_total{violation_type="exploitation"} 1`,
		`charter_standing_changes_total{to="suspended"} 1`,
		`charter_investigation_initiated_total{initiated_by="automatic",violation_type="silent_collection"} 1`,
		`charter_investigation_initiated_total{initiated_by="token",violation_type="other"} 1`,
		`charter_investigation_outcomes_total{outcome="unfounded"} 1`,
		`charter_emergency_override_total{action="begin",by="quorum",reason="retention"} 1`,
		`charter_emergency_override_total{action="end",by="expiry",reason="purposes"} 1`,
		`charter_data_revocation_events_total{action="begin",node="edge-0",reason="legal"} 1`,
		`charter_audit_committee_notifications_total{receiver="committee",severity="critical",status="delivered"} 1`,
		`charter_alerts_received_total{status="firing"} 1`,
		`charter_ledger_entries_total{kind="violation"} 2`,
		`charter_violations_under_investigation{severity="critical"} 2`,
		`charter_violations_under_investigation{severity="other"} 1`,
		`charter_emergency_override_active 1`,
		`charter_nodes{standing="suspended"} 3`,
		`charter_notification_receivers_failing 3`,
	)
}

// A report is somebody's word: it is no violation before an investigation confirms
// it, and then the node that it names need not be one that ever asked.
func TestReportCountsWhenConfirmed(t *testing.T) {
	m := used()
	confirmed := ledger.InvestigationStep{Action: ledger.InvestigationResolved, Outcome: "confirmed", Type: "exploitation", At: "2026-01-01T00:00:00Z"}
	m.LedgerCommitted(ledger.Commit{Rows: []ledger.Row{row(ledger.Investigation, "somebody-else", "high", "token:auditor", confirmed)}}, time.Millisecond)
	got := scrape(t, m)
	wantLines(t, got, `charter_violations_total{node="other",severity="high",violation_type="exploitation"} 1`)
	if strings.Contains(got, "somebody-else") {
		t.Error("a node that only a report names became a label")
	}
}

// Entries that cannot be read are counted as other, and never stop the ledger.
func TestForeignEntries(t *testing.T) {
	m := used()
	rows := []ledger.Row{{Columns: ledger.Columns{Kind: "odd"}}}
	for _, kind := range ledger.Kinds() {
		rows = append(rows, ledger.Row{Columns: ledger.Columns{Kind: kind, Severity: "odd"}}, ledger.Row{Body: []byte("["), Columns: ledger.Columns{Kind: kind, Node: "\xff"}})
	}
	before := strings.Count(scrape(t, m), "\n")
	for range 10 {
		m.LedgerCommitted(ledger.Commit{Rows: rows}, time.Millisecond)
	}
	if after := strings.Count(scrape(t, m), "\n"); after > before+20 {
		t.Errorf("%d lines became %d", before, after)
	}
}

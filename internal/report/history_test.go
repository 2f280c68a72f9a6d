package report_test

import (
	"encoding/json"
	"fmt"
	"iter"
	mathrand "math/rand/v2"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledger/ledgertest"
)

// history writes entries at times of its own choosing.
type history struct {
	t     testing.TB
	store *ledgertest.Memory
	log   *ledger.Log
	now   time.Time
	keys  ledger.Keys
}

// fixedKey gives the same key each time, so that golden files hold.
type fixedKey struct{}

func (fixedKey) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(i)
	}
	return len(p), nil
}

func newHistory(t testing.TB, start time.Time) *history {
	t.Helper()
	h := &history{t: t, store: ledgertest.NewMemory(), now: start}
	signer, _, err := ledger.GenerateSigner(fixedKey{}, ledgertest.Origin)
	if err != nil {
		t.Fatal(err)
	}
	h.keys = ledgertest.Keys(t, signer)
	h.log = ledgertest.NewLog(t, h.store, signer, func(o *ledger.Options) { o.Now = func() time.Time { return h.now } })
	return h
}

// add appends entries at a time after the one before.
func (h *history) add(later time.Duration, entries ...ledger.Entry) {
	h.t.Helper()
	h.now = h.now.Add(later)
	if _, err := h.log.AppendAll(h.t.Context(), entries, ledger.Durable); err != nil {
		h.t.Fatal(err)
	}
}

// entry makes an entry with data.
func entry(kind ledger.Kind, node string, data any) ledger.Entry {
	text, err := json.Marshal(data)
	if err != nil {
		panic(err)
	}
	return ledger.Entry{Kind: kind, Node: node, Data: text, Principal: "charter:test"}
}

func denial(node, metric, clause, mode string, codes ...string) ledger.Entry {
	e := ledger.Entry{
		Kind: ledger.Denial, Metric: metric, Node: node, Role: "node_operator", Operation: "collect", Outcome: "forbidden", Clause: clause,
		Severity: "critical", Mode: mode, Revision: "production-1.2.0+ab12cd34ef56", Principal: "cert:" + node,
	}
	for _, code := range codes {
		e.Reasons = append(e.Reasons, ledger.Reason{Code: code, Clause: clause, Severity: "critical"})
	}
	return e
}

func window(id string, from time.Time, overflow uint64, counts ...ledger.Counted) ledger.Entry {
	return entry(ledger.WindowClose, "", ledger.Window{ID: id, From: from.Format(time.RFC3339Nano), To: from.Add(time.Minute).Format(time.RFC3339Nano), Counts: counts, Overflow: overflow})
}

func allowed(node, metric, clause string, n uint64) ledger.Counted {
	return ledger.Counted{
		Metric: metric, Node: node, Role: "node_operator", Operation: "collect", Clause: clause, Outcome: "allowed",
		Revision: "production-1.2.0+ab12cd34ef56", Labels: []string{"device", "instance"}, Count: n,
	}
}

// rows are all entries of the history, from its store.
func (h *history) rows() iter.Seq2[ledger.Row, error] {
	return h.store.Rows(h.t.Context(), 0, uint64(len(h.store.Entries)))
}

// random appends n entries of all kinds, over 230 days on average.
func (h *history) random(r *mathrand.Rand, n int) {
	h.t.Helper()
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	node := func() string { return fmt.Sprintf("edge-%d", r.IntN(6)) }
	clause := func() string { return pick("privacy.location", "privacy.identity", "net.node", "default") }
	const span = 230 * 24 * 60 // minutes
	var batch []ledger.Entry
	for i := range n {
		violation, id := fmt.Sprintf("v%d", r.IntN(n)), fmt.Sprintf("i%d", r.IntN(40))
		who := node()
		var e ledger.Entry
		switch r.IntN(14) {
		case 0, 1, 2, 3:
			e = denial(who, fmt.Sprintf("gps_%d", r.IntN(9)), clause(), pick("enforce", "enforce", "warn", "shadow"), pick("forbidden_metric", "unknown_metric"), "forbidden_label")
			e.Severity = pick("critical", "high", "low")
			e.Outcome = pick("forbidden", "denied", "unknown_metric")
		case 4, 5:
			var counts []ledger.Counted
			for range 1 + r.IntN(4) {
				c := allowed(node(), fmt.Sprintf("latency_p%d", r.IntN(9)), clause(), uint64(1+r.IntN(1000)))
				c.Operation, c.Purpose, c.Retention = pick("collect", "read", "export"), pick("", "operations", "billing"), pick("", "7d")
				counts = append(counts, c)
			}
			e = window(fmt.Sprintf("w%d", i), h.now.Add(-time.Duration(r.IntN(90))*time.Minute), uint64(r.IntN(3)), counts...)
		case 6:
			e = entry(ledger.Violation, who, ledger.ViolationRecord{
				ID: violation, Source: pick("denial", "report"), Type: pick("silent_collection", "exploitation"),
				Consequence: &ledger.Consequence{Level: 1 + r.IntN(4), Action: pick("warn", "suspend"), Count: 1},
			})
			e.Clause, e.Severity = clause(), pick("critical", "high")
		case 7, 8:
			e = entry(ledger.Investigation, who, ledger.InvestigationStep{
				ID: id, Violation: violation, By: "token:ana",
				Action: pick("open", "open", "assign", "note", "resolve", "dismiss", "overdue"), Outcome: pick("confirmed", "unfounded"),
			})
			e.Severity = "high"
		case 9:
			e = entry(ledger.Standing, who, ledger.StandingChange{From: "good", To: pick("warned", "suspended", "quarantined", "good"), Action: "suspend"})
		case 10:
			e = entry(ledger.Override, "", ledger.OverrideChange{ID: fmt.Sprintf("o%d", r.IntN(9)), Action: pick("begin", "renew", "end"), By: "quorum", Signers: []string{pick("0xa", "0xb")}})
		case 11:
			e = entry(ledger.Revocation, who, ledger.RevocationChange{Action: pick("begin", "end", "window-closed"), Reason: "legal"})
		case 12:
			e = entry(ledger.Notification, "", ledger.Delivery{ID: "m", Receiver: pick("committee", "legal"), Channel: pick("slack", "email"), State: pick("delivered", "failed", "dead"), Messages: r.IntN(5)})
		default:
			e = entry(ledger.Gap, "", ledger.Missing{Reason: ledger.ReasonCrash, Window: fmt.Sprintf("w%d", r.IntN(n))})
		}
		if batch = append(batch, e); len(batch) == 5 || i == n-1 {
			h.add(time.Duration(r.IntN(2*span*5/n))*time.Minute, batch...)
			batch = nil
		}
	}
}

package audit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/ledger"
)

// Reporter is who made decisions elsewhere, and who brings them.
type Reporter struct {
	// Principal is the authenticated identity of who brings them, its kind before its
	// name; "" when there is none.
	Principal string
	Instance  string // who decided, such as the id of an OPA; at most 128 bytes of UTF-8
}

// reporterKind goes before the principal of a reporter. So no entry that was reported
// has the principal of a node that asked here itself: what a node's own agent says
// about it has no consequences, or whoever may ask that agent could bring them about.
const reporterKind = "opa:"

// Name is the principal of entries that were reported.
func (r Reporter) Name() string {
	if r.Principal == "" {
		return reporterKind + "unproven"
	}
	return reporterKind + r.Principal
}

// Reported is a decision that was made elsewhere.
type Reported struct {
	ID       string    // of the decision, "" is invalid; a decision that is reported again has the same
	At       time.Time // when it was made, by the clock there
	Input    decision.Input
	Decision decision.Decision
	// Refused is why it was not the reporter's to report, a code; "" when it was. Such
	// a decision is recorded as refused here, whatever it was.
	Refused string
}

// ReportedCounts are what became of decisions that were reported.
type ReportedCounts struct {
	Denied   uint64 // the refused ones included
	Allowed  uint64
	Refused  uint64 // were not the reporter's to report
	Repeated uint64 // of all these, were reported before, and are recorded once
}

// Origin is the part of [Details] about a decision that was made elsewhere.
type Origin struct {
	By string `json:"by"` // the instance that decided
	At string `json:"at"` // when, by its clock; RFC 3339
}

// Report records decisions that were made elsewhere as own ones are: denials one by
// one, allowances as the charter says; those that are counted go into a window of their
// own, which is recorded before Report returns. An error wraps [ErrUnavailable]: some of
// the decisions are not in the ledger, or may not be. Reporting the same ones again
// then, or at any other time, records none twice.
func (a *Auditor) Report(ctx context.Context, by Reporter, decisions []Reported) (ReportedCounts, error) {
	b := batch{rules: a.Rules(), by: by, seen: map[string]bool{}, window: newWindow("", time.Time{}, a.Distinct)}
	for i := range decisions {
		b.add(&decisions[i])
	}
	for level, list := range b.denials {
		if err := a.reported(ctx, list, ledger.Level(level), &b.counts); err != nil {
			return b.counts, err
		}
	}
	windows, err := b.close()
	if err != nil {
		return b.counts, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return b.counts, a.reported(ctx, append(b.each, windows...), ledger.Durable, &b.counts)
}

// reported appends entries and counts those that were there before.
func (a *Auditor) reported(ctx context.Context, entries []ledger.Entry, level ledger.Level, counts *ReportedCounts) error {
	for some := range slices.Chunk(entries, chunk) {
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.Deadline)
		positions, err := a.Log.AppendAll(limited, some, level)
		cancel()
		for i := range positions {
			if positions[i].Duplicate {
				counts.Repeated += decisionsIn(&some[i])
			}
		}
		if Unrecorded(positions, err, len(some)) > 0 {
			a.Failed(err)
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
	return nil
}

// decisionsIn is how many decisions an entry is about.
func decisionsIn(e *ledger.Entry) uint64 {
	if e.Kind != ledger.WindowClose {
		return 1
	}
	var w ledger.Window
	if json.Unmarshal(e.Data, &w) != nil {
		return 0 // it is what parts wrote
	}
	n := w.Overflow
	for i := range w.Counts {
		n += w.Counts[i].Count
	}
	return n
}

// batch is what is to be recorded of one report.
type batch struct {
	rules   Rules
	by      Reporter
	denials [2][]ledger.Entry // by ledger.Level
	each    []ledger.Entry    // allowances
	counts  ReportedCounts

	window   *window
	seen     map[string]bool // ids of what is in the window
	from, to time.Time
}

func (b *batch) add(r *Reported) {
	d := &r.Decision
	d.DecisionID = r.ID
	if r.Refused != "" {
		refused := refusal(r.Refused)
		refused.DecisionID, d = r.ID, &refused
	}
	why, no := denied(d)
	switch {
	case no:
		b.counts.Denied++
		if r.Refused != "" {
			b.counts.Refused++
		}
		level := b.rules.level(why)
		b.denials[level] = append(b.denials[level], b.entry(ledger.Denial, r, d))
		return
	case b.rules.Allowed == Each:
		b.each = append(b.each, b.entry(ledger.Allowance, r, d))
	case b.rules.Allowed == Counted:
		b.count(r, d)
	}
	b.counts.Allowed++
}

func (b *batch) entry(kind ledger.Kind, r *Reported, d *decision.Decision) ledger.Entry {
	e := entryOf(kind, Caller{Principal: b.by.Name(), RequestID: r.ID}, &r.Input, d)
	e.Data = reportedBy(&Origin{By: b.by.Instance, At: stamp(r.At)}, e.Data)
	return e
}

// count adds an allowance to the window, once.
func (b *batch) count(r *Reported, d *decision.Decision) {
	if b.seen[r.ID] {
		b.counts.Repeated++
		return
	}
	b.seen[r.ID] = true
	b.window.count(&r.Input, d) // it is open
	if b.from.IsZero() || r.At.Before(b.from) {
		b.from = r.At
	}
	if r.At.After(b.to) {
		b.to = r.At
	}
}

// close turns the window into entries. Its id is that of the decisions in it, so the
// same ones give the same entries.
func (b *batch) close() ([]ledger.Entry, error) {
	if len(b.seen) == 0 {
		return nil, nil
	}
	sum := sha256.New()
	for _, id := range slices.Sorted(maps.Keys(b.seen)) {
		_, _ = fmt.Fprintf(sum, "%q\n", id) // it cannot fail
	}
	w := ledger.Window{
		ID: "reported-" + hex.EncodeToString(sum.Sum(nil)[:16]), From: stamp(b.from), To: stamp(b.to), Reported: b.by.Instance,
		Overflow: b.window.overflow.Load(),
	}
	entries, err := parts(w, b.window.close())
	for i := range entries {
		entries[i].Principal = b.by.Name()
	}
	return entries, err
}

// reportedBy adds an origin to the details of an entry.
func reportedBy(o *Origin, data jsontext.Value) jsontext.Value {
	var d Details
	if data != nil && json.Unmarshal(data, &d) != nil {
		return data // it is what detailed wrote
	}
	d.Reported = o
	return detailed(d)
}

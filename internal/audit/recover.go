package audit

import (
	"context"
	"fmt"
	"iter"

	"github.com/go-json-experiment/json"

	"github.com/westworld-charter/charter/internal/ledger"
)

// History is the part of [ledger.Reader] that is needed.
type History interface {
	Find(ctx context.Context, f ledger.Filter) iter.Seq2[ledger.Row, error]
}

// openAtOnce is how many windows can be open at the same time at most, with room:
// one ends while the next one has begun.
const openAtOnce = 8

// Recover reports what an earlier run has left unreported: denials that it answered
// unrecorded, and windows that were announced and never recorded, of which nobody
// knows how much was allowed in them. It is called before [Auditor.Run].
func (a *Auditor) Recover(ctx context.Context, h History) error {
	if err := a.recoverUnreported(ctx); err != nil {
		return err
	}
	return a.recoverWindows(ctx, h)
}

// recoverUnreported reports what is in the file of unreported gaps. It may have been
// reported, and the file left behind: appending it again changes nothing.
func (a *Auditor) recoverUnreported(ctx context.Context) error {
	gaps, err := a.unreported.load(stamp(a.Now()))
	if err != nil {
		return err
	}
	var entries []ledger.Entry
	for _, g := range gaps {
		e, err := g.entry()
		if err != nil {
			return err
		}
		entries = append(entries, e)
	}
	if len(entries) == 0 {
		return nil
	}
	if err := a.must(ctx, entries); err != nil {
		return err
	}
	a.unreported.settle()
	return nil
}

func (a *Auditor) recoverWindows(ctx context.Context, h History) error {
	settled := map[string]bool{}
	var gaps []ledger.Entry
	seen := 0
	filter := ledger.Filter{Kinds: []ledger.Kind{ledger.WindowOpen, ledger.WindowClose, ledger.Gap}, Newest: true}
	for row, err := range h.Find(ctx, filter) {
		if err != nil {
			return err
		}
		id, from, err := windowOf(row)
		if err != nil {
			return err
		}
		if row.Kind != ledger.WindowOpen {
			settled[id] = true
			continue
		}
		if !settled[id] {
			gap, err := entryWith(ledger.Gap, ledger.Missing{Reason: ledger.ReasonCrash, Window: id, From: from})
			if err != nil {
				return err
			}
			gaps = append(gaps, gap)
		}
		if seen++; seen == openAtOnce {
			break
		}
	}
	if len(gaps) == 0 {
		return nil
	}
	return a.must(ctx, gaps)
}

// windowOf is the window that an entry settles: a last part does, a part that
// others follow does not.
func windowOf(row ledger.Row) (id, from string, err error) {
	e, err := ledger.ParseEntry(row.Body)
	if err != nil {
		return "", "", fmt.Errorf("entry %d: %w", row.Index, err)
	}
	if e.Kind == ledger.Gap {
		var m ledger.Missing
		err = json.Unmarshal(e.Data, &m)
		return m.Window, "", err
	}
	var w ledger.Window
	err = json.Unmarshal(e.Data, &w)
	if e.Kind == ledger.WindowClose && w.More {
		return "", "", err
	}
	return w.ID, w.From, err
}

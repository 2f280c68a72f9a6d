package audit

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/ledger"
)

// maxPart is how many bytes of counts one entry holds at most, with room for the
// rest of the entry.
const maxPart = ledger.MaxBody - 4<<10

// count adds an allowance to the current window. The first one opens it.
func (a *Auditor) count(ctx context.Context, in *decision.Input, d *decision.Decision) error {
	for {
		if a.suspended.Load() {
			return ErrUnavailable
		}
		w := a.current.Load()
		if w != nil && w.count(in, d) {
			return nil
		}
		if err := a.open(ctx, w); err != nil {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
}

// open announces a window and makes it the current one, unless another one than
// old is by now.
func (a *Auditor) open(ctx context.Context, old *window) error {
	a.opening.Lock()
	defer a.opening.Unlock()
	if a.current.Load() != old || a.suspended.Load() {
		return nil // count finds out
	}
	err := a.next(ctx)
	if err != nil {
		a.suspended.Store(true) // or all those who wait here would try for as long, one by one
	}
	return err
}

// next needs opening to be held. A window that may have been announced without an
// acknowledgement is announced again, so that none is left open in the ledger.
func (a *Auditor) next(ctx context.Context) error {
	if a.begun == nil {
		a.begun = newWindow(rand.Text(), a.Now(), a.Distinct)
	}
	announced, err := entryWith(ledger.WindowOpen, ledger.Window{ID: a.begun.id, From: stamp(a.begun.from)})
	if err != nil {
		return err
	}
	if err := a.must(ctx, []ledger.Entry{Once(announced, a.begun.id)}); err != nil {
		return err
	}
	a.current.Store(a.begun)
	a.begun = nil
	return nil
}

// Run closes windows as they end, and reports what is missing. When ctx ends it
// closes the last one; its error is why that could not be recorded. Nothing is
// counted afterwards.
func (a *Auditor) Run(ctx context.Context) error {
	ticker := time.NewTicker(a.Window)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			_ = a.Flush(ctx) // Failed was told
		case <-ctx.Done():
			return a.finish(context.WithoutCancel(ctx))
		}
	}
}

// Suspend gives no more allowances that have to be recorded, until a Flush
// succeeds. It is for those who know that the ledger cannot be written: counts of
// a window are in memory until it ends.
func (a *Auditor) Suspend() { a.suspended.Store(true) }

// Flush ends the current window, if anything was counted in it, and records it
// together with what is missing. What could not be recorded is kept for the next
// time, and no allowance is given until then.
func (a *Auditor) Flush(ctx context.Context) error {
	a.opening.Lock()
	defer a.opening.Unlock()
	if a.over {
		return nil
	}
	err := a.flush(ctx)
	a.suspended.Store(err != nil)
	return err
}

// flush needs opening to be held.
func (a *Auditor) flush(ctx context.Context) error {
	if w := a.current.Load(); w != nil && w.used.Load() {
		// The next window first: nobody has to wait for it.
		if err := a.next(ctx); err != nil {
			return err
		}
		a.ended(w)
	}
	return a.record(ctx)
}

func (a *Auditor) finish(ctx context.Context) error {
	a.opening.Lock()
	defer a.opening.Unlock()
	a.over = true
	a.suspended.Store(true)
	if w := a.current.Swap(nil); w != nil {
		a.ended(w)
	}
	if a.begun != nil { // it may be open in the ledger
		a.ended(a.begun)
		a.begun = nil
	}
	return a.record(ctx)
}

// ended turns a window into entries.
func (a *Auditor) ended(w *window) {
	counts := w.close()
	entries, err := parts(ledger.Window{ID: w.id, From: stamp(w.from), To: stamp(a.Now()), Overflow: w.overflow.Load()}, counts)
	if err != nil {
		a.Failed(err)
		return // the window stays open in the ledger, which tells that its counts are missing
	}
	a.pending = append(a.pending, entries...)
}

// record appends what is pending and what is missing. All of it has a request id:
// what an attempt that failed has appended all the same is not appended again.
func (a *Auditor) record(ctx context.Context) error {
	if g, any := a.unreported.close(); any {
		e, err := g.entry()
		if err != nil {
			return err
		}
		a.pending = append(a.pending, e)
	}
	if len(a.pending) == 0 {
		return nil
	}
	if err := a.must(ctx, a.pending); err != nil {
		return err
	}
	a.pending = nil
	a.unreported.settle()
	return nil
}

// own is the principal of entries that nobody asked for. Those of callers begin
// with the kind of their proof and a colon.
const own = "audit"

// Once returns an entry of this program under an id: appending it again, because
// it is not known whether it was, changes nothing.
func Once(e ledger.Entry, id string) ledger.Entry {
	e.Principal, e.RequestID = own, id
	return e
}

// parts splits the counts of a window over entries.
func parts(w ledger.Window, counts []ledger.Counted) ([]ledger.Entry, error) {
	var entries []ledger.Entry
	add := func(part ledger.Window) error {
		part.Part = len(entries)
		e, err := entryWith(ledger.WindowClose, part)
		entries = append(entries, Once(e, w.ID+"#"+strconv.Itoa(part.Part)))
		return err
	}
	part, size := w, 0
	part.Overflow = 0
	for _, c := range counts {
		text, err := json.Marshal(c)
		if err != nil {
			return nil, err
		}
		if size+len(text) > maxPart {
			part.More = true
			if err := add(part); err != nil {
				return nil, err
			}
			part.Counts, part.More, size = nil, false, 0
		}
		part.Counts = append(part.Counts, c)
		size += len(text) + 1
	}
	part.Overflow = w.Overflow
	err := add(part)
	return entries, err
}

func entryWith(kind ledger.Kind, data any) (ledger.Entry, error) {
	text, err := json.Marshal(data)
	return ledger.Entry{Kind: kind, Data: text}, err
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

package report

import (
	"fmt"
	"time"

	"github.com/westworld-charter/charter/internal/ledger"
)

// Unverified is the assurance of a report over a ledger that nobody verified. The
// others are those of [ledger.Assurance].
const Unverified = "unverified"

// Assurance is what whoever made a report knows about the ledger.
type Assurance struct {
	Level string // [Unverified], or a [ledger.Assurance]
	// Signed says that the signature of the checkpoint was verified.
	Signed   bool
	Keys     []string // public keys it was verified with, for people
	KeysFrom string   // where they come from
	// Witnessed is the size of the latest checkpoint that enough witnesses have
	// cosigned; 0 for none.
	Witnessed uint64
}

// Coverage is which ledger a report was made from, and what that is worth.
type Coverage struct {
	Origin     string   `json:"origin"`
	Size       uint64   `json:"size"`       // entries of the ledger
	Root       string   `json:"root"`       // of the tree of this size, base64
	Checkpoint string   `json:"checkpoint"` // signed note
	Signature  string   `json:"signature"`  // verified or not_verified
	Assurance  string   `json:"assurance"`  // unverified, self-consistent, anchored or witnessed
	Keys       []string `json:"keys"`
	KeysFrom   string   `json:"keys_from,omitempty"`
	Witnessed  uint64   `json:"witnessed"`
	// Entries are those of the period.
	Entries Citation `json:"entries"`
	// Through is the time of the last entry that was looked at; absent without any.
	Through string `json:"through,omitempty"`
}

// cover reads what a checkpoint says. The error wraps [ledger.ErrCheckpoint].
func cover(checkpoint []byte, a Assurance) (Coverage, error) {
	c := Coverage{Checkpoint: string(checkpoint), Signature: "not_verified", Assurance: a.Level, Keys: append([]string{}, a.Keys...), KeysFrom: a.KeysFrom, Witnessed: a.Witnessed}
	if a.Signed {
		c.Signature = "verified"
	}
	if c.Assurance == "" {
		c.Assurance = Unverified
	}
	if len(checkpoint) == 0 {
		return c, nil // an empty ledger
	}
	origin, size, root, err := ledger.ParseCheckpoint(checkpoint)
	if err != nil {
		return c, err
	}
	c.Origin, c.Size, c.Root = origin, size, root.String()
	return c, nil
}

// Completeness is what is known to be missing from the counts of a report.
type Completeness struct {
	// Complete says that nothing is: no gap, nothing counted together, no window
	// without its counts, nothing pruned, and the period is over.
	Complete bool `json:"complete"`
	// PeriodOver says that the ledger has an entry from after the period: what
	// belongs to the period is in the ledger then, since times never go back.
	PeriodOver bool `json:"period_over"`
	// Overflow are allowed questions that a window had no room to tell apart.
	Overflow Figure `json:"overflow"`
	Gaps     []Gap  `json:"gaps"`
	// MoreGaps are gaps that the list has no room for.
	MoreGaps uint64 `json:"more_gaps,omitempty"`
	// OpenWindows were announced, and their counts are not among the entries of the
	// period: they come later, or are lost.
	OpenWindows Figure `json:"open_windows"`
	// Straddling are allowed questions of windows that began before the period and
	// were recorded in it, where they count.
	Straddling Figure `json:"straddling"`
	// Pruned are entries whose bodies are gone: nobody knows whether they belong to
	// the period.
	Pruned uint64 `json:"pruned"`
	// Unrecorded are revisions whose charter does not have allowed questions recorded.
	Unrecorded []string `json:"unrecorded"`
	// Unknown are revisions that decided in the period and whose charter was not
	// given: whether it has allowed questions recorded is not known.
	Unknown []string `json:"unknown"`
}

// Gap is something that the ledger says is missing from it.
type Gap struct {
	Index  uint64 `json:"index"`
	Time   string `json:"time"`
	Reason string `json:"reason"` // crash, best-effort or unavailable
	// What is missing: the allowed questions of a window, or denials.
	What    string  `json:"what"`
	Count   *uint64 `json:"count,omitempty"` // absent when nobody knows
	AtLeast uint64  `json:"at_least"`
	From    string  `json:"from,omitempty"`
	To      string  `json:"to,omitempty"`
}

// What a [Gap] is about.
const (
	MissingAllowed = "allowed"
	MissingDenials = "denials"
)

// losses finds out what is missing.
type losses struct {
	period     Period
	over       bool
	overflow   Figure
	gaps       list[Gap]
	straddling Figure
	pruned     uint64
	open       map[string]uint64 // windows that were announced and not recorded, by id
}

// openLimit is how many windows are kept in mind. A server has two at the same time.
const openLimit = 1 << 12

func newLosses(p Period, rows int) losses {
	return losses{period: p, gaps: list[Gap]{limit: rows}, open: map[string]uint64{}}
}

// opened takes note of a window that was announced.
func (l *losses) opened(ev *event) error {
	w, err := dataOf[ledger.Window](ev)
	if err != nil {
		return err
	}
	if len(l.open) < openLimit {
		l.open[w.ID] = ev.index
	}
	return nil
}

// closed takes note of a window that was recorded, in the period or before it.
func (l *losses) closed(ev *event, w *ledger.Window) {
	if !w.More {
		delete(l.open, w.ID)
	}
	if !l.period.holds(ev.Time) {
		return
	}
	if w.Overflow > 0 {
		l.overflow.add(w.Overflow, ev.index)
	}
	if from, err := time.Parse(time.RFC3339Nano, w.From); err == nil && from.Before(l.period.From) {
		n := w.Overflow
		for i := range w.Counts {
			n += w.Counts[i].Count
		}
		l.straddling.add(n, ev.index)
	}
}

// gap takes note of a gap, in the period or before it.
func (l *losses) gap(ev *event) error {
	m, err := dataOf[ledger.Missing](ev)
	if err != nil {
		return err
	}
	delete(l.open, m.Window)
	if !l.period.holds(ev.Time) {
		return nil
	}
	g := Gap{Index: ev.index, Time: stamp(instant(ev.Time)), Reason: m.Reason, What: MissingDenials, Count: m.Count, AtLeast: m.AtLeast, From: m.From, To: m.To}
	if m.Window != "" {
		g.What = MissingAllowed
	}
	if m.Count != nil {
		g.AtLeast = *m.Count
	}
	l.gaps.add(g)
	return nil
}

func (l *losses) completeness(p *policies) Completeness {
	c := Completeness{
		PeriodOver: l.over, Overflow: l.overflow.settled(), Gaps: l.gaps.all(), MoreGaps: l.gaps.more,
		Straddling: l.straddling.settled(), Pruned: l.pruned,
	}
	var open Figure
	for _, index := range sortedValues(l.open) {
		open.add(1, index)
	}
	c.OpenWindows = open.settled()
	c.Unrecorded, c.Unknown = p.recording()
	c.Complete = c.PeriodOver && c.Overflow.Count == 0 && len(c.Gaps) == 0 && c.OpenWindows.Count == 0 && c.Pruned == 0 && len(c.Unrecorded) == 0
	return c
}

// sentences says what is missing, for people.
func (c *Completeness) sentences() []string {
	var all []string
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if !c.PeriodOver {
		say("The ledger has no entry from after the end of the period: entries of the period may follow.")
	}
	if c.Overflow.Count > 0 {
		say("%s allowed questions were counted and not told apart: of which metrics and nodes they were, nobody knows (entries %s).", number(c.Overflow.Count), c.Overflow.Entries)
	}
	if n := uint64(len(c.Gaps)) + c.MoreGaps; n > 0 {
		say("Gaps that the ledger itself reports, listed below: %s.", number(n))
	}
	if c.OpenWindows.Count > 0 {
		say("%s windows of allowed questions were begun whose counts are not among these entries: they were recorded later, or lost (entries %s).", number(c.OpenWindows.Count), c.OpenWindows.Entries)
	}
	if c.Straddling.Count > 0 {
		say("%s allowed questions are of windows that began before the period; they count here because they were recorded here (entries %s).", number(c.Straddling.Count), c.Straddling.Entries)
	}
	if c.Pruned > 0 {
		say("The bodies of the first %s entries of the ledger were exported and pruned: what they held is not in this report, and whether it belongs to the period is not known.", number(c.Pruned))
	}
	if len(c.Unrecorded) > 0 {
		say("A charter that was in force does not have allowed questions recorded: they are not counted.")
	}
	if len(c.Unknown) > 0 {
		say("Whether every charter that was in force has allowed questions recorded is not known: some were not given.")
	}
	return all
}

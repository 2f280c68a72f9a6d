package cli

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/westworld-charter/charter/internal/audit"
	"github.com/westworld-charter/charter/internal/ledger"
)

// prettyRows writes entries as lines for people, whose columns begin at the same
// place as long as what is in them is not too long.
type prettyRows struct {
	p      *program
	headed bool
}

const prettyRow = "%8s  %-24s %-16s %-8s  %-13s %-12s %-28s %s"

// Write adds a line.
func (w *prettyRows) Write(row ledger.Row) error {
	if !w.headed {
		w.headed = true
		w.line("INDEX", "TIME", "KIND", "SEVERITY", "OUTCOME", "NODE", "METRIC", "CLAUSE OR WHAT")
	}
	about := row.Clause
	if about == "" {
		e, err := ledger.ParseEntry(row.Body)
		if err != nil {
			return fmt.Errorf("entry %d: %w", row.Index, err)
		}
		about = summarizeData(&e)
	}
	severity := fmt.Sprintf("%-8s", printable(row.Severity))
	if w.p.color.stdout && row.Severity == "critical" {
		severity = "\x1b[31m" + severity + "\x1b[0m"
	}
	at := time.Unix(0, row.Time).UTC().Format("2006-01-02T15:04:05.000Z")
	w.line(strconv.FormatUint(row.Index, 10), at, printable(string(row.Kind)), severity, printable(row.Outcome), printable(row.Node),
		printable(row.Metric), printable(about))
	return nil
}

func (w *prettyRows) line(cells ...any) {
	text := fmt.Sprintf(prettyRow, cells...)
	fmt.Fprintln(w.p.stdout, strings.TrimRight(text, " "))
}

// Close has nothing to end.
func (w *prettyRows) Close() error { return nil }

// summarizeData says in a few words what an entry that is no decision is about.
func summarizeData(e *ledger.Entry) string {
	lines := describeData(e)
	if len(lines) == 0 {
		return e.Revision
	}
	return strings.Join(strings.Fields(lines[0].value), " ")
}

// fact is a line of a description.
type fact struct{ name, value string }

// describeData explains what only a kind has. The first fact sums it up.
func describeData(e *ledger.Entry) []fact {
	if len(e.Data) == 0 {
		return nil
	}
	switch e.Kind {
	case ledger.WindowOpen, ledger.WindowClose:
		return describe(e, describeWindow)
	case ledger.Gap:
		return describe(e, describeGap)
	case ledger.KeyRotation:
		return describe(e, func(r ledger.Rotation) []fact {
			return []fact{{"keys", fmt.Sprintf("%s signs, and %s along", shortKey(r.New), shortKey(r.Old))}, {"new key", r.New}, {"old key", r.Old}}
		})
	case ledger.KeyRetirement:
		return describe(e, func(r ledger.Retirement) []fact {
			return []fact{{"keys", shortKey(r.Key) + " signs alone"}, {"key", r.Key}, {"retired", strings.Join(r.Retired, ", ")}}
		})
	case ledger.Sealed:
		return describe(e, func(s ledger.Seal) []fact {
			what := fmt.Sprintf("entries %d to %d were exported and may be pruned", s.From, s.To-1)
			if s.Overruled {
				what += ", whatever the charter says (--unsafe-ignore-retention)"
			}
			return []fact{{"sealed", what}, {"manifest", s.Manifest}}
		})
	case ledger.Load:
		return describe(e, describeLoad)
	case ledger.Activation:
		return describe(e, describeActivation)
	case ledger.Instance:
		return describe(e, func(c ledger.InstanceChange) []fact { return describeInstance(e.Revision, c) })
	}
	return describeEnforcement(e)
}

// shortKey is the name and the hash of a public key, which tell it from others.
func shortKey(key string) string {
	if v, err := note.NewVerifier(key); err == nil {
		return keyName(v)
	}
	return key
}

func describe[T any](e *ledger.Entry, say func(T) []fact) []fact {
	var data T
	if json.Unmarshal(e.Data, &data) != nil {
		return rawData(e)
	}
	return say(data)
}

func rawData(e *ledger.Entry) []fact { return []fact{{"data", string(e.Data)}} }

func describeWindow(w ledger.Window) []fact {
	if w.To == "" {
		return []fact{{"window", "counting begins: " + w.ID}, {"from", w.From}}
	}
	total := w.Overflow
	for _, c := range w.Counts {
		total += c.Count
	}
	facts := []fact{
		{"window", fmt.Sprintf("%d allowed, %d different questions", total, len(w.Counts))},
		{"id", w.ID},
		{"from", w.From},
		{"to", w.To},
	}
	facts = append(facts, present(fact{"opa", w.Reported})...)
	if w.Part > 0 || w.More {
		facts = append(facts, fact{"part", strconv.Itoa(w.Part)})
	}
	if w.Overflow > 0 {
		facts = append(facts, fact{"not told apart", strconv.FormatUint(w.Overflow, 10)})
	}
	for _, c := range w.Counts {
		value := fmt.Sprintf("%s %s at %s as %s (%s)", c.Operation, c.Metric, c.Node, c.Role, c.Clause)
		facts = append(facts, fact{fmt.Sprintf("%9d x", c.Count), value})
	}
	return facts
}

func describeGap(m ledger.Missing) []fact {
	count := "an unknown number of decisions is"
	switch {
	case m.Count != nil:
		count = fmt.Sprintf("%d decisions are", *m.Count)
	case m.AtLeast > 0:
		count = fmt.Sprintf("at least %d decisions are", m.AtLeast)
	}
	facts := []fact{{"gap", fmt.Sprintf("%s missing: %s", count, m.Reason)}}
	if m.Reported != "" {
		facts = append(facts, fact{"opa", m.Reported}, fact{"dropped", fmt.Sprintf("%d times since it was started, a decision or an upload of them", m.Dropped)})
	}
	return append(facts, present(fact{"window", m.Window}, fact{"from", m.From}, fact{"to", m.To})...)
}

// describeInstance tells what an OPA runs.
func describeInstance(revision string, c ledger.InstanceChange) []fact {
	what := fmt.Sprintf("bundle %s: %s", c.Bundle, revision)
	if revision == "" {
		what = fmt.Sprintf("bundle %s: none", c.Bundle)
	}
	if c.Code != "" {
		what += strings.TrimSpace(fmt.Sprintf(", %s %s", c.Code, c.HTTPCode))
	}
	return append([]fact{{"instance", what}}, present(fact{"opa", c.Instance}, fact{"activated", c.Activated}, fact{"before", c.Before})...)
}

func describeLoad(l audit.Load) []fact {
	what := strings.TrimSpace(l.Charter + " " + l.Version)
	facts := []fact{{"load", strings.TrimSpace(fmt.Sprintf("%s %s (%s) %s", l.Part, l.Result, l.Trigger, what))}}
	reason := "refused with"
	if l.Result == audit.Degraded {
		reason = "because of"
	}
	facts = append(facts, present(fact{reason, l.Code}, fact{"at", l.At}, fact{"times more", countText(l.Repeats)}, fact{"charter digest", l.Digest})...)
	return append(facts, describeSigned(l.Signed)...)
}

// describeSigned tells of the signed release that an entry is about.
func describeSigned(s audit.Signed) []fact {
	sequence := ""
	if s.Sequence > 0 {
		sequence = strconv.FormatInt(s.Sequence, 10)
	}
	return present(fact{"release", s.Release}, fact{"channel", s.Channel}, fact{"sequence", sequence}, fact{"expires", s.Expires})
}

// countText is "" for none.
func countText(n uint64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

func describeActivation(a audit.Activation) []fact {
	text := strings.TrimSpace(fmt.Sprintf("%s %s decides (%s)", a.Charter, a.Version, a.Trigger))
	if a.Percent != nil {
		text += fmt.Sprintf(" for %d %% of the nodes", *a.Percent)
	}
	facts := append([]fact{{"activation", text}},
		present(fact{"at", a.At}, fact{"charter digest", a.Digest}, fact{"entries kept", a.Retention}, fact{"before", a.Previous}, fact{"state digest", a.State}, fact{"states skipped", countText(a.Skipped)})...)
	return append(facts, describeSigned(a.Signed)...)
}

// present leaves out what has no value.
func present(facts ...fact) []fact {
	var some []fact
	for _, f := range facts {
		if f.value != "" {
			some = append(some, f)
		}
	}
	return some
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/westworld-charter/charter/internal/ledger"
)

func (p *program) showCommand() *cobra.Command {
	var src sourceFlags
	var keys keyFlags
	format := choice{values: []string{formatPretty, formatJSON}}
	cmd := &cobra.Command{
		Use:   "show INDEX|CID",
		Short: "Show all of one entry, and what proves it",
		Long: `Shows one entry with everything that it records, and proves it against the latest
checkpoint, or the first one with cosignatures over it. An entry is named by its
index or by its content address; looking for an address reads the whole ledger.`,
		Example: `  charter-admin audit show 4711
  charter-admin audit show 4711 --key ledger.pub --format json`,
		Args: arguments(1, 1, "one INDEX or CID"),
	}
	src.add(cmd)
	keys.add(cmd)
	format.flag(cmd)
	cmd.RunE = run(func(ctx context.Context, args []string) error {
		return p.withSource(ctx, src, func(s *source) error {
			row, err := findEntry(ctx, s, args[0])
			if err != nil {
				return err
			}
			shown, err := prove(ctx, s, row, keys)
			if err != nil {
				return err
			}
			if format.is(formatJSON) {
				return p.printJSON(shown)
			}
			return p.printShown(shown, row)
		})
	})
	return cmd
}

// findEntry returns the entry that an index or an address names.
func findEntry(ctx context.Context, s *source, name string) (ledger.Row, error) {
	if index, err := strconv.ParseUint(name, 10, 63); err == nil {
		row, err := s.reader.Entry(ctx, index)
		if errors.Is(err, ledger.ErrNotFound) {
			size, sizeErr := s.reader.Size(ctx)
			return row, errors.Join(usagef("there is no entry %d: the ledger holds %d, from 0", index, size), sizeErr)
		}
		return row, err
	}
	if len(name) != len(ledger.CID(nil)) || !strings.HasPrefix(name, "bafkrei") {
		return ledger.Row{}, usagef("%q is neither an index nor the CID of an entry (bafkrei...)", shorten(name))
	}
	for row, err := range s.Rows(ctx, 0, 1<<62) {
		if err != nil || row.Body != nil && ledger.CID(row.Body) == name {
			return row, err
		}
	}
	return ledger.Row{}, usagef("no entry has the address %s; if it was pruned, its export has it", name)
}

// shown is what `audit show --format json` prints.
type shown struct {
	Index  uint64         `json:"index"`
	CID    string         `json:"cid,omitempty"`
	Pruned bool           `json:"pruned"`
	Entry  jsontext.Value `json:"entry,omitempty"`
	Proof  proofStatus    `json:"proof"`
}

// proofStatus is what is known about an entry.
type proofStatus struct {
	Included  bool     `json:"included"` // in the tree of the checkpoint
	Size      uint64   `json:"size"`
	Root      string   `json:"root"`
	Hashes    int      `json:"hashes"`
	Signed    bool     `json:"signed"`            // the checkpoint, by a key of the ledger
	Keys      []string `json:"keys,omitempty"`    // that have signed
	KeysFrom  string   `json:"keys_from"`         // where they come from
	Pinned    bool     `json:"pinned"`            // from elsewhere than the ledger
	Witnesses []string `json:"witnesses"`         // that have signed, of those that were given
	Problem   string   `json:"problem,omitempty"` // why it is not signed
}

// prove finds out what proves an entry.
func prove(ctx context.Context, s *source, row ledger.Row, flags keyFlags) (shown, error) {
	out := shown{Index: row.Index, Pruned: row.Body == nil, Proof: proofStatus{Witnesses: []string{}}}
	signed, err := s.Witnessed(ctx, row.Index+1)
	if errors.Is(err, ledger.ErrNotFound) {
		_, signed, err = s.Head(ctx)
	}
	if err != nil {
		return out, err
	}
	if row.Body != nil {
		out.CID, out.Entry = ledger.CID(row.Body), jsontext.Value(row.Body)
	}
	if err := out.Proof.include(ctx, s, row, signed); err != nil {
		return out, err
	}
	t, err := flags.load(ctx, s)
	if err != nil {
		if len(flags.keys)+len(flags.witnesses) > 0 {
			return out, err
		}
		out.Proof.Problem = err.Error()
		return out, nil
	}
	out.Proof.KeysFrom, out.Proof.Pinned = t.from, t.pinned
	t.IgnoreUnknown = true
	c, err := t.OpenCheckpoint(signed)
	if err != nil {
		return out, err
	}
	out.Proof.Signed = true
	for _, k := range c.Keys {
		out.Proof.Keys = append(out.Proof.Keys, keyName(k))
	}
	out.Proof.Witnesses = append(out.Proof.Witnesses, c.Witnesses...)
	return out, nil
}

// include proves the entry to be in the tree of a checkpoint.
func (st *proofStatus) include(ctx context.Context, s *source, row ledger.Row, signed []byte) error {
	_, size, root, err := ledger.ParseCheckpoint(signed)
	if err != nil {
		return err
	}
	hashes, err := s.reader.Inclusion(ctx, row.Index, size)
	if err != nil {
		return err
	}
	if err := checkIncluded(hashes, size, root, row); err != nil {
		return err
	}
	st.Included, st.Size, st.Root, st.Hashes = true, size, root.String(), len(hashes)
	return nil
}

func (p *program) printShown(s shown, row ledger.Row) error {
	var facts []fact
	if s.Pruned {
		fmt.Fprintf(p.stdout, "entry %d of %d: exported and pruned; its hash is in the tree\n", s.Index, s.Proof.Size)
	} else {
		e, err := ledger.ParseEntry(row.Body)
		if err != nil {
			return fmt.Errorf("entry %d: %w", s.Index, err)
		}
		fmt.Fprintf(p.stdout, "entry %d of %d: %s\n", s.Index, s.Proof.Size, printable(string(e.Kind)))
		facts = entryFacts(&e, s.CID)
	}
	p.printFacts(append(facts, proofFacts(s.Proof)...))
	return nil
}

func (p *program) printFacts(facts []fact) {
	for _, f := range facts {
		fmt.Fprintf(p.stdout, "  %-16s %s\n", f.name, printable(f.value))
	}
}

func entryFacts(e *ledger.Entry, cid string) []fact {
	facts := present(
		fact{"cid", cid}, fact{"time", e.Time},
		fact{"metric", e.Metric}, fact{"node", e.Node}, fact{"role", e.Role}, fact{"operation", e.Operation}, fact{"purpose", e.Purpose},
		fact{"labels", strings.Join(e.Labels, ", ")}, fact{"claims", strings.Join(e.Claims, ", ")},
		fact{"retention", e.Retention}, fact{"decided for", e.Asked},
		fact{"outcome", e.Outcome}, fact{"clause", e.Clause}, fact{"severity", e.Severity}, fact{"mode", e.Mode},
	)
	if e.ClockBack {
		facts = append(facts, fact{"clock", "had gone back: the time is that of the entry before"})
	}
	for _, r := range e.Reasons {
		text := r.Code
		if r.Clause != "" {
			text += " (" + r.Clause + ")"
		}
		if r.Field != "" {
			text += " in field " + r.Field
		}
		facts = append(facts, fact{"reason", text})
	}
	facts = append(facts, present(
		fact{"revision", e.Revision}, fact{"decision id", e.DecisionID}, fact{"principal", e.Principal}, fact{"request id", e.RequestID},
	)...)
	return append(facts, describeData(e)...)
}

func proofFacts(s proofStatus) []fact {
	facts := []fact{{"included", fmt.Sprintf("yes, in the tree of %d with the root %s (proof of %d)", s.Size, s.Root, s.Hashes)}}
	if s.Signed {
		origin := "found with the ledger, which proves no more than that it agrees with itself: " + s.KeysFrom
		if s.Pinned {
			origin = "given with " + s.KeysFrom
		}
		facts = append(facts, fact{"signed", "by " + strings.Join(s.Keys, ", ") + ", " + origin})
	} else {
		facts = append(facts, fact{"signed", "not verified: " + s.Problem})
	}
	if len(s.Witnesses) > 0 {
		facts = append(facts, fact{"witnesses", strings.Join(s.Witnesses, ", ")})
	}
	return facts
}

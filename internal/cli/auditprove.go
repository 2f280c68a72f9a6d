package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/westworld-charter/charter/internal/ledger"
)

// checkIncluded verifies an inclusion proof.
func checkIncluded(proof tlog.RecordProof, size uint64, root tlog.Hash, row ledger.Row) error {
	if err := tlog.CheckRecord(proof, int64(size), root, int64(row.Index), row.Hash); err != nil {
		return fmt.Errorf("%w: entry %d is not in the tree of size %d: %w", ledger.ErrDamaged, row.Index, size, err)
	}
	if row.Body != nil && tlog.RecordHash(row.Body) != row.Hash {
		return fmt.Errorf("%w: entry %d is not what its hash was made of", ledger.ErrDamaged, row.Index)
	}
	return nil
}

func (p *program) proveCommand() *cobra.Command {
	var src sourceFlags
	var file string
	cmd := &cobra.Command{
		Use:     "prove INDEX|CID",
		Aliases: []string{"receipt"},
		Short:   "Write a receipt: one entry with all that proves it",
		Long: `Writes a receipt (C2SP tlog-proof): the entry, the hashes from it to the root of the
tree, and a signed checkpoint of that tree with the cosignatures of witnesses, if
there are any. Whoever has the public keys verifies it without the ledger and
without a network; check-receipt does.`,
		Example: `  charter-admin audit prove 4711 -o entry.receipt
  charter-admin audit receipt 4711 --server https://charter.example.org:8000 >entry.receipt`,
		Args: arguments(1, 1, "one INDEX or CID"),
	}
	src.add(cmd)
	cmd.Flags().StringVarP(&file, "output", "o", "", "`file` to write (default standard output)")
	cmd.RunE = run(func(ctx context.Context, args []string) error {
		return p.withSource(ctx, src, func(s *source) error {
			row, err := findEntry(ctx, s, args[0])
			if err != nil {
				return err
			}
			if row.Body == nil {
				return usagef("entry %d was exported and pruned: no receipt can be made any more; earlier ones are still valid", row.Index)
			}
			receipt, err := s.reader.Receipt(ctx, row.Index)
			if err != nil {
				return err
			}
			if file == "" {
				_, err := p.stdout.Write(receipt)
				return err
			}
			return writeWhole(file, receipt)
		})
	})
	return cmd
}

func (p *program) checkReceiptCommand() *cobra.Command {
	var keys keyFlags
	var ignore bool
	format := choice{values: []string{formatPretty, formatJSON}}
	cmd := &cobra.Command{
		Use:     "check-receipt FILE --key KEY|FILE",
		Aliases: []string{"verify-receipt"},
		Short:   "Verify a receipt offline, with public keys alone",
		Long: `Verifies a receipt: the entry in it is the one at its index, in a tree whose head
the ledger has signed, and so have the witnesses. It needs no ledger, no server and
no network. Every byte of a receipt counts: whatever is changed, it fails.

A checkpoint that witnesses have signed needs their keys, too, or
--ignore-unknown-signatures, which says nothing about them.`,
		Example: `  charter-admin audit check-receipt entry.receipt --key ledger.pub
  charter-admin audit check-receipt entry.receipt --key ledger.pub --witness policy.txt
  charter-admin audit check-receipt - --key example.org/ledger+5f5e1b3c+AZ... <entry.receipt`,
		Args: arguments(1, 1, "one FILE"),
	}
	keys.add(cmd)
	cmd.Flags().BoolVar(&ignore, "ignore-unknown-signatures", false, "pass over signatures of keys that are not given")
	format.flag(cmd)
	cmd.RunE = run(func(ctx context.Context, args []string) error {
		t, err := keys.load(ctx, nil)
		if err != nil {
			return err
		}
		t.IgnoreUnknown = ignore
		text, err := p.readInput(args[0])
		if err != nil {
			return err
		}
		proven, err := ledger.VerifyReceipt(text, t.Keys)
		if err != nil {
			return receiptError(args[0], err, t)
		}
		return p.printProven(proven, format)
	})
	return cmd
}

// readInput reads a file that is small, or standard input for "-".
func (p *program) readInput(file string) ([]byte, error) {
	const most = 1 << 20
	in := p.stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, &exitError{ExitUsage, err}
		}
		defer f.Close()
		in = f
	}
	data, err := readLimited(in, most)
	if err != nil {
		return nil, usagef("read %s: %w", file, err)
	}
	return data, nil
}

func receiptError(file string, err error, t trust) error {
	text := fmt.Errorf("%s: %w", file, err)
	if errors.Is(err, ledger.ErrSignature) {
		var names []string
		for _, k := range t.Log {
			names = append(names, keyName(k))
		}
		text = fmt.Errorf("%w; given were the keys %s", text, strings.Join(names, ", "))
		if strings.Contains(err.Error(), "not given") {
			text = fmt.Errorf("%w; add --witness for those of witnesses, --key for the one that the ledger has now if its key was changed, or --ignore-unknown-signatures", text)
		}
	}
	return &exitError{ExitVerify, text}
}

// provenReceipt is what `check-receipt --format json` prints.
type provenReceipt struct {
	Valid     bool           `json:"valid"`
	Origin    string         `json:"origin"`
	Index     uint64         `json:"index"`
	CID       string         `json:"cid"`
	Size      uint64         `json:"size"`
	Root      string         `json:"root"`
	Keys      []string       `json:"keys"`
	Witnesses []string       `json:"witnesses"`
	Unknown   int            `json:"unknown_signatures"`
	Entry     jsontext.Value `json:"entry"`
}

func (p *program) printProven(proven ledger.Proven, format choice) error {
	c := proven.Checkpoint
	out := provenReceipt{
		Valid: true, Origin: c.Origin, Index: proven.Index, CID: proven.CID, Size: c.Size, Root: c.Root.String(),
		Witnesses: append([]string{}, c.Witnesses...), Unknown: c.Unknown, Entry: jsontext.Value(proven.Body),
	}
	for _, k := range c.Keys {
		out.Keys = append(out.Keys, keyName(k))
	}
	if format.is(formatJSON) {
		return p.printJSON(out)
	}
	fmt.Fprintf(p.stdout, "valid: entry %d of %s: %s\n", out.Index, printable(out.Origin), printable(string(proven.Entry.Kind)))
	facts := entryFacts(&proven.Entry, out.CID)
	facts = append(facts, fact{"checkpoint", fmt.Sprintf("of %s, signed by %s", entries(out.Size), strings.Join(out.Keys, ", "))})
	if len(out.Witnesses) > 0 {
		facts = append(facts, fact{"witnesses", strings.Join(out.Witnesses, ", ")})
	}
	if out.Unknown > 0 {
		facts = append(facts, fact{"not looked at", plural(out.Unknown, "signature") + " of keys that were not given"})
	}
	p.printFacts(facts)
	return nil
}

func entries(n uint64) string {
	if n == 1 {
		return "1 entry"
	}
	return fmt.Sprintf("%d entries", n)
}

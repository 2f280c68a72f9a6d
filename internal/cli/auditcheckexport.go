package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"github.com/westworld-charter/charter/internal/export"
	"github.com/westworld-charter/charter/internal/ledger"
)

func (p *program) checkExportCommand() *cobra.Command {
	var keys keyFlags
	var signers []string
	var manifest string
	format := choice{values: []string{formatPretty, formatJSON}}
	cmd := &cobra.Command{
		Use:     "check-export FILE --key KEY|FILE",
		Aliases: []string{"verify-export"},
		Short:   "Verify an export offline, with public keys alone",
		Long: `Verifies an exported file against FILE.manifest, and both against the public key of
the ledger: the digest, that every column follows from its entry, and that the
entries are those of the ledger. It needs no ledger, no server and no network.`,
		Example: `  charter-admin audit check-export june.parquet --key ledger.pub
  charter-admin audit check-export edge-7.csv --key ledger.pub --signer auditor.pub --format json`,
		Args: arguments(1, 1, "one FILE"),
	}
	keys.add(cmd)
	cmd.Flags().StringArrayVar(&signers, "signer", nil, "public `key` that must have signed the manifest, or a file with some")
	cmd.Flags().StringVar(&manifest, "manifest", "", "`file` with the manifest (default FILE.manifest)")
	format.flag(cmd)
	cmd.RunE = run(func(ctx context.Context, args []string) error {
		if manifest == "" {
			manifest = args[0] + export.ManifestSuffix
		}
		t, err := keys.load(ctx, nil)
		if err != nil {
			return err
		}
		t.IgnoreUnknown = true
		var exporters []note.Verifier
		for _, ref := range signers {
			some, err := logKeys(ref)
			if err != nil {
				return usagef("--signer: %w", err)
			}
			exporters = append(exporters, some...)
		}
		checked, err := p.checkExport(ctx, args[0], manifest, t.Keys, exporters, nil)
		if err != nil {
			return err
		}
		return p.printChecked(checked, format)
	})
	return cmd
}

// checkedExport is what `check-export --format json` prints.
type checkedExport struct {
	Valid     bool          `json:"valid"`
	File      string        `json:"file"`
	Format    export.Format `json:"format"`
	Origin    string        `json:"origin"`
	From      uint64        `json:"from"`
	To        uint64        `json:"to"`
	Entries   uint64        `json:"entries"`
	Proven    uint64        `json:"proven"`   // entries that are proven to be in the ledger
	Complete  bool          `json:"complete"` // all entries of the range, each one proven
	Size      uint64        `json:"size"`     // of the checkpoint
	Witnesses []string      `json:"witnesses"`
	SignedBy  []string      `json:"signed_by"` // keys of --signer that have signed the manifest
	Manifest  string        `json:"manifest"`  // its content address, which a sealed entry cites

	manifest export.Manifest
}

// checkExport verifies a file; see gets its entries.
func (p *program) checkExport(ctx context.Context, path, manifestPath string, keys ledger.Keys, signers []note.Verifier, see func(export.Record) error) (checkedExport, error) {
	var none checkedExport
	data, err := p.readInput(manifestPath)
	if err != nil {
		return none, err
	}
	file, err := os.Open(path)
	if err != nil {
		return none, &exitError{ExitUsage, err}
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return none, err
	}
	fail := func(err error) (checkedExport, error) {
		return none, &exitError{ExitVerify, fmt.Errorf("%s: %w", path, err)}
	}
	m, text, err := export.ParseManifest(data)
	if err != nil {
		return fail(err)
	}
	signedBy, err := export.Signers(data, signers...)
	if err != nil {
		return fail(err)
	}
	result, err := export.Check(ctx, io.NewSectionReader(file, 0, info.Size()), info.Size(), m, keys, see)
	if err != nil {
		if ctx.Err() != nil {
			return none, ctx.Err()
		}
		return fail(err)
	}
	return checkedExport{
		Valid: true, File: path, Format: m.Format, Origin: m.Origin, From: m.From, To: m.To, Entries: result.Entries, Proven: result.Proven,
		Complete: m.Complete(), Size: result.Checkpoint.Size, Witnesses: append([]string{}, result.Checkpoint.Witnesses...),
		SignedBy: append([]string{}, signedBy...), Manifest: ledger.CID(text), manifest: m,
	}, nil
}

func (p *program) printChecked(c checkedExport, format choice) error {
	if format.is(formatJSON) {
		return p.printJSON(c)
	}
	fmt.Fprintf(p.stdout, "valid: %s of %s\n", entries(c.Entries), printable(c.Origin))
	text := fmt.Sprintf("all entries from %d to %d, each proven, none missing", c.From, c.To-1)
	switch {
	case c.Entries == 0:
		text = "no entries"
	case !c.Complete:
		text = fmt.Sprintf("a selection (%s) between %d and %d: the first and the last are proven, for the rest stands who signed the manifest",
			selectionText(c.manifest.Selection), c.From, c.To-1)
	}
	facts := []fact{{"range", text}, {"checkpoint", "of " + entries(c.Size)}}
	if len(c.Witnesses) > 0 {
		facts = append(facts, fact{"witnesses", strings.Join(c.Witnesses, ", ")})
	}
	if len(c.SignedBy) > 0 {
		facts = append(facts, fact{"manifest", "signed by " + strings.Join(c.SignedBy, ", ")})
	} else {
		facts = append(facts, fact{"manifest", "no signature was asked for; see --signer"})
	}
	p.printFacts(facts)
	return nil
}

func selectionText(selection map[string]string) string {
	var parts []string
	for _, name := range sortedKeys(selection) {
		parts = append(parts, name+" "+selection[name])
	}
	return strings.Join(parts, ", ")
}

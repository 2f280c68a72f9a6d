package cli

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"github.com/westworld-charter/charter/internal/export"
	"github.com/westworld-charter/charter/internal/ledger"
)

type exportFlags struct {
	source   sourceFlags
	filter   filterFlags
	from, to uint64
	file     string
	sign     string
	format   choice
}

func formatChoice() choice {
	var names []string
	for _, f := range export.Formats() {
		names = append(names, string(f))
	}
	return choice{values: names}
}

func (p *program) exportCommand() *cobra.Command {
	flags := exportFlags{format: formatChoice()}
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Export entries of the ledger, with a manifest that proves them",
		Long: `Writes entries as one JSON array, as JSON lines, as CSV or as Parquet: all of them, a
range of indices or times, or those that fit filters. Every record has the whole
entry; in CSV and Parquet as JSON in the column body. Cells of CSV that a
spreadsheet could take for a formula begin with an apostrophe.

With -o FILE the format is that of its name, and FILE.manifest says what is in it:
its SHA-256, the range, a signed checkpoint of the ledger, and hashes that prove the
range. Where no filter but time was given, every entry of the range is proven, and
that none is missing; of a selection the first and the last one. --sign adds a
signature of yours. audit check-export verifies file and manifest offline.`,
		Example: `  charter-admin export --format json
  charter-admin export -o june.parquet --since 2026-06-01 --until 2026-07-01
  charter-admin export -o edge-7.csv --node edge-7 --sign auditor.key
  charter-admin export --format ndjson --from 1000 --to 2000 | jq .metric`,
		Args: arguments(0, 0, "no arguments"),
	}
	flags.source.add(cmd)
	flags.filter.add(cmd)
	cmd.Flags().Uint64Var(&flags.from, "from", 0, "first `index` (default the first that is not pruned)")
	cmd.Flags().Uint64Var(&flags.to, "to", math.MaxInt64, "`index` to stop before (default the end)")
	cmd.Flags().Lookup("to").DefValue = "0" // hides the number in help
	cmd.Flags().StringVarP(&flags.file, "output", "o", "", "`file` to write (default standard output, without a manifest)")
	cmd.Flags().StringVar(&flags.sign, "sign", "", "`file` with your private key (audit key): sign the manifest")
	flags.format.flag(cmd)
	cmd.RunE = run(func(ctx context.Context, _ []string) error {
		if err := flags.settle(cmd.Flags().Changed("format")); err != nil {
			return err
		}
		return p.withSource(ctx, flags.source, func(s *source) error {
			return p.export(ctx, s, flags, cmd.Flags().Changed("from"))
		})
	})
	return cmd
}

// settle takes the format from the name of the file unless it was given.
func (f *exportFlags) settle(given bool) error {
	named, known := export.FormatOf(f.file)
	switch {
	case f.file == "" && f.format.is(string(export.Parquet)):
		return usagef("export: a Parquet file needs a name; give -o FILE.parquet")
	case f.file == "" && f.sign != "":
		return usagef("export: --sign is for the manifest, which only -o FILE has")
	case f.file == "" || given:
		return nil
	case !known:
		return usagef("export: the name %s does not say the format; give --format", filepath.Base(f.file))
	}
	return f.format.Set(string(named))
}

// portion is what is exported.
type portion struct {
	from, to   uint64
	filter     ledger.Filter
	selection  map[string]string // nil for the whole range
	checkpoint []byte
}

func (p *program) export(ctx context.Context, s *source, flags exportFlags, fromGiven bool) error {
	part, err := p.portion(ctx, s, flags, fromGiven)
	if err != nil {
		return err
	}
	if flags.file == "" {
		w, err := export.NewWriter(export.Format(flags.format.String()), p.stdout)
		if err != nil {
			return err
		}
		for row, err := range part.rows(ctx, s) {
			if err != nil {
				return err
			}
			if err := w.Write(row); err != nil {
				return err
			}
		}
		return w.Close()
	}
	signers, err := exportSigner(flags.sign)
	if err != nil {
		return err
	}
	m, err := p.exportFile(ctx, s, part, flags.file, export.Format(flags.format.String()), signers)
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "%s: %s, %d bytes\n%s: %s\n", flags.file, entries(m.Entries), m.Bytes, flags.file+export.ManifestSuffix, describeManifest(m))
	return nil
}

func describeManifest(m export.Manifest) string {
	if m.Entries == 0 {
		return "no entries"
	}
	if m.Complete() {
		return fmt.Sprintf("all entries from %d to %d are proven", m.From, m.To-1)
	}
	return fmt.Sprintf("a selection from %d to %d; its first and last entry are proven", m.From, m.To-1)
}

// exportSigner reads the key for manifests; none for "".
func exportSigner(file string) ([]note.Signer, error) {
	if file == "" {
		return nil, nil
	}
	key, err := os.ReadFile(file)
	if err != nil {
		return nil, usagef("--sign: %w", err)
	}
	signer, err := ledger.NewSigner(strings.TrimSpace(string(key)))
	if err != nil {
		return nil, usagef("--sign: %s: %w; audit key makes one", file, err)
	}
	return []note.Signer{signer}, nil
}

// exportFile writes a file and its manifest.
func (p *program) exportFile(ctx context.Context, s *source, part portion, path string, f export.Format, signers []note.Signer) (export.Manifest, error) {
	var none export.Manifest
	file, err := createFile(path)
	if err != nil {
		return none, usagef("export: %w", err)
	}
	bar := p.newBar("export")
	m, err := export.Write(ctx, file, s.reader, part.rows(ctx, s), export.Options{
		Format: f, File: filepath.Base(path), From: part.from, To: part.to, Checkpoint: part.checkpoint, Created: p.now(),
		Selection: part.selection, Progress: func(n uint64) { bar.show(n, part.to-part.from) },
	})
	bar.clear()
	var signed []byte
	if err == nil {
		signed, err = m.Sign(signers...)
	}
	if err != nil {
		file.discard()
		return none, err
	}
	// A file without a manifest says less than one with that of another file.
	if err := os.Remove(path + export.ManifestSuffix); err != nil && !errors.Is(err, os.ErrNotExist) {
		file.discard()
		return none, err
	}
	if err := file.keep(); err != nil {
		return none, err
	}
	return m, writeWhole(path+export.ManifestSuffix, signed)
}

// rows are the entries to export.
func (part *portion) rows(ctx context.Context, s *source) iter.Seq2[ledger.Row, error] {
	if part.selection == nil {
		return s.Rows(ctx, part.from, part.to)
	}
	return s.Find(ctx, part.filter)
}

// portion finds out what the flags select.
func (p *program) portion(ctx context.Context, s *source, flags exportFlags, fromGiven bool) (portion, error) {
	part := portion{from: flags.from}
	f, err := flags.filter.filter(p.now())
	if err != nil {
		return part, err
	}
	size, head, err := s.Head(ctx)
	if err != nil {
		return part, err
	}
	if head == nil {
		return part, usagef("the ledger is empty: there is nothing to export")
	}
	first, err := firstKept(ctx, s, size)
	if err != nil {
		return part, err
	}
	if fromGiven && flags.from < first && flags.filter.timeOnly() {
		return part, usagef("entries before %d were exported and pruned; begin with --from %d", first, first)
	}
	part.from, part.to = max(flags.from, first), min(flags.to, size)
	if part.from > part.to {
		return part, usagef("--from %d: the range ends at %d", flags.from, part.to)
	}
	if !flags.filter.timeOnly() {
		f.From, f.Before = part.from, part.to
		part.filter, part.selection = f, flags.filter.words(f.Since, f.Until)
	} else if err := part.narrow(ctx, s, f.Since, f.Until); err != nil {
		return part, err
	}
	part.checkpoint, err = s.Witnessed(ctx, part.to)
	if errors.Is(err, ledger.ErrNotFound) {
		part.checkpoint, err = head, nil
	}
	return part, err
}

// narrow turns times into indices: times do not go back.
func (part *portion) narrow(ctx context.Context, s *source, since, until time.Time) error {
	var failed error
	notBefore := func(t time.Time) uint64 {
		n := sort.Search(int(part.to-part.from), func(i int) bool {
			row, err := s.reader.Entry(ctx, part.from+uint64(i))
			if err != nil && failed == nil {
				failed = err
			}
			return failed != nil || row.Time >= t.UnixNano()
		})
		return part.from + uint64(n)
	}
	from, to := part.from, part.to
	if !until.IsZero() {
		to = notBefore(until)
	}
	if !since.IsZero() {
		from = notBefore(since)
	}
	part.from, part.to = min(from, to), to
	return failed
}

// firstKept is the index of the first entry that is not pruned.
func firstKept(ctx context.Context, s *source, size uint64) (uint64, error) {
	var failed error
	n := sort.Search(int(size), func(i int) bool {
		row, err := s.reader.Entry(ctx, uint64(i))
		if err != nil && failed == nil {
			failed = err
		}
		return failed != nil || row.Body != nil
	})
	return uint64(n), failed
}

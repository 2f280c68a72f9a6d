package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/westworld-charter/charter/internal/export"
	"github.com/westworld-charter/charter/internal/ledger"
)

func (p *program) sealCommand() *cobra.Command {
	var src sourceFlags
	var o sealOptions
	o.format = choice{values: []string{formatPretty, formatJSON}}
	cmd := &cobra.Command{
		Use:   "seal --export FILE",
		Short: "Export old entries and record that they may be pruned",
		Long: `Exports all entries that are older than the charter in force has them kept
(audit.retention) and are not pruned yet, checks the file against the ledger, and
appends a sealed entry that cites its manifest. Nothing is deleted: audit prune does
that, later, with the file in hand. --before takes fewer entries.

How long entries are kept is in the ledger since the server was started with the
charter; of older ledgers --charter says it. Younger entries are refused (exit
code 5) with retention_not_over, unless --unsafe-ignore-retention is given.

The server must be stopped: a ledger has one writer. FILE and FILE.manifest are all
that is left of the entries after audit prune: keep them.`,
		Example: `  charter-admin audit seal --dry-run
  charter-admin audit seal --export before-2026.parquet
  charter-admin audit seal --before 2019-01-01 --export 2018.parquet
  charter-admin audit prune --export 2018.parquet`,
		Args: arguments(0, 0, "no arguments"),
	}
	src.addData(cmd)
	cmd.Flags().StringVar(&o.before, "before", "", "seal what is before this `time` or index (default all that need not be kept)")
	cmd.Flags().StringVar(&o.file, "export", "", "`file` to write; its name says the format: .ndjson, .parquet, .json or .csv")
	cmd.Flags().StringVar(&o.sign, "sign", "", "`file` with your private key (audit key): sign the manifest")
	addLogKey(cmd, &o.key)
	o.add(cmd)
	cmd.RunE = run(func(ctx context.Context, _ []string) error {
		if err := o.settle(); err != nil {
			return err
		}
		if o.dryRun {
			return p.withSource(ctx, src, func(s *source) error {
				_, done, err := p.sealable(ctx, s, o)
				return p.answer(o.retentionFlags, done, describeSealing(done, "would seal"), err)
			})
		}
		return p.withWritable(ctx, src.data, o.key, func(w *writable) error {
			done, text, err := p.seal(ctx, w, o)
			return p.answer(o.retentionFlags, done, text, err)
		})
	})
	return cmd
}

// sealOptions say what is sealed, and where it goes.
type sealOptions struct {
	retentionFlags

	before, file, key, sign string

	form    export.Format
	signers []note.Signer
}

// settle checks the flags.
func (o *sealOptions) settle() error {
	switch {
	case o.unsafe && o.before == "":
		return usagef("--unsafe-ignore-retention needs --before TIME|INDEX, which says what to seal")
	case o.file == "" && !o.dryRun:
		return usagef("seal needs --export FILE; see charter-admin audit seal --help")
	case o.file == "":
		return nil
	}
	var ok bool
	if o.form, ok = export.FormatOf(o.file); !ok {
		return usagef("--export: the name %s does not say the format; end it in .ndjson or .parquet", filepath.Base(o.file))
	}
	if exists(o.file) {
		return usagef("--export: %s exists; a sealed export is not overwritten", o.file)
	}
	var err error
	o.signers, err = exportSigner(o.sign)
	return err
}

// sealable finds out which entries are meant, and refuses those that are kept.
func (p *program) sealable(ctx context.Context, s *source, o sealOptions) (portion, sealing, error) {
	flags := exportFlags{to: 1 << 62}
	index, isIndex := parseIndex(o.before)
	if isIndex {
		flags.to = index
	} else if _, err := moment(o.before, p.now()); err != nil { // before anything is asked of the ledger
		return portion{}, sealing{}, usagef("--before: %w", err)
	}
	kept, err := p.keeping(ctx, s, o.retentionFlags)
	if err != nil {
		return portion{}, sealing{}, err
	}
	if !isIndex {
		flags.filter.until = o.before
		if o.before == "" {
			flags.filter.until = instant(kept.before)
		}
	}
	part, err := p.portion(ctx, s, flags, false)
	if err != nil {
		return part, sealing{}, err
	}
	if part.from == part.to && o.before != "" {
		return part, sealing{}, usagef("--before %s: there are no entries before it that are not pruned", o.before)
	}
	if err := kept.check(ctx, s, part.from, part.to); err != nil {
		return part, sealing{}, err
	}
	done, err := kept.sealing(ctx, s, o.retentionFlags, part.from, part.to)
	return part, done, err
}

func parseIndex(text string) (uint64, bool) {
	index, err := strconv.ParseUint(text, 10, 62)
	return index, err == nil
}

// describeSealing says what would be done, or that there is nothing to do.
func describeSealing(s sealing, would string) string {
	if s.Entries == 0 {
		return fmt.Sprintf("nothing to do: no entry that is not pruned is older than %s (before %s)", s.Retention, s.Before)
	}
	text := fmt.Sprintf("%s entries %d to %d, of %s to %s", would, s.From, s.To-1, s.Oldest, s.Newest)
	if s.Retention != "" {
		text += fmt.Sprintf("; the charter has entries kept for %s", s.Retention)
	}
	return text + "; nothing was changed"
}

// seal exports what is sealed and appends the entry that says so.
func (p *program) seal(ctx context.Context, w *writable, o sealOptions) (sealing, string, error) {
	part, done, err := p.sealable(ctx, w.source, o)
	if err != nil || done.Entries == 0 {
		return done, describeSealing(done, ""), err
	}
	m, err := p.exportFile(ctx, w.source, part, o.file, o.form, o.signers)
	if err != nil {
		return done, "", err
	}
	checked, err := p.checkExport(ctx, o.file, o.file+export.ManifestSuffix, w.keys, nil, nil)
	if err != nil {
		return done, "", err
	}
	data, err := json.Marshal(ledger.Seal{From: m.From, To: m.To, Manifest: checked.Manifest, Overruled: o.unsafe})
	if err != nil {
		return done, "", err
	}
	at, err := w.log.Append(ctx, ledger.Entry{Kind: ledger.Sealed, Data: data}, ledger.Durable)
	if err != nil {
		return done, "", err
	}
	done.File, done.Manifest, done.Entry = o.file, checked.Manifest, &at.Index
	return done, fmt.Sprintf("sealed entries %d to %d in %s, recorded in entry %d\nkeep %s and its manifest; charter-admin audit prune --export %s frees their space",
		m.From, m.To-1, o.file, at.Index, o.file, o.file), nil
}

func (p *program) pruneCommand() *cobra.Command {
	var src sourceFlags
	var file, key string
	f := retentionFlags{format: choice{values: []string{formatPretty, formatJSON}}}
	cmd := &cobra.Command{
		Use:   "prune --export FILE",
		Short: "Forget the bodies of entries that were sealed",
		Long: `Forgets the bodies of entries that audit seal has exported to FILE: only when the
file is the one that a sealed entry cites, it verifies, every single entry in it is
the one in the ledger, and the charter in force does not want them kept any longer
(audit.retention; exit code 5, unless --unsafe-ignore-retention is given). The
hashes stay: earlier receipts are still valid, and audit verify verifies the rest.

The server must be stopped: a ledger has one writer. Pruning cannot be undone.`,
		Example: `  charter-admin audit prune --export 2018.parquet --dry-run
  charter-admin audit prune --export 2018.parquet`,
		Args: arguments(0, 0, "no arguments"),
	}
	src.addData(cmd)
	cmd.Flags().StringVar(&file, "export", "", "`file` that audit seal has written")
	addLogKey(cmd, &key)
	f.add(cmd)
	cmd.RunE = run(func(ctx context.Context, _ []string) error {
		if file == "" {
			return usagef("prune needs --export FILE; see charter-admin audit prune --help")
		}
		if f.dryRun {
			return p.withSource(ctx, src, func(s *source) error {
				t, err := new(keyFlags).load(ctx, s)
				if err != nil {
					return err
				}
				t.IgnoreUnknown = true
				done, text, err := p.prunable(ctx, s, t.Keys, file, f)
				if err == nil && text == "" {
					text = describeSealing(done, "would prune")
				}
				return p.answer(f, done, text, err)
			})
		}
		return p.withWritable(ctx, src.data, key, func(w *writable) error {
			done, text, err := p.prunable(ctx, w.source, w.keys, file, f)
			if err == nil && text == "" {
				if err = w.Prune(ctx, done.To); err != nil {
					return err
				}
				text = fmt.Sprintf("pruned entries %d to %d; %s has them", done.From, done.To-1, file)
			}
			return p.answer(f, done, text, err)
		})
	})
	return cmd
}

// prunable verifies everything that has to hold before bodies are forgotten. A
// text says that there is nothing to do.
func (p *program) prunable(ctx context.Context, s *source, keys ledger.Keys, file string, f retentionFlags) (sealing, string, error) {
	var none sealing
	data, err := p.readInput(file + export.ManifestSuffix)
	if err != nil {
		return none, "", err
	}
	m, text, err := export.ParseManifest(data)
	if err != nil {
		return none, "", &exitError{ExitVerify, fmt.Errorf("%s: %w", file, err)}
	}
	if err := sealedAs(ctx, s, m, ledger.CID(text)); err != nil {
		return none, "", err
	}
	first, err := firstKept(ctx, s, m.To)
	switch {
	case err != nil:
		return none, "", err
	case first >= m.To:
		done := sealing{OK: true, DryRun: f.dryRun, From: m.From, To: m.To, File: file, Manifest: ledger.CID(text)}
		return done, fmt.Sprintf("entries %d to %d are pruned already", m.From, m.To-1), nil
	case first < m.From:
		return none, "", usagef("entries %d to %d come before those in %s and are not pruned: prune their export first", first, m.From-1, file)
	}
	kept, err := p.keeping(ctx, s, f)
	if err != nil {
		return none, "", err
	}
	if err := kept.check(ctx, s, first, m.To); err != nil {
		return none, "", err
	}
	done, err := kept.sealing(ctx, s, f, m.From, m.To)
	if err != nil {
		return none, "", err
	}
	done.File, done.Manifest = file, ledger.CID(text)
	_, err = p.checkExport(ctx, file, file+export.ManifestSuffix, keys, nil, s.compare(ctx, m))
	return done, "", err
}

// sealedAs tells whether a sealed entry cites the manifest.
func sealedAs(ctx context.Context, s *source, m export.Manifest, cid string) error {
	for row, err := range s.Find(ctx, ledger.Filter{Kinds: []ledger.Kind{ledger.Sealed}, Newest: true}) {
		if err != nil {
			return err
		}
		e, err := ledger.ParseEntry(row.Body)
		if err != nil {
			return fmt.Errorf("entry %d: %w", row.Index, err)
		}
		var is ledger.Seal
		if err := json.Unmarshal(e.Data, &is); err != nil {
			return fmt.Errorf("entry %d: %w", row.Index, err)
		}
		is.Overruled = false
		if is == (ledger.Seal{From: m.From, To: m.To, Manifest: cid}) && m.Complete() {
			return nil
		}
	}
	return &exitError{ExitVerify, fmt.Errorf("%s is not an export that was sealed in this ledger; only audit seal makes one", m.File)}
}

// compare returns a function that compares exported entries, one after the other,
// with those in the ledger.
func (s *source) compare(ctx context.Context, m export.Manifest) func(export.Record) error {
	var window []ledger.Row
	return func(r export.Record) error {
		if len(window) == 0 {
			for row, err := range s.Rows(ctx, r.Index, min(r.Index+ledger.TileWidth, m.To)) {
				if err != nil {
					return err
				}
				window = append(window, row)
			}
		}
		if len(window) == 0 || window[0].Index != r.Index || window[0].Hash != tlog.RecordHash(r.Body) {
			return fmt.Errorf("%w: entry %d is not the one in the ledger", export.ErrContent, r.Index)
		}
		window = window[1:]
		return nil
	}
}

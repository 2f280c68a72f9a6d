package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/westworld-charter/charter/internal/export"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledgerdb"
)

// writable is a ledger that this process alone writes.
type writable struct {
	*source
	log  *ledger.Log
	keys ledger.Keys
}

// openWritable opens the ledger of a server that does not run.
func (p *program) openWritable(ctx context.Context, data, keyFile string) (*writable, error) {
	if data == "" {
		data = p.getenv("CHARTER_DATA")
	}
	if data == "" {
		data = defaultData
	}
	s := &source{where: "the database"}
	ref := data
	if !ledgerdb.IsPostgres(data) {
		dir, err := ledgerAt(data)
		if err != nil {
			return nil, ledgerError(err)
		}
		ref, s.where, s.beside = dir, dir, filepath.Join(filepath.Dir(dir), publicKeyFile)
		if keyFile == "" {
			keyFile = filepath.Join(filepath.Dir(dir), filepath.FromSlash(privateKeyFile))
		}
	}
	signer, keys, err := logSigner(keyFile, s.beside)
	if err != nil {
		return nil, err
	}
	s.Store, err = ledgerdb.Open(ctx, ref, ledgerdb.Options{MustExist: true})
	if errors.Is(err, ledgerdb.ErrInUse) {
		return nil, usagef("%w: stop charter-server, run this, start it again", err)
	}
	if err != nil {
		return nil, ledgerError(err)
	}
	log, err := ledger.Open(ctx, s.Store, ledger.Options{Origin: signer.Name(), Signers: []ledger.Signer{signer}, Retired: retired(keys.Log, signer)})
	if err != nil {
		return nil, ledgerError(errors.Join(err, s.Store.Close()))
	}
	s.reader = log.Reader()
	return &writable{s, log, keys}, nil
}

// logSigner reads the private key of a ledger, and its public keys: those beside
// it, or that of the private one.
func logSigner(file, beside string) (ledger.Signer, ledger.Keys, error) {
	if file == "" {
		return nil, ledger.Keys{}, usagef("the key of the ledger, with which the server signs, is needed: give --log-key FILE")
	}
	private, err := os.ReadFile(file)
	if err != nil {
		return nil, ledger.Keys{}, usagef("the key of the ledger, with which the server signs, is needed: %w; give --log-key FILE", err)
	}
	signer, err := ledger.NewSigner(strings.TrimSpace(string(private)))
	if err != nil {
		return nil, ledger.Keys{}, usagef("--log-key: %s: %w", file, err)
	}
	own, err := ledger.VerifierOf(signer)
	if err != nil {
		return nil, ledger.Keys{}, err
	}
	keys := ledger.Keys{Origin: signer.Name(), Log: []note.Verifier{own}, IgnoreUnknown: true}
	if beside != "" && exists(beside) {
		all, err := logKeys(beside)
		if err != nil {
			return nil, keys, &exitError{ExitVerify, fmt.Errorf("keys beside the ledger: %w", err)}
		}
		keys.Log = append(keys.Log, retired(all, signer)...)
	}
	return signer, keys, nil
}

// retired are the keys besides that of the signer.
func retired(keys []note.Verifier, signer ledger.Signer) []note.Verifier {
	var others []note.Verifier
	for _, k := range keys {
		if k.Name() != signer.Name() || k.KeyHash() != signer.KeyHash() {
			others = append(others, k)
		}
	}
	return others
}

func (w *writable) Close() error { return errors.Join(w.log.Close(), w.source.Close()) }

// withWritable opens the ledger for a command and closes it.
func (p *program) withWritable(ctx context.Context, data, keyFile string, use func(w *writable) error) error {
	w, err := p.openWritable(ctx, data, keyFile)
	if err != nil {
		return err
	}
	err = use(w)
	return ledgerError(errors.Join(err, w.Close()))
}

func (p *program) sealCommand() *cobra.Command {
	var src sourceFlags
	var before, file, key, sign string
	cmd := &cobra.Command{
		Use:   "seal --before TIME|INDEX --export FILE",
		Short: "Export old entries and record that they may be pruned",
		Long: `Exports all entries before a time or an index that are not pruned yet, checks the
file against the ledger, and appends a sealed entry that cites its manifest. Nothing
is deleted: audit prune does that, later, with the file in hand.

The server must be stopped: a ledger has one writer. FILE and FILE.manifest are all
that is left of the entries after audit prune; keep them for as long as the charter
says.`,
		Example: `  charter-admin audit seal --before 2026-01-01 --export 2025.parquet
  charter-admin audit prune --export 2025.parquet`,
		Args: arguments(0, 0, "no arguments"),
	}
	src.addData(cmd)
	cmd.Flags().StringVar(&before, "before", "", "seal what is older than this `time` or index")
	cmd.Flags().StringVar(&file, "export", "", "`file` to write; its name says the format: .ndjson, .parquet, .json or .csv")
	cmd.Flags().StringVar(&sign, "sign", "", "`file` with your private key (audit key): sign the manifest")
	addLogKey(cmd, &key)
	cmd.RunE = run(func(ctx context.Context, _ []string) error {
		if before == "" || file == "" {
			return usagef("seal needs --before TIME|INDEX and --export FILE; see charter-admin audit seal --help")
		}
		format, ok := export.FormatOf(file)
		if !ok {
			return usagef("--export: the name %s does not say the format; end it in .ndjson or .parquet", filepath.Base(file))
		}
		if exists(file) {
			return usagef("--export: %s exists; a sealed export is not overwritten", file)
		}
		signers, err := exportSigner(sign)
		if err != nil {
			return err
		}
		return p.withWritable(ctx, src.data, key, func(w *writable) error { return p.seal(ctx, w, before, file, format, signers) })
	})
	return cmd
}

func addLogKey(cmd *cobra.Command, key *string) {
	cmd.Flags().StringVar(key, "log-key", "", "`file` with the private key of the ledger (default keys/ledger.key in the data directory)")
}

func (p *program) seal(ctx context.Context, w *writable, before, file string, format export.Format, signers []note.Signer) error {
	flags := exportFlags{to: 1 << 62}
	if index, err := strconv.ParseUint(before, 10, 62); err == nil {
		flags.to = index
	} else {
		flags.filter.until = before
	}
	part, err := p.portion(ctx, w.source, flags, false)
	if err != nil {
		return err
	}
	if part.from == part.to {
		return usagef("--before %s: there are no entries before it that are not pruned", before)
	}
	m, err := p.exportFile(ctx, w.source, part, file, format, signers)
	if err != nil {
		return err
	}
	checked, err := p.checkExport(ctx, file, file+export.ManifestSuffix, w.keys, nil, nil)
	if err != nil {
		return err
	}
	data, err := json.Marshal(ledger.Seal{From: m.From, To: m.To, Manifest: checked.Manifest})
	if err != nil {
		return err
	}
	at, err := w.log.Append(ctx, ledger.Entry{Kind: ledger.Sealed, Data: data}, ledger.Durable)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "sealed entries %d to %d in %s, recorded in entry %d\nkeep %s and its manifest; charter-admin audit prune --export %s frees their space\n",
		m.From, m.To-1, file, at.Index, file, file)
	return err
}

func (p *program) pruneCommand() *cobra.Command {
	var src sourceFlags
	var file, key string
	cmd := &cobra.Command{
		Use:   "prune --export FILE",
		Short: "Forget the bodies of entries that were sealed",
		Long: `Forgets the bodies of entries that audit seal has exported to FILE: only when the
file is the one that a sealed entry cites, it verifies, and every single entry in it
is the one in the ledger. The hashes stay: earlier receipts are still valid, and
audit verify verifies the rest.

The server must be stopped: a ledger has one writer. Pruning cannot be undone.`,
		Example: `  charter-admin audit prune --export 2025.parquet`,
		Args:    arguments(0, 0, "no arguments"),
	}
	src.addData(cmd)
	cmd.Flags().StringVar(&file, "export", "", "`file` that audit seal has written")
	addLogKey(cmd, &key)
	cmd.RunE = run(func(ctx context.Context, _ []string) error {
		if file == "" {
			return usagef("prune needs --export FILE; see charter-admin audit prune --help")
		}
		return p.withWritable(ctx, src.data, key, func(w *writable) error { return p.prune(ctx, w, file) })
	})
	return cmd
}

func (p *program) prune(ctx context.Context, w *writable, file string) error {
	data, err := p.readInput(file + export.ManifestSuffix)
	if err != nil {
		return err
	}
	m, text, err := export.ParseManifest(data)
	if err != nil {
		return &exitError{ExitVerify, fmt.Errorf("%s: %w", file, err)}
	}
	if err := sealedAs(ctx, w, m, ledger.CID(text)); err != nil {
		return err
	}
	first, err := firstKept(ctx, w.source, m.To)
	switch {
	case err != nil:
		return err
	case first >= m.To:
		_, err := fmt.Fprintf(p.stdout, "entries %d to %d are pruned already\n", m.From, m.To-1)
		return err
	case first < m.From:
		return usagef("entries %d to %d come before those in %s and are not pruned: prune their export first", first, m.From-1, file)
	}
	if _, err := p.checkExport(ctx, file, file+export.ManifestSuffix, w.keys, nil, w.compare(ctx, m)); err != nil {
		return err
	}
	if err := w.Prune(ctx, m.To); err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "pruned entries %d to %d; %s has them\n", m.From, m.To-1, file)
	return err
}

// sealedAs tells whether a sealed entry cites the manifest.
func sealedAs(ctx context.Context, w *writable, m export.Manifest, cid string) error {
	for row, err := range w.Find(ctx, ledger.Filter{Kinds: []ledger.Kind{ledger.Sealed}, Newest: true}) {
		if err != nil {
			return err
		}
		e, err := ledger.ParseEntry(row.Body)
		if err != nil {
			return fmt.Errorf("entry %d: %w", row.Index, err)
		}
		var s ledger.Seal
		if err := json.Unmarshal(e.Data, &s); err != nil {
			return fmt.Errorf("entry %d: %w", row.Index, err)
		}
		if s == (ledger.Seal{From: m.From, To: m.To, Manifest: cid}) && m.Complete() {
			return nil
		}
	}
	return &exitError{ExitVerify, fmt.Errorf("%s is not an export that was sealed in this ledger; only audit seal makes one", m.File)}
}

// compare returns a function that compares exported entries, one after the other,
// with those in the ledger.
func (w *writable) compare(ctx context.Context, m export.Manifest) func(export.Record) error {
	var window []ledger.Row
	return func(r export.Record) error {
		if len(window) == 0 {
			for row, err := range w.Rows(ctx, r.Index, min(r.Index+ledger.TileWidth, m.To)) {
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

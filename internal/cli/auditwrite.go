package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"github.com/westworld-charter/charter/internal/keyring"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledgerdb"
)

func addLogKey(cmd *cobra.Command, key *string) {
	cmd.Flags().StringVar(key, "log-key", "", "`file` with the private key of the ledger (default keys/ledger.key in the data directory)")
}

// writable is a ledger that this process alone writes.
type writable struct {
	*source
	log  *ledger.Log
	keys ledger.Keys
	ring *keyring.Ring // nil where the key was given as a lone file
}

// openWritable opens the ledger of a server that does not run. The error wraps
// [ledgerdb.ErrInUse] when it does.
func (p *program) openWritable(ctx context.Context, data, keyFile string) (*writable, error) {
	if data = p.dataDir(data); data == "" {
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
	w := &writable{source: s}
	if err := w.loadKeys(keyFile); err != nil {
		return nil, err
	}
	var err error
	s.Store, err = ledgerdb.Open(ctx, ref, ledgerdb.Options{MustExist: true})
	if errors.Is(err, ledgerdb.ErrInUse) {
		return nil, usagef("%w: stop charter-server, run this, start it again", err)
	}
	if err != nil {
		return nil, ledgerError(err)
	}
	if err := w.openLog(ctx, keyFile); err != nil {
		return nil, ledgerError(errors.Join(err, s.Store.Close()))
	}
	s.reader = w.log.Reader()
	return w, nil
}

// dataDir is what --data says, or the environment.
func (p *program) dataDir(flag string) string {
	if flag != "" {
		return flag
	}
	return p.getenv("CHARTER_DATA")
}

// loadKeys reads the keys of a ledger: those of the data directory that a key lies
// in, with what a change of keys may have left there, or a lone one.
func (w *writable) loadKeys(file string) error {
	if file == "" {
		return usagef("the key of the ledger, with which the server signs, is needed: give --log-key FILE")
	}
	if dir, ok := strings.CutSuffix(filepath.ToSlash(file), keyring.CurrentFile); ok && exists(file) {
		ring, err := keyring.Load(filepath.FromSlash(dir + "."))
		if err != nil {
			return usagef("--log-key: %w", err)
		}
		w.ring = ring
		return nil
	}
	if _, err := os.Stat(file); err != nil {
		return usagef("the key of the ledger, with which the server signs, is needed: %w; give --log-key FILE", err)
	}
	return nil
}

// openLog opens the log with its keys.
func (w *writable) openLog(ctx context.Context, file string) error {
	o := ledger.Options{}
	var err error
	if w.ring == nil {
		o.Signers, o.Retired, err = loneSigner(file, w.beside)
	} else if o.Signers, err = w.ring.Signers(ctx, w.Store); err == nil {
		o.Retired, err = w.ring.Others(o.Signers...)
	}
	if err != nil {
		return err
	}
	o.Origin = o.Signers[0].Name()
	if w.log, err = ledger.Open(ctx, w.Store, o); err != nil {
		return err
	}
	if w.ring != nil {
		if _, err := w.ring.Finish(ctx, w.log); err != nil {
			return errors.Join(err, w.log.Close())
		}
	}
	w.keys = ledger.Keys{Origin: o.Origin, Log: o.Retired, IgnoreUnknown: true}
	for _, s := range o.Signers {
		v, err := ledger.VerifierOf(s)
		if err != nil {
			return errors.Join(err, w.log.Close())
		}
		w.keys.Log = append(w.keys.Log, v)
	}
	return nil
}

// loneSigner reads a private key, and the public keys beside the ledger that have
// signed before.
func loneSigner(file, beside string) ([]ledger.Signer, []note.Verifier, error) {
	private, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, usagef("--log-key: %w", err)
	}
	signer, err := ledger.NewSigner(strings.TrimSpace(string(private)))
	if err != nil {
		return nil, nil, usagef("--log-key: %s: %w", file, err)
	}
	var others []note.Verifier
	if beside != "" && exists(beside) {
		all, err := logKeys(beside)
		if err != nil {
			return nil, nil, &exitError{ExitVerify, fmt.Errorf("keys beside the ledger: %w", err)}
		}
		own, err := ledger.VerifierOf(signer)
		if err != nil {
			return nil, nil, err
		}
		for _, k := range all {
			if k.Name() != own.Name() || k.KeyHash() != own.KeyHash() {
				others = append(others, k)
			}
		}
	}
	return []ledger.Signer{signer}, others, nil
}

// Close stops writing.
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

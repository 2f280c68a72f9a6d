package cli

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/westworld-charter/charter/internal/keyring"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledgerclient"
	"github.com/westworld-charter/charter/internal/ledgerdb"
)

// Where a ledger is when nobody says.
const (
	defaultServer = "http://127.0.0.1:8000"
	defaultData   = "charter-data"
)

// Names in the data directory of a server.
const (
	ledgerDir      = "ledger"
	ledgerFile     = "ledger.db"
	publicKeyFile  = keyring.PublicFile
	privateKeyFile = keyring.CurrentFile
)

// sourceFlags say which ledger is meant.
type sourceFlags struct {
	data, server      string
	tokenFile, caFile string
}

func (f *sourceFlags) add(cmd *cobra.Command) {
	f.addData(cmd)
	cmd.Flags().StringVar(&f.server, "server", "", "`URL` of the server whose ledger to read")
	cmd.Flags().StringVar(&f.tokenFile, "token-file", "", "`file` with the bearer token for --server (default $CHARTER_TOKEN)")
	cmd.Flags().StringVar(&f.caFile, "tls-ca", "", "PEM `file` with the authorities for the certificate of --server")
}

func (f *sourceFlags) addData(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.data, "data", "", "data `directory` of a server, or postgres:// URL (default $CHARTER_DATA)")
}

// source is an opened ledger.
type source struct {
	ledger.Store
	reader *ledger.Reader
	where  string               // for messages
	client *ledgerclient.Client // nil unless it is that of a server
	beside string               // file with the public keys beside the ledger; "" when there is none to look for
}

// openSource opens a ledger to read it. Errors are exitErrors: of the command line,
// or ExitVerify for a damaged ledger.
func (p *program) openSource(ctx context.Context, f sourceFlags) (*source, error) {
	s, err := p.findSource(ctx, f)
	if err != nil {
		return nil, ledgerError(err)
	}
	s.reader = ledger.NewReader(s.Store, "")
	return s, nil
}

func (p *program) findSource(ctx context.Context, f sourceFlags) (*source, error) {
	data := f.data
	switch {
	case f.data != "" && f.server != "":
		return nil, usagef("take --data or --server, not both")
	case f.server != "":
		return p.openServer(ctx, f)
	case f.tokenFile != "" || f.caFile != "":
		return nil, usagef("--token-file and --tls-ca go with --server")
	case data == "":
		data = p.getenv("CHARTER_DATA")
	}
	if data != "" {
		return openData(ctx, data)
	}
	if s := p.runningServer(ctx); s != nil {
		return s, nil
	}
	if _, err := ledgerAt(defaultData); err == nil {
		return openData(ctx, defaultData)
	}
	return nil, usagef("no ledger: $CHARTER_DATA is not set, no server answers at %s, and ./%s holds none; give --data DIR or --server URL",
		defaultServer, defaultData)
}

// runningServer returns the server of the default address, if one answers there
// with a ledger.
func (p *program) runningServer(ctx context.Context) *source {
	c, err := ledgerclient.New(defaultServer, ledgerclient.Options{Token: p.getenv("CHARTER_TOKEN")})
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if _, _, err := c.Head(ctx); err != nil {
		_ = c.Close()
		return nil
	}
	return &source{Store: c, client: c, where: defaultServer}
}

func (p *program) openServer(ctx context.Context, f sourceFlags) (*source, error) {
	o := ledgerclient.Options{Token: p.getenv("CHARTER_TOKEN")}
	if f.tokenFile != "" {
		token, err := os.ReadFile(f.tokenFile)
		if err != nil {
			return nil, usagef("--token-file: %w", err)
		}
		o.Token = strings.TrimSpace(string(token))
	}
	if f.caFile != "" {
		pem, err := os.ReadFile(f.caFile)
		if err != nil {
			return nil, usagef("--tls-ca: %w", err)
		}
		o.Roots = x509.NewCertPool()
		if !o.Roots.AppendCertsFromPEM(pem) {
			return nil, usagef("--tls-ca: %s holds no certificate in PEM", f.caFile)
		}
	}
	c, err := ledgerclient.New(f.server, o)
	if err != nil {
		return nil, usagef("--server: %w", err)
	}
	if _, _, err := c.Head(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return &source{Store: c, client: c, where: strings.TrimRight(f.server, "/")}, nil
}

func openData(ctx context.Context, data string) (*source, error) {
	if ledgerdb.IsPostgres(data) {
		s, err := ledgerdb.Open(ctx, data, ledgerdb.Options{ReadOnly: true})
		if err != nil {
			return nil, err
		}
		return &source{Store: s, where: "the database"}, nil
	}
	dir, err := ledgerAt(data)
	if err != nil {
		return nil, err
	}
	s, err := ledgerdb.Open(ctx, dir, ledgerdb.Options{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	return &source{Store: s, where: dir, beside: filepath.Join(filepath.Dir(dir), publicKeyFile)}, nil
}

// errNoLedger marks a directory without a ledger.
var errNoLedger = errors.New("no ledger")

// ledgerAt returns the directory of a ledger: the one in a data directory of a
// server, or the directory itself.
func ledgerAt(data string) (string, error) {
	for _, dir := range []string{filepath.Join(data, ledgerDir), data} {
		// What a head or an index without a ledger means, opening it says.
		for _, name := range []string{ledgerFile, "head"} {
			_, err := os.Stat(filepath.Join(dir, name))
			if err == nil {
				return dir, nil
			}
			if !errors.Is(err, fs.ErrNotExist) {
				return "", fmt.Errorf("%w in %s: %w", errNoLedger, data, err)
			}
		}
	}
	return "", fmt.Errorf("%w in %s: neither %s nor %s is there; give the --data directory of a charter-server",
		errNoLedger, data, filepath.Join(data, ledgerDir, ledgerFile), filepath.Join(data, ledgerFile))
}

// ledgerError gives an error about a ledger its exit code.
func ledgerError(err error) error {
	var ee *exitError
	switch {
	case err == nil || errors.As(err, &ee) || errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, ledger.ErrDamaged), errors.Is(err, ledger.ErrBehind), errors.Is(err, ledger.ErrSignature),
		errors.Is(err, ledger.ErrCheckpoint), errors.Is(err, ledger.ErrMalformed), errors.Is(err, ledger.ErrReceipt),
		errors.Is(err, ledger.ErrNoQuorum):
		return &exitError{ExitVerify, err}
	case errors.Is(err, ledgerclient.ErrRefused):
		return usagef("%w; give a token with the scope audit in --token-file or $CHARTER_TOKEN", err)
	case errors.Is(err, ledger.ErrNotFound), errors.Is(err, errNoLedger):
		return &exitError{ExitUsage, err}
	}
	return &exitError{ExitInternal, err}
}

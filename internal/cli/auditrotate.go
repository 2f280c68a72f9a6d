package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"github.com/westworld-charter/charter/internal/keyring"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledgerclient"
	"github.com/westworld-charter/charter/internal/ledgerdb"
)

// keyChange is one of the two steps of changing the key of a ledger.
type keyChange struct {
	name    string // of the command, and of the route
	do      func(*keyring.Ring, context.Context, keyring.Log, string) (keyring.Change, error)
	explain func(keyring.Change) string
}

// localOperator is the principal of who changes keys while no server runs: being
// able to read the private key is the proof.
const localOperator = "local:charter-admin"

func (p *program) rotateCommand() *cobra.Command {
	return p.changeCommand(keyChange{"rotate", (*keyring.Ring).Rotate, explainRotation}, &cobra.Command{
		Use:   "rotate",
		Short: "Let another key sign the ledger",
		Long: `Makes another key, records the change in the ledger, and lets both keys sign: the
next one because it counts from now on, the one before for everybody who does not
have the next one yet. audit key retire ends that. ledger.pub then has both keys with
the sizes that each counts for, and audit verify follows the change by itself.

While charter-server runs, it is asked to do so (POST /v1/ledger/keys/rotate, with a
token of scope admin): the one at --server, or at 127.0.0.1:8000 when it has the
ledger of --data. Otherwise the files in --data are changed. Whatever is interrupted,
the same command or the next start of the server completes; while both keys sign it
changes nothing. No private key leaves the directory keys/: back it up afterwards.`,
		Example: `  charter-admin audit key rotate --data /var/lib/charter
  charter-admin audit key rotate --server https://charter.example.org:8000 --token-file admin.token`,
	})
}

func explainRotation(c keyring.Change) string {
	text := fmt.Sprintf("from entry %s on, the ledger is signed by %s\n", entryOf(c), c.Key)
	if !c.Changed {
		text = fmt.Sprintf("nothing to do: since entry %s the ledger is signed by %s\n", entryOf(c), c.Key)
	}
	return text + fmt.Sprintf("%s signs along; when auditors and witnesses have the new key, charter-admin audit key retire ends that", c.Previous)
}

func (p *program) retireCommand() *cobra.Command {
	return p.changeCommand(keyChange{"retire", (*keyring.Ring).Retire, explainRetirement}, &cobra.Command{
		Use:   "retire",
		Short: "Let the key that was replaced sign no more",
		Long: `Ends what audit key rotate began: the key before signs no more, which the ledger
records, and its private key is removed from keys/. Who has nothing but the old
public key still verifies the whole ledger and whatever was signed before; for new
receipts they need the new one, and so do witnesses.

How the server is found is told by audit key rotate --help.`,
		Example: `  charter-admin audit key retire --data /var/lib/charter`,
	})
}

func explainRetirement(c keyring.Change) string {
	if !c.Changed {
		return fmt.Sprintf("nothing to do: the ledger is signed by %s alone", c.Key)
	}
	return fmt.Sprintf("from entry %s on, the ledger is signed by %s alone; the private key before it is removed", entryOf(c), c.Key)
}

func entryOf(c keyring.Change) string {
	if c.Entry == nil {
		return "(pruned)"
	}
	return fmt.Sprint(*c.Entry)
}

func (p *program) changeCommand(change keyChange, cmd *cobra.Command) *cobra.Command {
	var src sourceFlags
	var key string
	format := choice{values: []string{formatPretty, formatJSON}}
	cmd.Args = arguments(0, 0, "no arguments")
	src.add(cmd)
	cmd.Flags().Lookup("server").Usage = "`URL` of the server that has the ledger"
	addLogKey(cmd, &key)
	format.flag(cmd)
	cmd.RunE = run(func(ctx context.Context, _ []string) error {
		c, err := p.changeKeys(ctx, change, src, key)
		if err != nil {
			return err
		}
		if format.is(formatJSON) {
			return p.printJSON(c)
		}
		_, err = fmt.Fprintln(p.stdout, change.explain(c))
		return err
	})
	return cmd
}

// changeKeys changes the keys of a ledger here, or asks the server that has it.
func (p *program) changeKeys(ctx context.Context, change keyChange, src sourceFlags, key string) (keyring.Change, error) {
	data := p.dataDir(src.data)
	if src.server != "" && src.data == "" {
		return p.askToChange(ctx, change, src, "")
	}
	if data == "" {
		if _, err := ledgerAt(defaultData); err != nil {
			src.server = defaultServer
			return p.askToChange(ctx, change, src, "")
		}
		data = defaultData
	}
	var c keyring.Change
	err := p.withWritable(ctx, data, key, func(w *writable) error {
		if w.ring == nil {
			return usagef("--log-key must be keys/ledger.key in the data directory of a server: the other keys are beside it")
		}
		var err error
		c, err = change.do(w.ring, ctx, w.log, localOperator)
		return err
	})
	switch {
	case errors.Is(err, ledgerdb.ErrInUse):
		beside := ""
		if dir, err := ledgerAt(data); err == nil {
			beside = filepath.Join(filepath.Dir(dir), publicKeyFile)
		}
		if src.server == "" {
			src.server = defaultServer
		}
		return p.askToChange(ctx, change, src, beside)
	case errors.Is(err, keyring.ErrFile), errors.Is(err, ledger.ErrKey):
		return c, usagef("%w", err)
	}
	return c, err
}

// askToChange asks a server. beside are the public keys of the ledger that is
// meant; "" takes any.
func (p *program) askToChange(ctx context.Context, change keyChange, src sourceFlags, beside string) (c keyring.Change, err error) {
	s, err := p.openServer(ctx, src)
	if err != nil {
		if beside != "" {
			return c, usagef("a server has this ledger open, and it does not answer at %s: give its --server URL, or stop it (%w)", src.server, err)
		}
		return c, ledgerError(err)
	}
	defer func() { err = ledgerError(errors.Join(err, s.Close())) }()
	if beside != "" {
		if err := sameLedger(ctx, s, beside); err != nil {
			return c, err
		}
	}
	text, err := s.client.ChangeKeys(ctx, change.name)
	switch {
	case errors.Is(err, ledgerclient.ErrRefused):
		return c, usagef("%w; give a token with the scope admin in --token-file or $CHARTER_TOKEN", err)
	case errors.Is(err, ledger.ErrNotFound):
		return c, usagef("%w: this server cannot change keys", err)
	case err != nil:
		return c, err
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return c, fmt.Errorf("the answer of %s: %w", s.where, err)
	}
	return c, nil
}

// sameLedger makes sure that a server has the ledger of a directory.
func sameLedger(ctx context.Context, s *source, beside string) error {
	here, err := logKeys(beside)
	if err != nil {
		return usagef("%w", err)
	}
	var t trust
	if err := t.find(ctx, s); err != nil {
		return err
	}
	if !slices.ContainsFunc(t.Log, func(k note.Verifier) bool { return keyName(k) == keyName(here[0]) }) {
		return usagef("a server has this ledger open, and the one at %s has another ledger: give the --server URL of the right one", s.where)
	}
	return nil
}

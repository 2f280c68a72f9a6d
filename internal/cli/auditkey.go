package cli

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/westworld-charter/charter/internal/ledger"
)

func (p *program) auditKeyCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "key NAME -o FILE",
		Short: "Make a key that signs manifests of exports, or change that of the ledger",
		Long: `Makes an Ed25519 key for signed notes (C2SP). NAME says whose it is, such as
audit.example.org. FILE.key is the private key, for export --sign; FILE.pub the
public one, for check-export --signer.

The key of a ledger is the server's: rotate and retire change it.`,
		Example: `  charter-admin audit key audit.example.org -o auditor
  charter-admin audit key rotate --data /var/lib/charter`,
		Args: arguments(1, 1, "one NAME"),
	}
	cmd.Flags().StringVarP(&file, "output", "o", "", "`name` of the files, without .key and .pub")
	cmd.RunE = run(func(_ context.Context, args []string) error {
		if file == "" {
			return usagef("key needs -o FILE; see charter-admin audit key --help")
		}
		signer, private, err := ledger.GenerateSigner(rand.Reader, args[0])
		if err != nil {
			return usagef("key: %q cannot be the name of a key: no spaces and no plus signs", args[0])
		}
		f, err := os.OpenFile(file+".key", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return usagef("key: %w", err)
		}
		if _, err := fmt.Fprintln(f, private); err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
		if err := writeWhole(file+".pub", []byte(signer.VerifierKey()+"\n")); err != nil {
			return err
		}
		_, err = fmt.Fprintln(p.stdout, signer.VerifierKey())
		return err
	})
	cmd.AddCommand(p.rotateCommand(), p.retireCommand())
	return cmd
}

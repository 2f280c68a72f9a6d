package cli

import (
	"context"

	"github.com/spf13/cobra"
)

func (p *program) auditCommand() *cobra.Command {
	cmd := p.listCommand()
	list := cmd.RunE
	cmd.Use = "audit [COMMAND]"
	cmd.Short = "List, prove and verify what was decided"
	cmd.Long = `Reads the ledger: what was denied, allowed, activated and changed, in the order in
which it happened. Without a command it lists entries, as audit list does.

The ledger is that of --data DIR or --server URL; else of $CHARTER_DATA, of the
server at 127.0.0.1:8000 if one answers there, or of ./charter-data. A directory
can be read while a server writes to it, and is never changed.

Listing believes whoever holds the ledger. What proves something is verify for the
whole, prove and check-receipt for one entry, export and check-export for many.`
	cmd.Example = `  charter-admin audit --node edge-7 --since 24h
  charter-admin audit list --severity critical --follow
  charter-admin audit show 4711
  charter-admin audit verify --key ledger.pub --witness policy.txt
  charter-admin audit prove 4711 -o entry.receipt
  charter-admin audit check-receipt entry.receipt --key ledger.pub`
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return p.unknownCommand(cmd, args)
		}
		return list(cmd, args)
	}
	cmd.Args = cobra.ArbitraryArgs
	exportToo := p.exportCommand()
	exportToo.Example = `  charter-admin audit export -o march.parquet --since 2026-03-01 --until 2026-04-01`
	cmd.AddCommand(
		p.listCommand(), p.showCommand(), p.verifyCommand(), p.proveCommand(), p.checkReceiptCommand(),
		exportToo, p.checkExportCommand(), p.auditReportCommand(), p.sealCommand(), p.pruneCommand(), p.auditKeyCommand(),
	)
	return cmd
}

// withSource opens the ledger for a command and closes it.
func (p *program) withSource(ctx context.Context, f sourceFlags, use func(s *source) error) error {
	s, err := p.openSource(ctx, f)
	if err != nil {
		return err
	}
	err = use(s)
	if closeErr := s.Close(); err == nil {
		err = closeErr
	}
	return ledgerError(err)
}

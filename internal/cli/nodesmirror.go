package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/westworld-charter/charter/internal/mirror"
)

func (p *program) nodesMirrors() *cobra.Command {
	var f remoteFlags
	format := choice{values: []string{formatTable, formatJSON}}
	cmd := &cobra.Command{
		Use:   "mirrors",
		Short: "Show the copies that a server keeps of the ledgers of nodes",
		Long: `Shows how far the copy of each node's ledger is, what is wrong with it, and how much
of the server's own ledger the node has cosigned. That takes a token with the scope audit.
A copy is read like any ledger: charter-admin audit --data DATA/mirrors/NODE.`,
		Example: `  charter-admin nodes mirrors --server https://charter.example.org --format json`,
		Args:    arguments(0, 0, "no arguments"),
		RunE: run(func(ctx context.Context, _ []string) error {
			body, err := p.askServer(ctx, f, "/v1/mirrors")
			if err != nil {
				return err
			}
			return answered(p, body, format.is(formatJSON), p.showMirrors)
		}),
	}
	f.add(cmd)
	format.flag(cmd)
	return cmd
}

func (p *program) showMirrors(a struct{ Mirrors []mirror.Status }) error {
	return p.columns("NODE\tENTRIES\tCOPIED\tCOSIGNED\tTROUBLE\tORIGIN", func(w io.Writer) {
		for _, m := range a.Mirrors {
			trouble := ""
			if m.Fault != nil {
				trouble = m.Fault.Code
			}
			fmt.Fprintf(w, "%s\t%d\t%s\t%d\t%s\t%s\n", printable(m.Node), m.Size, p.heard(m.Updated), m.Cosigned, printable(trouble), printable(m.Origin))
		}
	})
}

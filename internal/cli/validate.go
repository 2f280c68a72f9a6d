package cli

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/westworld-charter/charter/internal/diag"
)

func (p *program) validateCommand() *cobra.Command {
	var strict bool
	format := choice{}
	for _, f := range diag.Formats() {
		format.values = append(format.values, string(f))
	}
	cmd := &cobra.Command{
		Use:   "validate FILE...",
		Short: "Check charters and report everything that is wrong with them",
		Long: `Checks charters: the document itself, what it extends, and what its clauses mean
together (conflicts, clauses that can never apply, relaxed protection).

All findings go to stdout, each as file:line:col with a fix where there is one;
the count goes to stderr. The exit code is 3 when there is an error.`,
		Example: `  charter-admin validate policies/production/charter.yaml
  charter-admin validate --strict policies/*/charter.yaml
  charter-admin validate --format github policies/*/charter.yaml    # in a workflow
  charter-admin validate --format sarif charter.yaml >charter.sarif`,
		Args: arguments(1, -1, "at least one FILE"),
		RunE: run(func(ctx context.Context, args []string) error {
			return p.validate(ctx, args, diag.Format(format.value), strict)
		}),
	}
	format.flag(cmd)
	cmd.Flags().BoolVar(&strict, "strict", false, "treat warnings as errors")
	return cmd
}

func (p *program) validate(ctx context.Context, files []string, format diag.Format, strict bool) error {
	var all diag.List
	for _, file := range files {
		_, found := findings(charterPath(file))
		all = append(all, found...)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	all.Sort()
	if strict {
		for i := range all {
			all[i].Severity = diag.Error
		}
	}
	opts := diag.Options{Color: p.color.stdout, Tool: "charter-admin", Version: buildVersion()}
	if err := diag.Write(p.stdout, format, all, os.ReadFile, opts); err != nil {
		return err
	}
	fmt.Fprintf(p.stderr, "%s: %s\n", plural(len(files), "charter"), tally(all))
	if all.HasErrors() {
		return silent(ExitInvalid)
	}
	return nil
}

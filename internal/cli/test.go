package cli

import (
	"context"
	"os"
	"regexp"
	"time"

	"github.com/spf13/cobra"

	"github.com/westworld-charter/charter/internal/policytest"
)

type testFlags struct {
	filter    string
	coverage  bool
	threshold float64
	format    choice
	verbose   bool
	timeout   time.Duration
}

func (p *program) testCommand() *cobra.Command {
	var flags testFlags
	for _, f := range policytest.Formats() {
		flags.format.values = append(flags.format.values, string(f))
	}
	cmd := &cobra.Command{
		Use:   "test [DIR...]",
		Short: "Run the tests of charters and of Rego",
		Long: `Runs all tests below the directories: the rules test_* in *_test.rego, with the
meaning that opa test gives them (todo_test_* is skipped), and the cases of
*_cases.yaml.

A directory with a charter.yaml is a suite: the charter is compiled, its Rego
tests run against the compiled modules, and its cases are decided by the engine.
Coverage counts the clauses that cases reached. Rego outside such directories is
tested as it lies there; coverage counts lines of files that are not tests.

Failing are also: a --run that matches nothing, no tests at all, and a suite
below the --threshold. A failing test never hides coverage.
The exit code is 4 then, and 3 when a charter, a table or Rego is invalid.`,
		Example: `  charter-admin test policies
  charter-admin test policies/production --run 'privacy_cases/.*gps' --verbose
  charter-admin test rego --coverage --threshold 100
  charter-admin test --format junit >report.xml`,
		Args: arguments(0, -1, "directories"),
		RunE: run(func(ctx context.Context, args []string) error { return p.test(ctx, args, flags) }),
	}
	f := cmd.Flags()
	f.StringVarP(&flags.filter, "run", "r", "", "run only tests whose full name matches the `regexp`")
	f.BoolVarP(&flags.coverage, "coverage", "c", false, "report coverage")
	f.Float64VarP(&flags.threshold, "threshold", "t", 0, "fail when the coverage of a suite is below this `percentage`; implies --coverage")
	f.DurationVar(&flags.timeout, "timeout", policytest.DefaultTimeout, "`duration` that one Rego test may take")
	flags.format.flag(cmd)
	f.BoolVarP(&flags.verbose, "verbose", "v", false, "name passing tests too (pretty)")
	return cmd
}

func (p *program) test(ctx context.Context, dirs []string, flags testFlags) error {
	if flags.threshold < 0 || flags.threshold > 100 {
		return usagef("test: --threshold %g is not a percentage from 0 to 100", flags.threshold)
	}
	if flags.timeout <= 0 {
		return usagef("test: --timeout %s is not positive", flags.timeout)
	}
	opts := policytest.Options{Paths: dirs, Coverage: flags.coverage, Threshold: flags.threshold, Timeout: flags.timeout}
	if flags.filter != "" {
		var err error
		if opts.Filter, err = regexp.Compile(flags.filter); err != nil {
			return usagef("test: --run: %w", err)
		}
	}
	for _, dir := range dirs {
		switch info, err := os.Stat(dir); {
		case err != nil:
			return usagef("test: %w", err)
		case !info.IsDir() && !policytest.IsTable(dir):
			return usagef("test: %s is neither a directory nor a case table", dir)
		}
	}
	report, err := policytest.Run(ctx, opts)
	if err != nil {
		return err
	}
	write := policytest.WriteOptions{Color: p.color.stdout, Verbose: flags.verbose, Read: os.ReadFile}
	if err := policytest.Write(p.stdout, policytest.Format(flags.format.value), report, write); err != nil {
		return err
	}
	switch {
	case report.Invalid():
		return silent(ExitInvalid)
	case !report.OK():
		return silent(ExitTests)
	default:
		return nil
	}
}

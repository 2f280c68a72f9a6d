// Package cli is the command line of charter-admin. [Main] is the whole
// program: it takes what a process has (arguments, streams, environment) as
// values and returns the exit code.
//
// What scripts can rely on: stdout carries the result of a command and nothing
// else, stderr everything said about it; the exit codes are the Exit constants;
// colours appear only on a terminal and never under NO_COLOR.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/westworld-charter/charter/internal/diag"
)

// Exit codes; the list is closed.
const (
	ExitOK       = 0
	ExitInternal = 1 // a fault of the program or of its surroundings
	ExitUsage    = 2 // the command line, or a file it names, cannot be used
	ExitInvalid  = 3 // an invalid charter, bundle or test file
	ExitTests    = 4 // tests failed, were missing, or cover too little
	ExitFinding  = 5 // the policy says no
	ExitVerify   = 6 // a signature, digest or proof does not hold
)

// program is one run of charter-admin.
type program struct {
	stdin  io.Reader
	stdout *output
	stderr io.Writer
	now    func() time.Time
	getenv func(string) string
	color  colors
	// progress is where a bar may be drawn, nil if not on a terminal.
	progress io.Writer
}

// Main runs charter-admin with args, the command line without the program name,
// and returns its exit code. Cancelling ctx interrupts it.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, getenv func(string) string) int {
	out := newOutput(stdout)
	p := &program{
		stdin: stdin, stdout: out, stderr: after{out, stderr}, now: time.Now, getenv: getenv,
		color: detectColors(stdout, stderr, getenv),
	}
	if terminal(stderr) && getenv("TERM") != "dumb" {
		p.progress = stderr
	}
	root := p.root(args)
	err := root.ExecuteContext(ctx)
	// The buffer keeps the first error of writing, whoever saw it.
	if writeErr := p.stdout.Flush(); writeErr != nil {
		err = &exitError{ExitInternal, fmt.Errorf("write output: %w", writeErr)}
	}
	return p.exit(ctx, err)
}

// exitError carries an exit code. A nil err means that all has been said.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// silent is an exit code about which all has been said.
func silent(code int) error { return &exitError{code: code} }

// usagef is a mistake on the command line or in a file it names.
func usagef(format string, args ...any) error {
	return &exitError{ExitUsage, fmt.Errorf(format, args...)}
}

// invalid marks err as the fault of a charter or bundle.
func invalid(err error) error { return &exitError{ExitInvalid, err} }

// exit reports err on stderr and returns the code for it.
func (p *program) exit(ctx context.Context, err error) int {
	var ee *exitError
	switch {
	case err == nil:
		return ExitOK
	case brokenPipe(err): // the reader has seen enough
		return ExitInternal
	case ctx.Err() != nil:
		fmt.Fprintln(p.stderr, "charter-admin: interrupted")
		return ExitInternal
	case !errors.As(err, &ee): // made by cobra: every command of ours returns an exitError
		ee = &exitError{ExitUsage, err}
	}
	if ee.err != nil {
		text := printable(ee.Error())
		if ee.code == ExitUsage {
			text = strings.Join(strings.Fields(text), " ")
		}
		fmt.Fprintf(p.stderr, "charter-admin: %s\n", text)
	}
	return ee.code
}

// root builds the tree of commands.
func (p *program) root(args []string) *cobra.Command {
	root := &cobra.Command{
		Use:   "charter-admin",
		Short: "Write, check and test telemetry charters",
		Long: `charter-admin works on charters: YAML documents that say which metrics may be
collected, who may read them, for which purpose and for how long, and what must
never be collected.

Exit codes: 0 ok, 1 internal error, 2 usage, 3 invalid charter or policy,
4 tests failed, 5 the policy says no, 6 verification failed.`,
		Example: `  charter-admin init demo
  charter-admin validate demo/charter.yaml
  charter-admin test demo
  charter-admin check --exposition http://localhost:9100/metrics demo/charter.yaml`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
	}
	root.RunE = p.unknownCommand
	root.SetArgs(args)
	root.SetIn(p.stdin)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	root.SetFlagErrorFunc(p.flagError)
	root.AddCommand(
		p.initCommand(), p.validateCommand(), p.compileCommand(), p.checkCommand(), p.isAllowedCommand(),
		p.testCommand(), p.bundleCommand(), p.auditCommand(), p.exportCommand(), p.exportConfigCommand(), p.committeeCommand(), p.notifyCommand(), p.versionCommand(),
		p.reportCommand(), p.investigationCommand(), p.nodesCommand(), p.releaseCommand(), p.restoreCommand(), p.overrideCommand(), p.revokeCommand(), p.demoCommand(),
		p.keyCommand(), p.signCommand(), p.verifyReleaseCommand(), p.attestCommand(), p.pushCommand(), p.pullCommand(), p.inspectReleaseCommand(), p.saveCommand(), p.loadReleaseCommand(),
	)
	root.SetHelpCommand(p.helpCommand(root))
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() == "completion" {
			cmd.Args, cmd.RunE = cobra.ArbitraryArgs, p.unknownCommand
		}
	}
	return root
}

// helpCommand differs from cobra's own in that it refuses what does not exist.
func (p *program) helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Explain a command",
		Args:  cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err == nil && len(rest) > 0 {
				err = p.unknownCommand(cmd, rest)
			}
			if err != nil {
				return err
			}
			return cmd.Help()
		},
	}
}

// runner is the body of a command.
type runner func(ctx context.Context, args []string) error

// run adapts a body to cobra and makes every error an exitError: what a command
// did not mark is a fault of the program or of its surroundings.
func run(body runner) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		err := body(cmd.Context(), args)
		var ee *exitError
		if err == nil || errors.As(err, &ee) {
			return err
		}
		return &exitError{ExitInternal, err}
	}
}

// arguments checks the number of arguments and names the ones that are missing.
func arguments(least, most int, names string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usagef("%s needs %s; see %s --help", cmd.Name(), names, cmd.CommandPath())
		case most >= 0 && len(args) > most:
			return usagef("%s takes %s and no %q; see %s --help", cmd.Name(), names, args[most], cmd.CommandPath())
		default:
			return nil
		}
	}
}

// unknownCommand is the body of a command that only groups others.
func (p *program) unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usagef("no command given; see %s --help", cmd.CommandPath())
	}
	var names []string
	for _, sub := range cmd.Commands() {
		names = append(names, sub.Name())
	}
	if near := diag.DidYouMean(args[0], names); near != "" {
		return usagef("unknown command %q; did you mean %s %s?", args[0], cmd.CommandPath(), near)
	}
	return usagef("unknown command %q; see %s --help", args[0], cmd.CommandPath())
}

func (p *program) flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	// The flags of a misspelt command are reported against its parent, although
	// the command is at fault.
	if errors.As(err, &unknown) && cmd.HasAvailableSubCommands() {
		if words := cmd.Flags().Args(); len(words) > 0 {
			return p.unknownCommand(cmd, words)
		}
	}
	hint := fmt.Sprintf("see %s --help", cmd.CommandPath())
	if unknown != nil {
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if near := diag.DidYouMean(strings.TrimLeft(unknown.GetSpecifiedName(), "-"), names); near != "" {
			hint = fmt.Sprintf("did you mean --%s?", near)
		}
	}
	if !cmd.HasParent() {
		return usagef("%w; %s", err, hint)
	}
	return usagef("%s: %w; %s", cmd.Name(), err, hint)
}

// Package app is the charter-server process as a value: it reads the
// configuration, loads a charter or bundle, and serves decisions until told to
// stop.
//
// Start with [Main], which is all of the program but signals; [New] and
// [Server.Run] are the same without a command line. Guaranteed are: a charter
// with errors is never served; self-asserted identity never leaves loopback;
// requests under way are answered before the process ends; standard output
// carries only what was asked for, logs go to standard error.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/westworld-charter/charter/internal/diag"
)

// Exit codes of the process.
const (
	exitOK       = 0
	exitInternal = 1
	exitUsage    = 2
	exitPolicy   = 3
)

// Main runs charter-server with the arguments after the program's name and
// returns its exit code: 0 ok, 1 internal error, 2 usage, 3 invalid charter or
// policy. It returns when ctx ends and requests under way have been answered.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer, getenv func(string) string) int {
	err := run(ctx, args, stdout, stderr, getenv)
	if err == nil || ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return exitOK // also when told to stop while still loading
	}
	color := terminal(stderr) && getenv("NO_COLOR") == ""
	if usage, ok := errors.AsType[*usageError](err); ok {
		explain(stderr, usage.findings, os.ReadFile, color, err)
		_, _ = fmt.Fprintf(stderr, "Run '%s --help' for the flags.\n", program)
		return exitUsage
	}
	if policy, ok := errors.AsType[*PolicyError](err); ok {
		explain(stderr, policy.Findings, policy.read, color, err)
		return exitPolicy
	}
	explain(stderr, nil, nil, false, err)
	return exitInternal
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer, getenv func(string) string) error {
	inv, err := configure(args, getenv, os.ReadFile)
	switch {
	case err != nil:
		return err
	case inv.help:
		return writeHelp(stdout)
	case inv.version:
		return writeVersion(stdout)
	}
	s, err := New(ctx, inv.options, newLogger(stderr, inv.options))
	if err != nil {
		return err
	}
	addr, err := s.Listen(ctx)
	if err != nil {
		return err
	}
	if inv.options.InsecureSelfAsserted {
		x := explorer{engine: s.engine, now: time.Now()}
		if err := writeExamples(stdout, "http://"+addr.String(), x.examples(ctx)); err != nil {
			s.log.Debug("examples not printed", "error", err)
		}
	}
	return s.Run(ctx)
}

// explain prints findings with their source lines, and the error. Nothing can
// be done about a standard error that is closed.
func explain(stderr io.Writer, findings diag.List, read func(string) ([]byte, error), color bool, err error) {
	if len(findings) > 0 {
		_ = diag.Write(stderr, diag.Pretty, findings, read, diag.Options{Color: color})
	}
	_, _ = fmt.Fprintf(stderr, "%s: %v\n", program, err)
}

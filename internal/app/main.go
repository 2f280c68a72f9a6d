// Package app is the charter-server process as a value: it reads the
// configuration, loads a charter or bundle, and serves decisions until told to
// stop.
//
// Start with [Main] and a [Program], which is all of it but the signals that stop it;
// [New] and [Server.Run] are the same without a command line. Guaranteed are: a
// charter with errors and a bundle that is not what its charter compiles to are
// never served; files that change are loaded anew without a wrong or dropped
// answer, and what does not load changes nothing but the health of the server;
// self-asserted identity never leaves loopback, and beyond it only callers that
// prove who they are get answers; requests under way are answered before the
// process ends; standard output carries only what was asked for, logs go to
// standard error.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
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

// Main runs a program with the arguments after its name and returns its exit code: 0 ok, 1 internal error, 2 usage, 3 invalid charter or
// policy. It returns when ctx ends and requests under way have been answered.
func Main(ctx context.Context, p Program, args []string, stdout, stderr io.Writer, getenv func(string) string) int {
	err := p.run(ctx, args, stdout, stderr, getenv)
	if err == nil || ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return exitOK // also when told to stop while still loading
	}
	color := terminal(stderr) && getenv("NO_COLOR") == ""
	if usage, ok := errors.AsType[*usageError](err); ok {
		p.complain(stderr, usage.findings, os.ReadFile, color, err)
		_, _ = fmt.Fprintf(stderr, "Run '%s --help' for the flags.\n", p.name)
		return exitUsage
	}
	if access, ok := errors.AsType[*accessError](err); ok {
		p.complain(stderr, access.findings, os.ReadFile, color, err)
		return exitUsage
	}
	if own, ok := errors.AsType[*LedgerError](err); ok {
		p.complain(stderr, nil, nil, false, own)
		return exitInternal
	}
	if policy, ok := errors.AsType[*PolicyError](err); ok {
		p.complain(stderr, policy.Findings, policy.read, color, err)
		return exitPolicy
	}
	p.complain(stderr, nil, nil, false, err)
	return exitInternal
}

func (p Program) run(ctx context.Context, args []string, stdout, stderr io.Writer, getenv func(string) string) error {
	inv, err := p.configure(args, getenv, os.ReadFile)
	switch {
	case err != nil:
		return err
	case inv.help:
		return p.writeHelp(stdout)
	case inv.version:
		return p.writeVersion(stdout)
	}
	s, err := New(ctx, p, inv.options, newLogger(stderr, inv.options))
	if err != nil {
		return err
	}
	addr, err := s.Listen(ctx)
	if err != nil {
		return errors.Join(err, s.Close(ctx))
	}
	if inv.options.InsecureSelfAsserted {
		x := explorer{engine: s.engine, now: time.Now()}
		if err := writeExamples(stdout, s.url(addr), x.examples(ctx)); err != nil {
			s.log.Debug("examples not printed", "error", err)
		}
	}
	defer s.onHangup(ctx)()
	return s.Run(ctx)
}

// onHangup reloads when the process gets SIGHUP, until ctx ends or the returned
// function is called.
func (s *Server) onHangup(ctx context.Context) (stop func()) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-ctx.Done():
				return
			case <-hangup:
				_, _ = s.Reload(ctx, "SIGHUP") // logged, and told by /health
			}
		}
	}()
	return func() {
		signal.Stop(hangup)
		cancel()
		<-done
	}
}

// complain prints findings with their source lines, and the error. Nothing can
// be done about a standard error that is closed.
func (p Program) complain(stderr io.Writer, findings diag.List, read func(string) ([]byte, error), color bool, err error) {
	if len(findings) > 0 {
		_ = diag.Write(stderr, diag.Pretty, findings, read, diag.Options{Color: color})
	}
	_, _ = fmt.Fprintf(stderr, "%s: %v\n", p.name, err)
}

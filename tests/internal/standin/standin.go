// Package standin lets a test binary stand in for the programs of this repository: under
// their names it does what their main functions do. So nothing else has to be built, and
// what they reach counts as covered by the test. Tests that kill programs, limit or
// measure them take the real ones, see package program.
package standin

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/westworld-charter/charter/internal/app"
	"github.com/westworld-charter/charter/internal/cli"
	"github.com/westworld-charter/charter/internal/compile"
	"github.com/westworld-charter/charter/internal/policytest"
)

// Main is all that TestMain has to do: it runs the tests, with the programs on PATH, or
// one of the programs. It does not return.
func Main(m testscript.TestingM) {
	serve := func(p app.Program) func() {
		return interruptible(func(ctx context.Context) int {
			return app.Main(ctx, p, os.Args[1:], os.Stdout, os.Stderr, os.Getenv)
		})
	}
	testscript.Main(m, map[string]func(){
		"charter-admin": interruptible(func(ctx context.Context) int {
			return cli.Main(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv)
		}),
		"charter-node":   serve(app.CharterNode()),
		"charter-server": serve(app.CharterServer(app.Compiler{Check: compile.Check, Build: compile.Build, Lint: policytest.Lint})),
	})
}

// interruptible does what the main functions of the programs do.
func interruptible(main func(context.Context) int) func() {
	return func() {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		code := main(ctx)
		stop()
		os.Exit(code)
	}
}

// Command charter-server answers, over HTTP, whether a metric may be collected,
// read or exported under a charter. See docs/server.md.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/westworld-charter/charter/internal/app"
	"github.com/westworld-charter/charter/internal/compile"
	"github.com/westworld-charter/charter/internal/policytest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	program := app.CharterServer(app.Compiler{Check: compile.Check, Build: compile.Build, Lint: policytest.Lint})
	os.Exit(app.Main(ctx, program, os.Args[1:], os.Stdout, os.Stderr, os.Getenv))
}

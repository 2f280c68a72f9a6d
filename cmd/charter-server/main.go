// Command charter-server answers, over HTTP, whether a metric may be collected,
// read or exported under a charter. See docs/server.md.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/westworld-charter/charter/internal/app"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(app.Main(ctx, os.Args[1:], os.Stdout, os.Stderr, os.Getenv))
}

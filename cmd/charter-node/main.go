// Command charter-node answers, on the machine that asks, whether a metric may be
// collected, read or exported, by the signed release that is published for it. See
// docs/node.md.
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
	os.Exit(app.Main(ctx, app.CharterNode(), os.Args[1:], os.Stdout, os.Stderr, os.Getenv))
}

// Command bench measures Charter beside what else people would take and prints
// one JSON line per ratio on standard output, progress on standard error. It
// exits 0 also when a goal is missed: the line says so.
//
// See docs/design/benchmarks.md for what the rows mean.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

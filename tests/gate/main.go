// Command gate prints the statement coverage of a Go cover profile by package
// and fails when the total is below a minimum.
//
//	gate -min 85 cover.out
//
// A profile of several test binaries names a statement once per binary; gate
// counts it once, as covered when any of them reached it. Exit codes: 0 at or
// above the minimum, 1 below it or the profile is unreadable, 2 usage.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("gate", flag.ContinueOnError)
	flags.SetOutput(stderr)
	minimum := flags.Float64("min", 0, "least total coverage, in percent")
	if err := flags.Parse(args); err != nil || flags.NArg() != 1 {
		fmt.Fprintln(stderr, "usage: gate -min PERCENT PROFILE")
		return 2
	}
	file, err := os.Open(flags.Arg(0))
	if err != nil {
		fmt.Fprintln(stderr, "gate:", err)
		return 1
	}
	defer file.Close()
	packages, err := readProfile(file)
	if err != nil {
		fmt.Fprintf(stderr, "gate: read %s: %v\n", flags.Arg(0), err)
		return 1
	}
	total := report(stdout, packages)
	if total < *minimum {
		fmt.Fprintf(stderr, "gate: coverage %.1f%% is below the minimum of %.1f%%\n", total, *minimum)
		return 1
	}
	return 0
}

// Command gate prints the statement coverage of Go cover profiles by package
// and fails when the total is below a minimum.
//
//	gate -min 85 cover.out...
//
// Profiles of several test binaries name a statement once per binary; gate
// counts it once, as covered when any of them reached it. Exit codes: 0 at or
// above the minimum, 1 below it or a profile is unreadable, 2 usage.
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
	if err := flags.Parse(args); err != nil || flags.NArg() == 0 {
		fmt.Fprintln(stderr, "usage: gate -min PERCENT PROFILE...")
		return 2
	}
	found := make(profile)
	for _, name := range flags.Args() {
		if err := readFile(name, found); err != nil {
			fmt.Fprintln(stderr, "gate:", err)
			return 1
		}
	}
	total := report(stdout, found.packages())
	if total < *minimum {
		fmt.Fprintf(stderr, "gate: coverage %.1f%% is below the minimum of %.1f%%\n", total, *minimum)
		return 1
	}
	return 0
}

func readFile(name string, into profile) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := into.read(file); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

package app

import (
	"slices"
	"strings"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/diag"
)

// Program says which of the programs of this package runs: its name, its settings
// with their defaults, and what it is able to. [CharterServer] and [CharterNode] are
// the two.
type Program struct {
	name     string
	prefix   string // of its environment variables
	settings []setting
	defaults Options
	help     help
	check    func(o Options, fault func(string, ...any)) // what it alone demands of its options
	compiler Compiler                                    // the zero value of a program that only takes bundles
	node     bool                                        // it decides for the machine that it is on, and nothing follows from its decisions
}

// Compiler makes policies of charters. It is handed in, so that a program that must
// not make any does not even hold the code.
type Compiler struct {
	Check func(*charter.Charter) diag.List               // what shows between clauses and against a base
	Build func(*charter.Charter) (*bundle.Bundle, error) // the bundle of a charter without errors
	Lint  func(*bundle.Bundle) (diag.List, error)        // of the rules in a bundle
}

// CharterServer is the program that serves a charter or bundle, with everything that
// follows from its decisions.
func CharterServer(c Compiler) Program {
	return Program{
		name: "charter-server", prefix: "CHARTER_", settings: serverSettings(), defaults: Defaults(), check: Options.validateServer,
		help: help{
			head:     serverHelp,
			examples: serverExamples,
			sample:   "docs/server.yaml",
			nothing:  "charters are named with --charter FILE",
		},
		compiler: c,
	}
}

// variable is the environment variable of a flag.
func (p Program) variable(flag string) string {
	return p.prefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// only returns the settings with these flags, in that order.
func only(all []setting, flags ...string) []setting {
	list := make([]setting, 0, len(flags))
	for _, flag := range flags {
		if i := slices.IndexFunc(all, func(s setting) bool { return s.flag == flag }); i >= 0 {
			list = append(list, all[i])
		}
	}
	return list
}

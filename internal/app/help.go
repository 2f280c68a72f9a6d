package app

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"text/tabwriter"

	"github.com/westworld-charter/charter/internal/metrics"
)

// help is the text around the list of flags.
type help struct {
	head, examples string
	sample         string // a configuration file with every setting
	nothing        string // what to do instead of an argument without a flag
}

const serverHelp = `charter-server answers whether a metric may be collected, read or exported.

Usage:
  charter-server --charter FILE | --bundle REF [flags]
`

const serverExamples = `  charter-server --charter policies/development/charter.yaml --insecure-self-asserted
  charter-server --bundle bundle.tar.gz --listen 0.0.0.0:8000 --tls-cert server.pem --tls-key server.key --tls-client-ca nodes.pem
  CHARTER_LOG_LEVEL=debug charter-server --config docs/server.yaml
`

const helpSources = `
Flags win over environment variables, these over the configuration file, the file over the defaults.

Examples:
`

const helpExits = `
Exit codes: 0 ok, 1 internal error, 2 usage, 3 invalid charter or policy.
`

// writeHelp prints all flags with their environment variables.
func (p Program) writeHelp(w io.Writer) error {
	if _, err := io.WriteString(w, p.help.head+"\nFlags:\n"); err != nil {
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(flag, arg, env, usage string) {
		_, _ = fmt.Fprintf(table, "  --%s %s\t%s\t%s\n", flag, arg, env, usage) // the error shows at Flush
	}
	for _, s := range p.settings {
		usage := s.usage
		if s.def != "" {
			usage += " (default " + s.def + ")"
		}
		line(s.flag, s.arg, p.variable(s.flag), usage)
	}
	line("config", "FILE", p.variable("config"), "YAML file with any of these; see "+p.help.sample)
	line("help", "", "", "print this")
	line("version", "", "", "print the version")
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, helpSources+p.help.examples+helpExits)
	return err
}

// build says which program this is, as the Go toolchain recorded it.
func build() metrics.Build {
	b := metrics.Build{Version: "devel", GoVersion: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		b.Version = v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			b.Commit = s.Value
		}
	}
	return b
}

func (p Program) writeVersion(w io.Writer) error {
	b := build()
	if b.Commit != "" {
		b.Version += " (" + b.Commit + ")"
	}
	_, err := fmt.Fprintf(w, "%s %s %s %s/%s\n", p.name, b.Version, b.GoVersion, runtime.GOOS, runtime.GOARCH)
	return err
}

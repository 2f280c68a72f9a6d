package app

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"text/tabwriter"

	"github.com/westworld-charter/charter/internal/metrics"
)

const program = "charter-server"

const helpHead = `charter-server answers whether a metric may be collected, read or exported.

Usage:
  charter-server --charter FILE | --bundle PATH [flags]

Flags:
`

const helpTail = `
Flags win over environment variables, these over the configuration file, the file over the defaults.

Examples:
  charter-server --charter policies/development/charter.yaml --insecure-self-asserted
  charter-server --bundle bundle.tar.gz --listen 0.0.0.0:8000 --tls-cert server.pem --tls-key server.key --tls-client-ca nodes.pem
  CHARTER_LOG_LEVEL=debug charter-server --config docs/server.yaml

Exit codes: 0 ok, 1 internal error, 2 usage, 3 invalid charter or policy.
`

// writeHelp prints all flags with their environment variables.
func writeHelp(w io.Writer) error {
	if _, err := io.WriteString(w, helpHead); err != nil {
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(flag, arg, env, usage string) {
		_, _ = fmt.Fprintf(table, "  --%s %s\t%s\t%s\n", flag, arg, env, usage) // the error shows at Flush
	}
	for _, s := range settings() {
		usage := s.usage
		if s.def != "" {
			usage += " (default " + s.def + ")"
		}
		line(s.flag, s.arg, s.env(), usage)
	}
	line("config", "FILE", "CHARTER_CONFIG", "YAML file with any of these; see docs/server.yaml")
	line("help", "", "", "print this")
	line("version", "", "", "print the version")
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, helpTail)
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

func writeVersion(w io.Writer) error {
	b := build()
	if b.Commit != "" {
		b.Version += " (" + b.Commit + ")"
	}
	_, err := fmt.Fprintf(w, "%s %s %s %s/%s\n", program, b.Version, b.GoVersion, runtime.GOOS, runtime.GOARCH)
	return err
}

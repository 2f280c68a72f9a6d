package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is what `version --format json` prints.
type version struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Go       string `json:"go"`
	OPA      string `json:"opa"`
	Platform string `json:"platform"`
}

func (p *program) versionCommand() *cobra.Command {
	format := choice{values: []string{formatPretty, formatJSON}}
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version of the program and of the OPA inside",
		Long:    `Prints the version of the program, of Go and of the OPA that it embeds.`,
		Example: "  charter-admin version --format json",
		Args:    arguments(0, 0, "no arguments"),
		RunE: run(func(context.Context, []string) error {
			v := currentVersion()
			if format.is(formatJSON) {
				return p.printJSON(v)
			}
			_, err := fmt.Fprintf(p.stdout, "charter-admin %s (OPA %s, %s, %s)\n", v.Version, v.OPA, v.Go, v.Platform)
			return err
		}),
	}
	format.flag(cmd)
	return cmd
}

func currentVersion() version {
	v := version{Version: buildVersion(), Go: runtime.Version(), OPA: "unknown", Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	for _, dep := range info.Deps { // test binaries do not list them
		if dep.Path == "github.com/open-policy-agent/opa" {
			v.OPA = dep.Version
		}
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v.Revision = s.Value
		}
	}
	return v
}

// buildVersion is the version of the main module, "(devel)" when built from a
// work tree.
func buildVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}

// printJSON prints v as indented JSON.
func (p *program) printJSON(v any) error {
	enc := json.NewEncoder(p.stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

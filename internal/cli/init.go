package cli

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/westworld-charter/charter/internal/charter"
)

// starter is what init writes: a small charter whose tests pass.
//
//go:embed starter/*
var starter embed.FS

// schemaFile is the JSON Schema beside the starter, which its first line names,
// so that editors help without a network.
const schemaFile = "charter.schema.json"

func (p *program) initCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "init [DIR]",
		Short: "Write a starter charter with tests that pass",
		Long: `Writes a small charter, a case table, a Rego test and the JSON Schema for editors
into DIR, by default the working directory. Nothing that exists is overwritten.`,
		Example: `  charter-admin init demo
  charter-admin test demo`,
		Args: arguments(0, 1, "one DIR"),
		RunE: run(func(_ context.Context, args []string) error {
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			return p.init(dir)
		}),
	}
}

func (p *program) init(dir string) error {
	files, err := starterFiles()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return usagef("init: %w", err)
	}
	names := sortedKeys(files)
	if i := slices.IndexFunc(names, func(name string) bool { return exists(filepath.Join(dir, name)) }); i >= 0 {
		return usagef("init: %s exists; nothing was written", filepath.Join(dir, names[i]))
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		if err := create(path, files[name]); err != nil {
			return fmt.Errorf("init: %w", err)
		}
		fmt.Fprintln(p.stdout, path)
	}
	charter := filepath.Join(dir, "charter.yaml")
	fmt.Fprintf(p.stderr, "Next:\n  charter-admin validate %s\n  charter-admin test %s\n  charter-admin is-allowed latency_p50 edge-1 %s\n",
		charter, dir, charter)
	return nil
}

func starterFiles() (map[string][]byte, error) {
	files := map[string][]byte{schemaFile: charter.Schema()}
	entries, err := starter.ReadDir("starter")
	for _, entry := range entries {
		data, readErr := starter.ReadFile("starter/" + entry.Name())
		err = errors.Join(err, readErr)
		files[entry.Name()] = data
	}
	return files, err
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// create writes a new file and never replaces one.
func create(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

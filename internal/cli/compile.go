package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/compile"
	"github.com/westworld-charter/charter/internal/policytest"
)

func (p *program) compileCommand() *cobra.Command {
	var dir string
	var check bool
	format := choice{values: []string{formatPretty, formatJSON}}
	cmd := &cobra.Command{
		Use:   "compile FILE -o DIR",
		Short: "Compile a charter into an unpacked OPA bundle",
		Long: `Checks a charter, compiles it and writes the bundle into a directory, for people
to review: the canonical charter, the tables, the generated patterns and the Rego
library. Unchanged files are left alone; files of an earlier bundle that are no
longer part of it are removed.

The result depends on the charter alone, not on place, time or machine. With
--check nothing is written; the exit code is 3 when DIR differs.`,
		Example: `  charter-admin compile policies/production/charter.yaml -o bundles/production
  charter-admin compile policies/production/charter.yaml -o bundles/production --check`,
		Args: arguments(1, 1, "one FILE"),
		RunE: run(func(ctx context.Context, args []string) error {
			return p.compile(ctx, args[0], dir, check, format)
		}),
	}
	cmd.Flags().StringVarP(&dir, "output", "o", "", "`directory` to write, or to compare with under --check")
	cmd.Flags().BoolVar(&check, "check", false, "write nothing; fail when the directory differs")
	format.flag(cmd)
	return cmd
}

func (p *program) compile(ctx context.Context, file, dir string, check bool, format choice) error {
	if dir == "" {
		return usagef("compile needs -o DIR; see charter-admin compile --help")
	}
	b, err := p.build(ctx, file)
	if err != nil {
		return err
	}
	if check {
		return p.compare(b, dir)
	}
	if err := b.WriteDir(dir); err != nil {
		var be *bundle.Error
		if errors.As(err, &be) && (be.Code == bundle.CodeNotABundle || be.Code == bundle.CodeUnexpectedFile) {
			return usagef("write into %s: %w", dir, err)
		}
		return fmt.Errorf("write bundle: %w", err)
	}
	return p.printDigests(b, format)
}

// build makes a bundle that is known to load and to follow the rules for
// generated Rego.
func (p *program) build(ctx context.Context, file string) (*bundle.Bundle, error) {
	c, err := p.loadCharter(charterPath(file))
	if err != nil {
		return nil, err
	}
	b, err := compile.Build(c)
	if err != nil {
		return nil, fmt.Errorf("compile %s: %w", file, err)
	}
	found, err := policytest.Lint(b)
	if err != nil {
		return nil, fmt.Errorf("compile %s: %w", file, err)
	}
	if found.HasErrors() {
		return nil, errors.Join(p.printFindings(found), invalid(fmt.Errorf("lint of the compiled %s: %s", file, tally(found))))
	}
	return b, ctx.Err()
}

// digests identify a bundle.
type digests struct {
	Revision      string `json:"revision"`
	CharterDigest string `json:"charter_digest"`
	LayerDigest   string `json:"layer_digest"`
}

func digestsOf(b *bundle.Bundle) digests {
	d := digests{Revision: b.Manifest().Revision, LayerDigest: b.LayerDigest()}
	if text, ok := b.File(bundle.CharterFile); ok {
		d.CharterDigest = sha256Of(text)
	}
	return d
}

func (p *program) printDigests(b *bundle.Bundle, format choice) error {
	d := digestsOf(b)
	if format.is(formatJSON) {
		return p.printJSON(d)
	}
	_, err := fmt.Fprint(p.stdout, d)
	return err
}

// String renders one line for each.
func (d digests) String() string {
	return fmt.Sprintf("revision        %s\ncharter digest  %s\nlayer digest    %s\n", d.Revision, d.CharterDigest, d.LayerDigest)
}

// compare lists on stdout the files in which dir differs from b.
func (p *program) compare(b *bundle.Bundle, dir string) error {
	var differ []string
	for _, path := range b.Paths() {
		want, _ := b.File(path)
		got, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(path)))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			differ = append(differ, path+": missing")
		case err != nil:
			return err
		case !bytes.Equal(got, want):
			differ = append(differ, path+": differs")
		}
	}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path == dir {
			return fs.SkipAll
		}
		if err != nil || entry.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if rel = filepath.ToSlash(rel); err == nil && !slices.Contains(b.Paths(), rel) {
			differ = append(differ, rel+": not part of the bundle")
		}
		return err
	})
	if err != nil || len(differ) == 0 {
		return err
	}
	slices.Sort(differ)
	for _, line := range differ {
		fmt.Fprintln(p.stdout, line)
	}
	return invalid(fmt.Errorf("%s is not what the charter compiles to: %s; run compile without --check", dir, plural(len(differ), "difference")))
}

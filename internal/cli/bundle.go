package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/charter"
)

func (p *program) bundleCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bundle",
		Short: "Build and inspect bundles",
		Long: `A bundle is a compiled charter as one deterministic .tar.gz file: what is signed,
distributed and loaded by nodes and by stock OPA.`,
		Example: `  charter-admin bundle build policies/production/charter.yaml -o bundle.tar.gz
  charter-admin bundle inspect bundle.tar.gz`,
		Args: cobra.ArbitraryArgs,
		RunE: p.unknownCommand,
	}
	cmd.AddCommand(p.bundleBuildCommand(), p.bundleInspectCommand())
	return cmd
}

func (p *program) bundleBuildCommand() *cobra.Command {
	var file string
	format := choice{values: []string{formatPretty, formatJSON}}
	cmd := &cobra.Command{
		Use:   "build FILE -o bundle.tar.gz",
		Short: "Compile a charter into a bundle file",
		Long: `Checks a charter, compiles it and writes one .tar.gz file. The bytes depend on the
charter alone: two builds on different machines have one digest.`,
		Example: "  charter-admin bundle build policies/production/charter.yaml -o bundle.tar.gz",
		Args:    arguments(1, 1, "one FILE"),
		RunE: run(func(ctx context.Context, args []string) error {
			switch {
			case file == "":
				return usagef("build needs -o bundle.tar.gz; see charter-admin bundle build --help")
			case !strings.HasSuffix(file, ".tar.gz") && !strings.HasSuffix(file, ".tgz"):
				return usagef("build: the name of a bundle ends in .tar.gz, not %s", filepath.Base(file))
			}
			b, err := p.build(ctx, args[0])
			if err != nil {
				return err
			}
			if err := writeArchive(b, file); err != nil {
				return fmt.Errorf("write bundle: %w", err)
			}
			return p.printDigests(b, format)
		}),
	}
	cmd.Flags().StringVarP(&file, "output", "o", "", "`file` to write")
	format.flag(cmd)
	return cmd
}

// writeArchive replaces file by the archive in one step: whoever reads it while
// it is written sees the old bundle or the new one.
func writeArchive(b *bundle.Bundle, file string) (err error) {
	var archive bytes.Buffer
	if err := b.WriteTar(&archive); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), ".bundle-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(tmp.Name())
		}
	}()
	_, err = tmp.Write(archive.Bytes())
	if err = errors.Join(err, tmp.Chmod(0o644), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), file)
}

func (p *program) bundleInspectCommand() *cobra.Command {
	var registry registryFlags
	format := choice{values: []string{formatPretty, formatJSON}}
	cmd := &cobra.Command{
		Use:   "inspect REF",
		Short: "Show what is in a bundle",
		Long: `Shows revision, digests, manifest, the counts of the charter inside and the files
of a bundle: a .tar.gz file, an unpacked directory, or oci://HOST/REPOSITORY:TAG or an
https:// URL. It does not say whether the rules are those of the charter (verify
--reproduce), or who signed them (inspect, verify).`,
		Example: `  charter-admin bundle inspect bundle.tar.gz
  charter-admin bundle inspect bundles/production --format json
  charter-admin bundle inspect oci://registry.example.org/charter:production`,
		Args: arguments(1, 1, "one REF"),
		RunE: run(func(ctx context.Context, args []string) error {
			b, err := p.inspected(ctx, args[0], registry)
			if err != nil {
				return err
			}
			return p.inspect(args[0], b, format)
		}),
	}
	registry.add(cmd)
	registry.addMirrors(cmd)
	format.flag(cmd)
	return cmd
}

// inspection is what `bundle inspect --format json` prints.
type inspection struct {
	digests
	Manifest bundle.Manifest `json:"manifest"`
	Counts   counts          `json:"counts"`
	Files    []fileEntry     `json:"files"`
}

// counts are sizes of the embedded charter. Exact and Patterns count what
// clauses and forbidden entries match.
type counts struct {
	Clauses   int `json:"clauses"`
	Forbidden int `json:"forbidden"`
	Waivers   int `json:"waivers"`
	Roles     int `json:"roles"`
	Exact     int `json:"exact_names"`
	Patterns  int `json:"patterns"`
}

type fileEntry struct {
	Path   string `json:"path"`
	Bytes  int    `json:"bytes"`
	Digest string `json:"digest"`
}

// inspected opens a bundle here or elsewhere.
func (p *program) inspected(ctx context.Context, ref string, f registryFlags) (*bundle.Bundle, error) {
	if strings.Contains(ref, "://") {
		a, err := p.fetchArchive(ctx, ref, f)
		return a.bundle, transferError(err)
	}
	b, err := bundle.Open(ref)
	if err != nil {
		return nil, invalid(fmt.Errorf("open %s: %w", ref, err))
	}
	return b, nil
}

func (p *program) inspect(ref string, b *bundle.Bundle, format choice) error {
	text, ok := b.File(bundle.CharterFile)
	if !ok {
		return invalid(fmt.Errorf("%s holds no charter", ref))
	}
	c, found := charter.Parse(bundle.CharterFile, text)
	if c == nil || found.HasErrors() {
		return errors.Join(p.printFindings(found), invalid(fmt.Errorf("the charter in %s is not valid: %s", ref, tally(found))))
	}
	if c.Revision() != b.Manifest().Revision || c.Digest() != sha256Of(text) {
		fmt.Fprintf(p.stderr, "%s: charter.yaml is %s in digest %s: it is not the canonical charter that the manifest speaks of\n", ref, c.Revision(), c.Digest())
	}
	in := inspection{digests: digestsOf(b), Manifest: b.Manifest(), Counts: count(c)}
	for _, path := range b.Paths() {
		data, _ := b.File(path)
		in.Files = append(in.Files, fileEntry{Path: path, Bytes: len(data), Digest: sha256Of(data)})
	}
	if format.is(formatJSON) {
		return p.printJSON(in)
	}
	p.printInspection(in)
	return nil
}

func (p *program) printInspection(in inspection) {
	fmt.Fprint(p.stdout, in.digests)
	fmt.Fprintf(p.stdout, "roots           %s\n", strings.Join(in.Manifest.Roots, ", "))
	n := in.Counts
	fmt.Fprintf(p.stdout, "charter         %s, %d forbidden, %s, %s; %s, %s\n\n", plural(n.Clauses, "clause"), n.Forbidden,
		plural(n.Waivers, "waiver"), plural(n.Roles, "role"), plural(n.Exact, "exact name"), plural(n.Patterns, "pattern"))
	for _, f := range in.Files {
		fmt.Fprintf(p.stdout, "%9d  %s\n", f.Bytes, printable(f.Path))
	}
}

func count(c *charter.Charter) counts {
	n := counts{Forbidden: len(c.Forbidden), Waivers: len(c.Waivers), Roles: len(c.Roles)}
	patterns := func(match []string) {
		for _, m := range match {
			if strings.Contains(m, "*") {
				n.Patterns++
			} else {
				n.Exact++
			}
		}
	}
	for _, clause := range c.AllClauses() {
		n.Clauses++
		patterns(clause.Match)
	}
	for i := range c.Forbidden {
		patterns(c.Forbidden[i].Match)
	}
	return n
}

func sha256Of(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

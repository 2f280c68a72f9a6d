package cli

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/westworld-charter/charter/internal/distribution"
)

func (p *program) saveCommand() *cobra.Command {
	var registry registryFlags
	var file string
	cmd := &cobra.Command{
		Use:   "save REF... -o FILE.tar",
		Short: "Write releases into one file that crosses an air gap",
		Long: `Writes releases with all statements about them into one file, an OCI image layout:
all that a node needs to verify them, without a network. A release and the rollback
that was signed with it belong into one file.

The file is a REF itself: verify, inspect and nodes read it as it is, and load brings
it into a registry on the other side.`,
		Example: `  charter-admin save oci://registry.example.org/charter:production -o release.tar
  charter-admin save new.tar.gz rollback.tar.gz -o release.tar`,
		Args: arguments(1, -1, "at least one REF"),
	}
	registry.add(cmd)
	cmd.Flags().StringVarP(&file, "output", "o", "", "`file` to write")
	cmd.RunE = run(func(ctx context.Context, args []string) error {
		switch {
		case file == "":
			return usagef("save needs -o FILE.tar; see charter-admin save --help")
		case !strings.HasSuffix(file, ".tar"):
			return usagef("save: the name of a saved release ends in .tar, not %s", file)
		}
		return p.save(ctx, registry, args, file)
	})
	return cmd
}

func (p *program) save(ctx context.Context, f registryFlags, from []string, file string) error {
	var refs []distribution.Ref
	var options distribution.Options
	for _, text := range from {
		ref, o, err := f.open(p, text)
		if err != nil {
			return err
		}
		refs, options = append(refs, ref), o
	}
	out, err := createFile(file)
	if err != nil {
		return err
	}
	if err := distribution.Save(ctx, out, options, refs...); err != nil {
		out.discard()
		return transferError(err)
	}
	return out.keep()
}

// loaded is what `load --format json` prints.
type loaded struct {
	Ref      string          `json:"ref"`
	Releases []loadedRelease `json:"releases"`
}

type loadedRelease struct {
	ReleaseDigest string `json:"release_digest"`
	Uploaded      int64  `json:"uploaded_bytes"`
	Attached      int    `json:"attached"` // statements that were not there
}

func (p *program) loadReleaseCommand() *cobra.Command {
	var registry registryFlags
	format := choice{values: []string{formatPretty, formatJSON}}
	cmd := &cobra.Command{
		Use:   "load FILE.tar REF",
		Short: "Bring saved releases into a registry",
		Long: `Uploads what save wrote, byte for byte: digests and statements stay what they were.
Loading twice changes nothing.`,
		Example: `  charter-admin load release.tar oci://registry.site.example.org/charter:production`,
		Args:    arguments(2, 2, "FILE.tar and REF"),
	}
	registry.add(cmd)
	format.flag(cmd)
	cmd.RunE = run(func(ctx context.Context, args []string) error {
		return p.loadRelease(ctx, registry, args[0], args[1], format)
	})
	return cmd
}

func (p *program) loadRelease(ctx context.Context, f registryFlags, file, to string, format choice) error {
	ref, options, err := f.openTarget(p, to)
	if err != nil {
		return err
	}
	in, err := os.Open(file)
	if err != nil {
		return &exitError{ExitUsage, err}
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	results, err := distribution.Load(ctx, in, info.Size(), ref, options)
	if err != nil {
		return transferError(err)
	}
	done := loaded{Ref: to}
	for _, r := range results {
		done.Releases = append(done.Releases, loadedRelease{r.Digest, r.Uploaded, r.Attached})
	}
	if format.is(formatJSON) {
		return p.printJSON(done)
	}
	for _, r := range done.Releases {
		fmt.Fprintln(p.stdout, ref.WithDigest(r.ReleaseDigest))
	}
	return nil
}

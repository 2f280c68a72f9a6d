package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/westworld-charter/charter/internal/distribution"
)

// pushed is what `push --format json` prints.
type pushed struct {
	Ref           string `json:"ref"` // pinned to the release digest
	ReleaseDigest string `json:"release_digest"`
	LayerDigest   string `json:"layer_digest"`
	Revision      string `json:"revision"`
	Uploaded      int64  `json:"uploaded_bytes"`
	Statements    int    `json:"statements"`
	Attached      int    `json:"attached"`  // of the statements, those that were not there
	TagMoved      bool   `json:"tag_moved"` // it names this release now, and did not before
}

func (p *program) pushCommand() *cobra.Command {
	var registry registryFlags
	var unsigned bool
	format := choice{values: []string{formatPretty, formatJSON}}
	cmd := &cobra.Command{
		Use:   "push FILE REF",
		Short: "Upload a signed bundle to a registry",
		Long: `Uploads a bundle, its manifest and the statements in FILE.sigstore.json: exactly what
was signed. The tag comes last, so that whoever sees the release sees all of it. What
is there already is not uploaded again; pushing twice changes nothing.

REF is oci://HOST/REPOSITORY:TAG, or a directory with an OCI image layout. Credentials
are those of docker, skopeo or oras login. An archive made by sign --opa-jwt carries
its signature inside and has no statements: push it under a tag of its own, TAG-opa.`,
		Example: `  charter-admin push bundle.tar.gz oci://registry.example.org/charter:production
  charter-admin push bundle-opa.tar.gz oci://registry.example.org/charter:production-opa`,
		Args: arguments(2, 2, "FILE and REF"),
	}
	registry.add(cmd)
	cmd.Flags().BoolVar(&unsigned, "insecure-unsigned", false, "upload a bundle that nobody signed")
	format.flag(cmd)
	cmd.RunE = run(func(ctx context.Context, args []string) error {
		return p.push(ctx, registry, args[0], args[1], unsigned, format)
	})
	return cmd
}

func (p *program) push(ctx context.Context, f registryFlags, path, to string, unsigned bool, format choice) error {
	a, err := readPushed(path)
	if err != nil {
		return err
	}
	if others := a.keepOwn(); others > 0 {
		fmt.Fprintf(p.stderr, "%s: %s not about this bundle; left out\n", distribution.StatementsPath(path), plural(others, "statement"))
	}
	if len(a.statements) == 0 && !a.jwt && !unsigned {
		return &exitError{ExitVerify, fmt.Errorf("%s is not signed: charter-admin sign --key KEY %s; --insecure-unsigned pushes it nevertheless", path, path)}
	}
	ref, options, err := f.openTarget(p, to)
	if err != nil {
		return err
	}
	if a.jwt && !strings.HasSuffix(ref.Tag(), opaTag) {
		fmt.Fprintf(p.stderr, "%s is for stock opa, nodes refuse it: its tag should end in %s\n", path, opaTag)
	}
	p.warnOlder(ctx, ref, options, a)
	result, err := distribution.Push(ctx, ref, a.manifest, a.data, a.raws(), options)
	if err != nil {
		return transferError(err)
	}
	done := pushed{
		Ref: ref.WithDigest(result.Digest).String(), ReleaseDigest: result.Digest, LayerDigest: a.manifest.Layer.Digest, Revision: a.manifest.Revision,
		Uploaded: result.Uploaded, Statements: len(a.statements), Attached: result.Attached, TagMoved: result.Moved,
	}
	if format.is(formatJSON) {
		return p.printJSON(done)
	}
	_, err = fmt.Fprintln(p.stdout, done.Ref)
	switch {
	case done.Uploaded == 0 && done.Attached == 0 && !done.TagMoved:
		fmt.Fprintln(p.stderr, "everything was there already")
	default:
		fmt.Fprintf(p.stderr, "uploaded %d bytes, attached %s\n", done.Uploaded, plural(done.Attached, "statement"))
	}
	return err
}

// warnOlder says when nodes will refuse what is pushed, because of what the tag holds
// now. Nothing of that is verified: it is a hint.
func (p *program) warnOlder(ctx context.Context, ref distribution.Ref, o distribution.Options, a archive) {
	ours := newest(a.statements)
	if ours.Sequence == 0 {
		return
	}
	there, err := distribution.Tree(ctx, ref, o)
	if err != nil || there.Digest == a.manifest.Digest() {
		return
	}
	var all []statement
	for _, r := range there.Referrers {
		if s, err := newStatement(r.Statement); err == nil {
			all = append(all, s)
		}
	}
	if last := newest(all); last.Channel == ours.Channel && last.Sequence >= ours.Sequence {
		fmt.Fprintf(p.stderr, "%s is release %d of %s, and %s holds release %d: nodes that have seen it refuse this one\n", a.from, ours.Sequence, ours.Channel, ref, last.Sequence)
	}
}

func (p *program) pullCommand() *cobra.Command {
	var trust trustFlags
	var registry registryFlags
	var file string
	format := choice{values: []string{formatPretty, formatJSON}}
	cmd := &cobra.Command{
		Use:   "pull REF -o FILE",
		Short: "Download a bundle with the statements about it",
		Long: `Downloads the bundle that REF names into FILE, and the statements about it into
FILE.sigstore.json. With --trust or --key it is verified first, as verify does, and
nothing is written when it does not hold (exit code 6). Without, its digests are
checked and nothing else: whoever runs the registry can give you anything.`,
		Example: `  charter-admin pull --trust trust.yaml oci://registry.example.org/charter:production -o bundle.tar.gz
  charter-admin pull oci://registry.example.org/charter@sha256:... -o bundle.tar.gz`,
		Args: arguments(1, 1, "one REF"),
	}
	trust.add(cmd)
	registry.add(cmd)
	registry.addMirrors(cmd)
	cmd.Flags().StringVarP(&file, "output", "o", "", "`file` to write")
	format.flag(cmd)
	cmd.RunE = run(func(ctx context.Context, args []string) error {
		if file == "" {
			return usagef("pull needs -o FILE; see charter-admin pull --help")
		}
		if err := checkArchiveName(file); err != nil {
			return err
		}
		return p.pull(ctx, trust, registry, args[0], file, format)
	})
	return cmd
}

func (p *program) pull(ctx context.Context, f trustFlags, g registryFlags, from, file string, format choice) error {
	ref, options, err := g.open(p, from)
	if err != nil {
		return err
	}
	j := judgement{Ref: from}
	if !f.given() {
		a, err := p.fetchArchive(ctx, from, g)
		if err != nil {
			return transferError(err)
		}
		fmt.Fprintf(p.stderr, "NOT VERIFIED: nobody knows who made %s. Give --trust FILE or --key NAME.pub.\n", from)
		j.digests, j.ReleaseDigest = a.digests(), a.manifest.Digest()
		j.Code, j.Message = "not_verified", "neither --trust nor --key was given"
		return p.keepPulled(a, &j, file, format)
	}
	whom, err := f.open(p, "pull")
	if err != nil {
		return err
	}
	r, err := distribution.Fetch(ctx, ref, options)
	if err != nil {
		return transferError(err)
	}
	if err := p.judge(ctx, &j, whom, f.policy != "", r, p.now()); err != nil {
		return p.printJudgement(&j, err, format)
	}
	a, err := newArchive(from, r.Layer, r.Manifest, r.Statements)
	if err != nil {
		return err
	}
	j.OK = true
	return p.keepPulled(a, &j, file, format)
}

// keepPulled writes the files. Statements hold for a file only when its manifest is
// the one made of every file.
func (p *program) keepPulled(a archive, j *judgement, file string, format choice) error {
	if own := manifestOf(a.data, a.manifest.Revision); own.Digest() != a.manifest.Digest() {
		fmt.Fprintf(p.stderr, "%s has a manifest of its own, %s: statements about it do not hold for the file; keep it with charter-admin save\n", a.from, a.manifest.Digest())
	}
	if err := a.write(file); err != nil {
		return err
	}
	if format.is(formatJSON) {
		return p.printJSON(j)
	}
	return p.showJudgement(j)
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/westworld-charter/charter/internal/distribution"
	"github.com/westworld-charter/charter/internal/release"
)

// opaTag is what the tag of an archive for stock opa ends with.
const opaTag = "-opa"

func (p *program) inspectReleaseCommand() *cobra.Command {
	var registry registryFlags
	format := choice{values: []string{formatPretty, formatJSON}}
	cmd := &cobra.Command{
		Use:   "inspect REF",
		Short: "Show a release as a tree: manifest, bundle, statements",
		Long: `Shows what a registry, server, file or layout holds under REF: the manifest, the
bundle, each statement about it with what it claims and the hint of who made it, and
the archive for stock opa under TAG-opa. Nothing of it is verified: that is verify.`,
		Example: `  charter-admin inspect oci://registry.example.org/charter:production
  charter-admin inspect bundle.tar.gz --format json`,
		Args: arguments(1, 1, "one REF"),
	}
	registry.add(cmd)
	format.flag(cmd)
	cmd.RunE = run(func(ctx context.Context, args []string) error {
		return p.inspectRelease(ctx, registry, args[0], format)
	})
	return cmd
}

// releaseTree is what `inspect --format json` prints. Nothing of it is verified.
type releaseTree struct {
	Ref           string            `json:"ref"`
	ReleaseDigest string            `json:"release_digest"`
	Size          int64             `json:"size"` // bytes of the manifest
	Annotations   map[string]string `json:"annotations,omitempty"`
	Layers        []layerNode       `json:"layers"`
	Referrers     []referrerNode    `json:"referrers"`
	OPA           *opaNode          `json:"opa,omitempty"`
}

type layerNode struct {
	Digest    string `json:"digest"`
	MediaType string `json:"media_type"`
	Size      int64  `json:"size"`
}

// referrerNode is anything that refers to the release; Statement is what it states,
// when it is a statement.
type referrerNode struct {
	Digest       string        `json:"digest,omitempty"`
	ArtifactType string        `json:"artifact_type,omitempty"`
	Size         int64         `json:"size,omitempty"`
	Problem      string        `json:"problem,omitempty"`
	Statement    *claimedState `json:"statement,omitempty"`
}

// claimedState is a statement as its Sigstore bundle claims it.
type claimedState struct {
	stated
	About      string `json:"about"` // digest of a manifest
	KeyHint    string `json:"key_hint,omitempty"`
	Identity   string `json:"identity,omitempty"`
	Issuer     string `json:"issuer,omitempty"`
	LogEntries int    `json:"log_entries"`
	Timestamps int    `json:"timestamps"`
}

type opaNode struct {
	Ref           string `json:"ref"`
	ReleaseDigest string `json:"release_digest"`
	LayerDigest   string `json:"layer_digest"`
}

func (p *program) inspectRelease(ctx context.Context, f registryFlags, text string, format choice) error {
	ref, options, err := f.open(p, text)
	if err != nil {
		return err
	}
	node, err := distribution.Tree(ctx, ref, options)
	if err != nil {
		return transferError(err)
	}
	t := newReleaseTree(text, node)
	if ref.Tag() != "" && !strings.HasSuffix(ref.Tag(), opaTag) {
		if t.OPA, err = findOPA(ctx, ref.WithTag(ref.Tag()+opaTag), options); err != nil {
			return transferError(err)
		}
	}
	if format.is(formatJSON) {
		return p.printJSON(t)
	}
	p.showTree(t)
	return nil
}

func newReleaseTree(text string, node distribution.Node) releaseTree {
	t := releaseTree{Ref: text, ReleaseDigest: node.Digest, Size: node.Size, Annotations: node.Annotations, Referrers: []referrerNode{}}
	for _, l := range node.Layers {
		t.Layers = append(t.Layers, layerNode{l.Digest, l.MediaType, l.Size})
	}
	for _, r := range node.Referrers {
		child := referrerNode{Digest: r.Digest, ArtifactType: r.ArtifactType, Size: r.Size, Problem: r.Problem}
		if r.Statement != nil {
			s, err := newStatement(r.Statement)
			if err != nil {
				child.Problem = err.Error()
			} else {
				child.Statement = claims(s)
			}
		}
		t.Referrers = append(t.Referrers, child)
	}
	return t
}

func claims(s statement) *claimedState {
	c := s.claim
	return &claimedState{newStated(c.Statement), c.Statement.Subject, c.KeyHint, c.Identity, c.Issuer, c.LogEntries, c.Timestamps}
}

// findOPA looks for the archive for stock opa; there need be none.
func findOPA(ctx context.Context, ref distribution.Ref, o distribution.Options) (*opaNode, error) {
	node, err := distribution.Tree(ctx, ref, o)
	var e *distribution.Error
	if errors.As(err, &e) && e.Code == distribution.CodeNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	opa := &opaNode{Ref: ref.String(), ReleaseDigest: node.Digest}
	for _, l := range node.Layers {
		if l.MediaType == release.LayerType {
			opa.LayerDigest = l.Digest
		}
	}
	return opa, nil
}

func (p *program) showTree(t releaseTree) {
	fmt.Fprintf(p.stdout, "%s\nmanifest %s, %d bytes\n", printable(t.Ref), t.ReleaseDigest, t.Size)
	for _, l := range t.Layers {
		fmt.Fprintf(p.stdout, "├─ bundle %s, %d bytes\n", l.Digest, l.Size)
	}
	for _, name := range slices.Sorted(maps.Keys(t.Annotations)) {
		fmt.Fprintf(p.stdout, "├─ %s\n", printable(name+" "+t.Annotations[name]))
	}
	for _, r := range t.Referrers {
		fmt.Fprintf(p.stdout, "├─ %s\n", r)
		if c := r.Statement; c != nil {
			fmt.Fprintf(p.stdout, "│    %s\n", c.madeBy())
			if c.About != t.ReleaseDigest {
				fmt.Fprintf(p.stdout, "│    about another manifest, %s\n", c.About)
			}
		}
		if r.Problem != "" {
			fmt.Fprintf(p.stdout, "│    %s\n", printable(r.Problem))
		}
	}
	if t.OPA != nil {
		fmt.Fprintf(p.stdout, "├─ for stock opa: %s, bundle %s\n", t.OPA.Ref, t.OPA.LayerDigest)
	}
	fmt.Fprintf(p.stdout, "└─ %s; nothing here is verified\n", plural(len(t.Referrers), "referrer"))
}

func (r referrerNode) String() string {
	if r.Statement != nil {
		return "statement " + r.Statement.String()
	}
	return printable(fmt.Sprintf("%s %s, %d bytes", r.ArtifactType, r.Digest, r.Size))
}

// madeBy says who claims to have made a statement, and who else has seen it.
func (c *claimedState) madeBy() string {
	who := "key " + c.KeyHint
	if c.Identity != "" {
		who = c.Identity + ", says " + c.Issuer
	}
	if c.LogEntries > 0 {
		who += ", in " + plural(c.LogEntries, "log")
	}
	if c.Timestamps > 0 {
		who += ", " + plural(c.Timestamps, "timestamp")
	}
	return printable(who)
}

package distribution

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"

	"github.com/westworld-charter/charter/internal/release"
)

// Node is a manifest and what refers to it, as [Tree] finds it. Whatever it says was
// written by others.
type Node struct {
	Tag          string               `json:"tag,omitempty"`
	Digest       string               `json:"digest"`
	MediaType    string               `json:"mediaType,omitempty"`
	ArtifactType string               `json:"artifactType,omitempty"`
	Size         int64                `json:"size"` // bytes of the manifest
	Annotations  map[string]string    `json:"annotations,omitempty"`
	Layers       []release.Descriptor `json:"layers,omitempty"`
	Statement    json.RawMessage      `json:"statement,omitempty"` // Sigstore bundle, unverified
	Problem      string               `json:"problem,omitempty"`   // why there is no more about it
	Referrers    []Node               `json:"referrers,omitempty"`
}

// Tree looks at a release and all that refers to it, sorted by digest. No layer of a
// release is fetched from a registry.
func Tree(ctx context.Context, ref Ref, o Options) (Node, error) {
	o.Limits = o.Limits.orDefault()
	o.Mirrors = nil
	if !ref.tagged() {
		return archiveTree(ctx, ref, o)
	}
	from, err := openStore(ref, o)
	if err != nil {
		return Node{}, err
	}
	node, err := storeTree(ctx, from, o)
	node.Tag = ref.tag
	return node, fail(ref.String(), err)
}

func storeTree(ctx context.Context, from store, o Options) (Node, error) {
	ctx, cancel := context.WithTimeout(ctx, o.Limits.Total)
	defer cancel()
	raw, err := from.resolve(ctx, "")
	if err != nil {
		return Node{}, err
	}
	manifest, err := release.ParseManifest(raw)
	if err != nil {
		return Node{}, coded(CodeBadManifest, err)
	}
	root := nodeOf(raw)
	list, err := from.referrers(ctx, subjectOf(manifest), o.Limits.Referrers)
	if err != nil {
		return root, err
	}
	slices.SortFunc(list, func(a, b release.Descriptor) int { return cmp.Compare(a.Digest, b.Digest) })
	for _, d := range list {
		r, err := readReferrer(ctx, from, d, o.Limits)
		node := Node{Digest: d.Digest, MediaType: d.MediaType, Size: d.Size, Statement: r.statement}
		switch {
		case ctx.Err() != nil:
			return root, err
		case err != nil:
			node.Problem = err.Error()
		case r.missing:
			node.Problem = "is listed, but not all of it is there"
		case r.manifest == nil:
			node.Problem = "is no manifest that can be read"
		}
		if m := r.manifest; m != nil {
			node.ArtifactType, node.Annotations, node.Layers = m.ArtifactType, m.Annotations, m.Layers
		}
		root.Referrers = append(root.Referrers, node)
	}
	return root, nil
}

func nodeOf(raw []byte) Node {
	var m referrerManifest
	_ = json.Unmarshal(raw, &m) // it was read before
	return Node{
		Digest: release.Digest(raw), MediaType: m.MediaType, ArtifactType: m.ArtifactType, Size: int64(len(raw)),
		Annotations: m.Annotations, Layers: m.Layers,
	}
}

// archiveTree shows an archive as it would be in a registry.
func archiveTree(ctx context.Context, ref Ref, o Options) (Node, error) {
	source, err := Open(ref, o)
	if err != nil {
		return Node{}, err
	}
	r, err := source.Resolve(ctx, Resolved{}, 0)
	if err != nil {
		return Node{}, err
	}
	manifest, err := r.manifest()
	if err != nil {
		return Node{}, err
	}
	root := nodeOf(r.Manifest)
	for _, statement := range r.Statements {
		node := nodeOf(newReferrer(subjectOf(manifest), statement).manifest)
		node.Statement = statement
		root.Referrers = append(root.Referrers, node)
	}
	return root, nil
}

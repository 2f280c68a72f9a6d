// Package bundle reads and writes OPA bundles that carry a compiled charter:
// as a .tar.gz archive, which is signed and distributed, and as a directory,
// which people review.
//
// Start with [Open] or, for bytes from a network, [Read]. [New] makes a bundle
// from files in memory. Every [Bundle] has passed the same checks: canonical
// paths, only the kinds of files a charter bundle holds, and a manifest with
// the single root "charter". Whether its rules are those of its charter is not
// checked here.
//
// A [State] is another kind of bundle, without rules and with a root of its own; each
// reader refuses the other kind.
//
// [Bundle.WriteTar] is deterministic: the bytes depend on the files alone, not
// on place, time, zone, user or umask. Stock OPA loads what it writes.
package bundle

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Names of the files that are not Rego modules.
const (
	ManifestFile = ".manifest"
	CharterFile  = "charter.yaml"
	DataFile     = "data.json"
)

// Root is the only root a charter bundle owns in the data document.
const Root = "charter"

const regoExt = ".rego"

// Bundle is an immutable set of files. It is safe for concurrent use.
type Bundle struct {
	files    map[string][]byte
	paths    []string
	manifest Manifest
	digest   func() string
}

// New makes a bundle of files, whose keys are slash-separated paths without a
// leading slash. The contents are copied. It fails with an [*Error].
func New(files map[string][]byte) (*Bundle, error) {
	own := make(map[string][]byte, len(files))
	for p, data := range files {
		own[p] = bytes.Clone(data)
	}
	return take(own)
}

// take is New for files nobody else holds.
func take(files map[string][]byte) (*Bundle, error) {
	paths := slices.Sorted(maps.Keys(files))
	if err := checkPaths(paths); err != nil {
		return nil, err
	}
	data, ok := files[ManifestFile]
	if !ok {
		return nil, newError(CodeMissingManifest, ManifestFile, "a bundle must have a manifest")
	}
	manifest, err := parseManifest(data)
	if err != nil {
		return nil, err
	}
	b := &Bundle{files: files, paths: paths, manifest: manifest}
	b.digest = sync.OnceValue(b.layerDigest)
	return b, nil
}

// Paths returns the paths of all files, sorted bytewise.
func (b *Bundle) Paths() []string { return slices.Clone(b.paths) }

// File returns the content of the file at path. It must not be modified.
func (b *Bundle) File(path string) ([]byte, bool) {
	data, ok := b.files[path]
	return data, ok
}

// Manifest returns what the manifest says.
func (b *Bundle) Manifest() Manifest { return b.manifest.clone() }

// Modules returns the paths of the Rego modules, sorted bytewise.
func (b *Bundle) Modules() []string {
	return slices.DeleteFunc(b.Paths(), func(p string) bool { return !strings.HasSuffix(p, regoExt) })
}

// LayerDigest returns "sha256:" and the hex digest of what [Bundle.WriteTar]
// writes.
func (b *Bundle) LayerDigest() string { return b.digest() }

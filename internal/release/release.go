// Package release is the form in which a bundle is distributed: the OCI manifest
// over its archive, and the statements that are signed about that manifest.
//
// [NewManifest] makes the manifest, whose digest is the release digest: what is
// signed, voted on and pinned. It is made of the archive alone, so two machines
// make the same bytes. [ParseManifest] reads the manifest of anybody. [Statement]
// is an in-toto Statement v1; its predicates are [Policy] and [State], and those of
// cosign and SLSA. Nothing here signs or verifies a signature; what is read is
// checked for form alone.
package release

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
)

// Media types of a release (OCI image-spec 1.1). Stock OPA takes the first layer of
// type [LayerType] (v1/plugins/bundle, v1/download/oci_download.go) and ignores the
// type of the configuration.
const (
	ManifestType = "application/vnd.oci.image.manifest.v1+json"
	ConfigType   = "application/vnd.cncf.openpolicyagent.config.v1+json"
	LayerType    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// LayerTitle is the file name of every layer, whatever the file was called.
const LayerTitle = "bundle.tar.gz"

// Limits of what is read.
const (
	MaxManifest = 64 << 10 // bytes
	MaxLayer    = 64 << 20 // bytes, compressed
	maxConfig   = 1 << 20  // bytes; no content of it is looked at
)

const (
	revisionAnnotation = "org.opencontainers.image.revision"
	titleAnnotation    = "org.opencontainers.image.title"
)

// Codes of an [Error]; the list is closed.
const (
	CodeBadManifest  = "bad_manifest"  // not a manifest of one layer that is a bundle
	CodeBadStatement = "bad_statement" // not an in-toto statement about one manifest, or a predicate that is unknown or wrong
)

// Error says why something is no release.
type Error struct {
	Code string
	Err  error
}

func (e *Error) Error() string { return e.Err.Error() + " [" + e.Code + "]" }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Descriptor names content (OCI image-spec, descriptor.md).
type Descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Manifest is an OCI image manifest with a bundle in it. The zero value is none; make
// one with [NewManifest] or [ParseManifest].
type Manifest struct {
	raw      []byte
	Layer    Descriptor
	Config   Descriptor
	Revision string // of the bundle, as an annotation says; "" when none does
}

// Config returns the content of the configuration of every release that is made here.
func Config() []byte { return []byte("{}") }

// Digest returns "sha256:" and the hex digest of data.
func Digest(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// ValidDigest reports whether text is "sha256:" and 64 lower-case hex digits.
func ValidDigest(text string) bool {
	digits, ok := strings.CutPrefix(text, "sha256:")
	return ok && len(digits) == 64 && strings.Trim(digits, "0123456789abcdef") == ""
}

// NewManifest returns the manifest of an archive with that digest, of size bytes,
// whose bundle has that revision. Its bytes depend on these alone.
func NewManifest(layerDigest string, size int64, revision string) Manifest {
	m := Manifest{
		Layer:    Descriptor{LayerType, layerDigest, size, map[string]string{titleAnnotation: LayerTitle}},
		Config:   Descriptor{MediaType: ConfigType, Digest: Digest(Config()), Size: int64(len(Config()))},
		Revision: revision,
	}
	doc := document{SchemaVersion: 2, MediaType: ManifestType, Config: m.Config, Layers: []Descriptor{m.Layer}}
	if revision != "" {
		doc.Annotations = map[string]string{revisionAnnotation: revision}
	}
	m.raw, _ = json.Marshal(doc) // strings and numbers alone
	return m
}

// document is how a manifest is written.
type document struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	Config        Descriptor        `json:"config"`
	Layers        []Descriptor      `json:"layers"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// ParseManifest reads a manifest from an untrusted source: exactly one layer, of
// [LayerType], each digest SHA-256. Fields that say nothing about the content are
// ignored; one that is given twice is not. It fails with an [*Error].
func ParseManifest(data []byte) (Manifest, error) {
	bad := func(format string, args ...any) (Manifest, error) {
		return Manifest{}, &Error{CodeBadManifest, fmt.Errorf("manifest: "+format, args...)}
	}
	if len(data) > MaxManifest {
		return bad("more than %d bytes", MaxManifest)
	}
	var doc document
	if err := jsonv2.Unmarshal(data, &doc); err != nil {
		return bad("%w", err)
	}
	switch {
	case doc.SchemaVersion != 2 || doc.MediaType != ManifestType:
		return bad("schemaVersion %d and mediaType %q, want 2 and %s", doc.SchemaVersion, doc.MediaType, ManifestType)
	case len(doc.Layers) != 1:
		return bad("%d layers, want exactly one", len(doc.Layers))
	case doc.Layers[0].MediaType != LayerType:
		return bad("a layer of type %q, want %s", doc.Layers[0].MediaType, LayerType)
	case !ValidDigest(doc.Layers[0].Digest) || !ValidDigest(doc.Config.Digest):
		return bad("a digest that is not sha256: and 64 hex digits")
	case doc.Layers[0].Size <= 0 || doc.Layers[0].Size > MaxLayer:
		return bad("a layer of %d bytes, want 1 to %d", doc.Layers[0].Size, int64(MaxLayer))
	case doc.Config.Size < 0 || doc.Config.Size > maxConfig:
		return bad("a configuration of %d bytes, want at most %d", doc.Config.Size, int64(maxConfig))
	}
	return Manifest{append([]byte(nil), data...), doc.Layers[0], doc.Config, doc.Annotations[revisionAnnotation]}, nil
}

// Bytes returns the manifest as it was read or made. It must not be modified.
func (m Manifest) Bytes() []byte { return m.raw }

// Digest returns the release digest: that of [Manifest.Bytes].
func (m Manifest) Digest() string { return Digest(m.raw) }

package distribution

import (
	"encoding/json"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/westworld-charter/charter/internal/release"
)

// Media types of the layer of a referrer that holds a Sigstore bundle; the first is
// written, older tools wrote the second.
const (
	BundleType    = "application/vnd.dev.sigstore.bundle.v0.3+json"
	oldBundleType = "application/vnd.dev.sigstore.bundle+json;version=0.3"
)

// Annotations of a referrer, as cosign 3 writes them.
const (
	contentAnnotation   = "dev.sigstore.bundle.content"
	predicateAnnotation = "dev.sigstore.bundle.predicateType"
)

// referrerCreated is when referrers say they were made. It is the same for all, so
// that the same statement is the same referrer on every machine.
const referrerCreated = "1970-01-01T00:00:00Z"

// isStatement reports whether a referrer is a Sigstore bundle: its single layer says
// so. What a registry says about it in a list proves nothing.
func (m referrerManifest) isStatement() bool {
	return len(m.Layers) == 1 && (m.Layers[0].MediaType == BundleType || m.Layers[0].MediaType == oldBundleType) && release.ValidDigest(m.Layers[0].Digest)
}

// referrerManifest is the manifest of anything that refers to a release.
type referrerManifest struct {
	SchemaVersion int                  `json:"schemaVersion"`
	MediaType     string               `json:"mediaType,omitempty"`
	ArtifactType  string               `json:"artifactType,omitempty"`
	Config        release.Descriptor   `json:"config"`
	Layers        []release.Descriptor `json:"layers"`
	Subject       *release.Descriptor  `json:"subject,omitempty"`
	Annotations   map[string]string    `json:"annotations,omitempty"`
}

// content returns what the manifest names, the configuration first.
func (m referrerManifest) content() []release.Descriptor {
	return append([]release.Descriptor{m.Config}, m.Layers...)
}

// referrersFor makes referrers of statements.
func referrersFor(m release.Manifest, statements [][]byte, lim Limits) ([]artifact, error) {
	var list []artifact
	for _, s := range statements {
		statement, err := compact(s, lim)
		if err != nil {
			return nil, err
		}
		list = append(list, newReferrer(subjectOf(m), statement))
	}
	return list, nil
}

// newReferrer makes the referrer that holds a statement. Its bytes depend on these
// two alone.
func newReferrer(subject release.Descriptor, statement []byte) artifact {
	config := []byte("{}")
	m := referrerManifest{
		SchemaVersion: 2, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: BundleType,
		Config:      release.Descriptor{MediaType: ocispec.MediaTypeEmptyJSON, Digest: release.Digest(config), Size: int64(len(config))},
		Layers:      []release.Descriptor{{MediaType: BundleType, Digest: release.Digest(statement), Size: int64(len(statement))}},
		Subject:     &subject,
		Annotations: map[string]string{ocispec.AnnotationCreated: referrerCreated, contentAnnotation: "dsse-envelope"},
	}
	if predicate := predicateTypeOf(statement); predicate != "" {
		m.Annotations[predicateAnnotation] = predicate
	}
	raw, _ := json.Marshal(m) // strings and numbers alone
	return artifact{raw, [][]byte{config, statement}}
}

// predicateTypeOf returns the type of the statement in a Sigstore bundle, "" when it
// holds none. It only helps people and cosign to find their way.
func predicateTypeOf(bundle []byte) string {
	var b struct {
		Envelope struct {
			Payload []byte `json:"payload"`
		} `json:"dsseEnvelope"`
	}
	if json.Unmarshal(bundle, &b) != nil {
		return ""
	}
	statement, err := release.ParseStatement(b.Envelope.Payload)
	if err != nil {
		return ""
	}
	return statement.Type
}

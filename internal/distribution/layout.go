package distribution

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/westworld-charter/charter/internal/release"
)

// maxManifests bounds what the index of a layout lists.
const maxManifests = 500

// layoutStore is an OCI image layout (image-spec 1.1, image-layout.md). It is opened
// anew for each question, so that a file that was replaced is seen.
type layoutStore struct {
	open   func() (layoutFiles, error)
	ref    Ref
	limits Limits
}

func newLayout(ref Ref, lim Limits) *layoutStore {
	open := func() (layoutFiles, error) { return openDir(ref.location) }
	if ref.kind == kindTar {
		open = func() (layoutFiles, error) { return openTar(ref.location, lim) }
	}
	return &layoutStore{open, ref, lim}
}

// with opens the files, checks that they are a layout and closes them again.
func (s *layoutStore) with(use func(files layoutFiles, index []release.Descriptor) error) (err error) {
	files, err := s.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, files.close()) }()
	index, err := readIndex(files, s.limits)
	if err != nil {
		return err
	}
	return use(files, index)
}

// readIndex returns what the index of a layout lists.
func readIndex(files layoutFiles, lim Limits) ([]release.Descriptor, error) {
	var header ocispec.ImageLayout
	switch raw, err := files.read(ocispec.ImageLayoutFile, 4096, unwatched); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, coded(CodeBadLayout, errors.New("holds no file oci-layout: this is no OCI image layout (a bundle must be packed as .tar.gz)"))
	case err != nil:
		return nil, err
	case json.Unmarshal(raw, &header) != nil || header.Version != ocispec.ImageLayoutVersion:
		return nil, coded(CodeBadLayout, fmt.Errorf("the file oci-layout does not say version %s", ocispec.ImageLayoutVersion))
	}
	raw, err := files.read(ocispec.ImageIndexFile, lim.Index, unwatched)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, coded(CodeBadLayout, errors.New("holds no file index.json"))
	}
	if err != nil {
		return nil, fmt.Errorf("index.json: %w", err)
	}
	return parseIndex(raw)
}

// parseIndex reads an image index from an untrusted source.
func parseIndex(raw []byte) ([]release.Descriptor, error) {
	var index struct {
		SchemaVersion int                  `json:"schemaVersion"`
		Manifests     []release.Descriptor `json:"manifests"`
	}
	if err := json.Unmarshal(raw, &index); err != nil {
		return nil, coded(CodeBadLayout, fmt.Errorf("index: %w", err))
	}
	if index.SchemaVersion != 2 || len(index.Manifests) > maxManifests {
		return nil, coded(CodeBadLayout, fmt.Errorf("index: schemaVersion %d and %d manifests, want 2 and at most %d", index.SchemaVersion, len(index.Manifests), maxManifests))
	}
	for _, d := range index.Manifests {
		if !release.ValidDigest(d.Digest) || d.Size < 0 {
			return nil, coded(CodeBadLayout, errors.New("index: a manifest without a size or a digest of sha256: and 64 hex digits"))
		}
	}
	return index.Manifests, nil
}

func (s *layoutStore) resolve(_ context.Context, known string) (raw []byte, err error) {
	err = s.with(func(files layoutFiles, index []release.Descriptor) error {
		d, err := choose(files, index, s.ref)
		if err != nil || d.Digest == known {
			return err
		}
		raw, err = readManifest(files, d.Digest)
		return err
	})
	return raw, err
}

// choose returns the manifest that a reference into a layout means.
func choose(files layoutFiles, index []release.Descriptor, ref Ref) (release.Descriptor, error) {
	if ref.digest != "" {
		return release.Descriptor{Digest: ref.digest}, nil
	}
	var found, tagged []release.Descriptor
	var tags []string
	for _, d := range index {
		tag := d.Annotations[ocispec.AnnotationRefName]
		if tag != "" {
			tags = append(tags, tag)
		}
		if tag != "" && tag == ref.tag {
			tagged = append(tagged, d)
		} else if ref.tag == "" && isRelease(files, d) && !slices.ContainsFunc(found, func(have release.Descriptor) bool { return have.Digest == d.Digest }) {
			found = append(found, d)
		}
	}
	if ref.tag != "" {
		found = tagged
	}
	switch len(found) {
	case 0:
		return release.Descriptor{}, coded(CodeNotFound, fmt.Errorf("no release with the tag %q; tags are %q", ref.tag, tags))
	case 1:
		return found[0], nil
	}
	return release.Descriptor{}, coded(CodeBadReference, fmt.Errorf("%d releases match; add :TAG or @DIGEST, tags are %q", len(found), tags))
}

// isRelease reports whether a manifest of a layout is one of a release and not of
// something that refers to one.
func isRelease(files layoutFiles, d release.Descriptor) bool {
	raw, err := readManifest(files, d.Digest)
	if err != nil {
		return false
	}
	var m referrerManifest
	_, err = release.ParseManifest(raw)
	return err == nil && json.Unmarshal(raw, &m) == nil && m.Subject == nil
}

// readManifest reads a manifest and checks its digest.
func readManifest(files layoutFiles, digest string) ([]byte, error) {
	raw, err := files.read(blobPath(digest), release.MaxManifest, unwatched)
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", digest, err)
	}
	if got := release.Digest(raw); got != digest {
		return nil, coded(CodeManifestDigestMismatch, fmt.Errorf("the manifest %s has the digest %s", digest, got))
	}
	return raw, nil
}

// referrers finds what names the subject: in a layout there is no list of it, except
// where one was copied that a registry without the referrers API had under a tag.
func (s *layoutStore) referrers(_ context.Context, subject release.Descriptor, limit int) (list []release.Descriptor, err error) {
	err = s.with(func(files layoutFiles, index []release.Descriptor) error {
		for _, d := range slices.Concat(index, taggedReferrers(files, index, subject.Digest, s.limits)) {
			known := slices.ContainsFunc(list, func(have release.Descriptor) bool { return have.Digest == d.Digest })
			if known || !refersTo(files, d, subject.Digest) {
				continue
			}
			if len(list) == limit {
				return coded(CodeTooManyReferrers, fmt.Errorf("more than %d", limit))
			}
			list = append(list, d)
		}
		return nil
	})
	return list, err
}

// referrersTag is where registries without the referrers API keep the list of it
// (distribution-spec 1.1, "Referrers Tag Schema").
func referrersTag(digest string) string { return strings.Replace(digest, ":", "-", 1) }

func taggedReferrers(files layoutFiles, index []release.Descriptor, subject string, lim Limits) []release.Descriptor {
	for _, d := range index {
		if d.Annotations[ocispec.AnnotationRefName] != referrersTag(subject) {
			continue
		}
		if raw, err := files.read(blobPath(d.Digest), lim.Index, unwatched); err == nil {
			list, _ := parseIndex(raw) // what is no index lists nothing
			return list
		}
	}
	return nil
}

func refersTo(files layoutFiles, d release.Descriptor, subject string) bool {
	raw, err := files.read(blobPath(d.Digest), release.MaxManifest, unwatched)
	if err != nil {
		return false
	}
	var m referrerManifest
	return json.Unmarshal(raw, &m) == nil && m.Subject != nil && m.Subject.Digest == subject
}

func (s *layoutStore) manifest(_ context.Context, d release.Descriptor) ([]byte, error) {
	return s.file(d.Digest, release.MaxManifest, unwatched)
}

func (s *layoutStore) blob(_ context.Context, d release.Descriptor, moved func(int)) ([]byte, error) {
	return s.file(d.Digest, d.Size, moved)
}

func (s *layoutStore) file(digest string, limit int64, moved func(int)) (data []byte, err error) {
	if !release.ValidDigest(digest) {
		return nil, coded(CodeBadLayout, fmt.Errorf("%q is not sha256: and 64 hex digits", digest))
	}
	files, err := s.open()
	if err != nil {
		return nil, err
	}
	data, err = files.read(blobPath(digest), limit, moved)
	return data, errors.Join(err, files.close())
}

// blobPath returns where a layout has the content with a digest, which must be valid.
func blobPath(digest string) string {
	algorithm, hex, _ := strings.Cut(digest, ":")
	return ocispec.ImageBlobsDir + "/" + algorithm + "/" + hex
}

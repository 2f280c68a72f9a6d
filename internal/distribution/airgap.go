package distribution

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/westworld-charter/charter/internal/release"
)

// Save writes the releases that references name, each with all that refers to it, as
// one packed OCI image layout. Its bytes depend on these alone. Each release has the
// tag of its reference.
func Save(ctx context.Context, w io.Writer, o Options, refs ...Ref) error {
	var releases []Release
	for _, ref := range refs {
		r, err := fetchWhole(ctx, ref, o)
		if err != nil {
			return err
		}
		releases = append(releases, r)
	}
	return WriteLayout(w, releases...)
}

// Load publishes every release of a packed layout. Several keep their own tags; one
// that has none is uploaded and named by its digest alone. A single one takes the tag
// of the reference if that has one, else its own, else latest.
func Load(ctx context.Context, r io.ReaderAt, size int64, to Ref, o Options) ([]Result, error) {
	releases, err := ReadLayout(r, size, o.Limits)
	if err != nil {
		return nil, err
	}
	if to.tag != "" && len(releases) > 1 {
		return nil, &Error{CodeBadReference, to.String(), fmt.Errorf("the layout holds %d releases, each with its own tag: leave the tag out", len(releases))}
	}
	var results []Result
	for _, r := range releases {
		ref := to
		switch {
		case ref.tagged() && ref.tag == "" && r.Tag != "":
			ref.tag = r.Tag
		case ref.tagged() && ref.tag == "" && len(releases) > 1:
			ref.digest = r.Manifest.Digest()
		}
		result, err := pushRelease(ctx, ref, r, o)
		if err != nil {
			return results, err
		}
		results = append(results, result)
	}
	return results, nil
}

// fetchWhole gets a release with everything that refers to it, statements and others.
func fetchWhole(ctx context.Context, ref Ref, o Options) (Release, error) {
	o.Limits = o.Limits.orDefault()
	if !ref.tagged() {
		r, err := Fetch(ctx, ref, o)
		r.config = release.Config()
		return r, err
	}
	o.Mirrors = nil
	store, err := openStore(ref, o)
	if err != nil {
		return Release{}, err
	}
	r, err := wholeRelease(ctx, store, o)
	if r.Tag = ref.tag; ref.kind == kindRegistry && ref.digest == "" && ref.tag == "" {
		r.Tag = defaultTag
	}
	return r, fail(ref.String(), err)
}

// wholeRelease gets what the reference of a store names, with all that refers to it.
func wholeRelease(ctx context.Context, from store, o Options) (Release, error) {
	ctx, cancel := context.WithTimeout(ctx, o.Limits.Total)
	defer cancel()
	raw, err := from.resolve(ctx, "")
	if err != nil {
		return Release{}, err
	}
	r := Release{}
	if r.Manifest, err = release.ParseManifest(raw); err != nil {
		return r, coded(CodeBadManifest, err)
	}
	if r.Manifest.Config.Size > o.Limits.Index || r.Manifest.Layer.Size > o.Limits.Layer {
		return r, coded(CodeTooLarge, fmt.Errorf("a configuration of %d bytes and a layer of %d, at most %d and %d are read",
			r.Manifest.Config.Size, r.Manifest.Layer.Size, o.Limits.Index, o.Limits.Layer))
	}
	if r.config, err = fetchBlob(ctx, from, r.Manifest.Config, o, CodeLayerDigestMismatch); err != nil {
		return r, err
	}
	if r.Layer, err = fetchBlob(ctx, from, r.Manifest.Layer, o, CodeLayerDigestMismatch); err != nil {
		return r, err
	}
	list, err := from.referrers(ctx, subjectOf(r.Manifest), o.Limits.Referrers)
	if err != nil {
		return r, err
	}
	slices.SortFunc(list, func(a, b release.Descriptor) int { return cmp.Compare(a.Digest, b.Digest) })
	var found statementList
	left := o.Limits.Layer
	for _, d := range list {
		one, err := readReferrer(ctx, from, d, o.Limits)
		if err != nil {
			return r, fmt.Errorf("referrer %s: %w", d.Digest, err)
		}
		if one.manifest == nil || one.missing {
			continue
		}
		if one.statement != nil {
			found.add(one.statement)
			if err := found.fit(o.Limits); err != nil {
				return r, err
			}
		}
		whole, err := wholeReferrer(ctx, from, one, &left, o)
		if err != nil {
			return r, fmt.Errorf("referrer %s: %w", d.Digest, err)
		}
		r.referrers = append(r.referrers, whole)
	}
	r.Statements = found
	return r, nil
}

// wholeReferrer gets all that a referrer names, at most left bytes.
func wholeReferrer(ctx context.Context, from store, r referrer, left *int64, o Options) (artifact, error) {
	a := artifact{manifest: r.raw}
	for _, b := range r.manifest.content() {
		if b.Size < 0 || b.Size > *left || !release.ValidDigest(b.Digest) {
			return a, coded(CodeTooLarge, fmt.Errorf("what refers to the release holds more than %d bytes, or has no digest of SHA-256", o.Limits.Layer))
		}
		*left -= b.Size
		data, err := fetchBlob(ctx, from, b, o, CodeStatementDigestMismatch)
		if err != nil {
			return a, err
		}
		a.blobs = append(a.blobs, data)
	}
	return a, nil
}

// ReadLayout reads the releases in a packed OCI image layout from an untrusted source,
// in the order of its index. At least one is there. It fails with an [*Error].
func ReadLayout(r io.ReaderAt, size int64, lim Limits) ([]Release, error) {
	releases, err := readLayout(r, size, Options{Limits: lim.orDefault()})
	return releases, fail("layout", err)
}

func readLayout(r io.ReaderAt, size int64, o Options) ([]Release, error) {
	files, err := indexTar(r, size, o.Limits)
	if err != nil {
		return nil, err
	}
	index, err := readIndex(files, o.Limits)
	if err != nil {
		return nil, err
	}
	var releases []Release
	for _, d := range index {
		if !isRelease(files, d) {
			continue
		}
		store := &layoutStore{
			open:   func() (layoutFiles, error) { return files, nil },
			ref:    Ref{kind: kindTar, digest: d.Digest},
			limits: o.Limits,
		}
		one, err := wholeRelease(context.Background(), store, o)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", d.Digest, err)
		}
		one.Tag = d.Annotations[ocispec.AnnotationRefName]
		if releases = append(releases, one); len(releases) > maxReleases {
			return nil, coded(CodeBadLayout, fmt.Errorf("more than %d releases", maxReleases))
		}
	}
	if len(releases) == 0 {
		return nil, coded(CodeNotFound, errors.New("there is no release in it"))
	}
	return releases, nil
}

// maxReleases bounds what is read from one packed layout.
const maxReleases = 20

// WriteLayout writes releases as a packed OCI image layout. Its bytes depend on these
// alone. Two with one tag are an error.
func WriteLayout(w io.Writer, releases ...Release) error {
	var index ocispec.Index
	index.SchemaVersion, index.MediaType = 2, ocispec.MediaTypeImageIndex
	blobs := map[string][]byte{}
	tags := map[string]bool{}
	for _, r := range releases {
		if tags[r.Tag] && r.Tag != "" {
			return &Error{CodeBadReference, "layout", fmt.Errorf("two releases with the tag %s", r.Tag)}
		}
		tags[r.Tag] = true
		referrers, err := r.artifacts()
		if err != nil {
			return fail("layout", err)
		}
		config := r.config
		if config == nil {
			config = release.Config()
		}
		d := ociDescriptor(subjectOf(r.Manifest))
		if r.Tag != "" {
			d.Annotations = map[string]string{ocispec.AnnotationRefName: r.Tag}
		}
		index.Manifests = append(index.Manifests, d)
		for _, data := range [][]byte{r.Manifest.Bytes(), config, r.Layer} {
			blobs[release.Digest(data)] = data
		}
		for _, a := range referrers {
			index.Manifests = append(index.Manifests, describe(a))
			for _, data := range append(slices.Clone(a.blobs), a.manifest) {
				blobs[release.Digest(data)] = data
			}
		}
	}
	raw, err := json.Marshal(index)
	if err != nil {
		return fail("layout", err)
	}
	return fail("layout", writeTar(w, raw, blobs))
}

// artifacts returns what refers to the release, as it was found or else made of the
// statements.
func (r Release) artifacts() ([]artifact, error) {
	if r.referrers != nil {
		return r.referrers, nil
	}
	list, err := referrersFor(r.Manifest, r.Statements, Limits{}.orDefault())
	slices.SortFunc(list, func(a, b artifact) int { return cmp.Compare(release.Digest(a.manifest), release.Digest(b.manifest)) })
	return list, err
}

// describe names a referrer in an index.
func describe(a artifact) ocispec.Descriptor {
	var m referrerManifest
	_ = json.Unmarshal(a.manifest, &m) // it was made or read before
	d := ociDescriptor(release.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: release.Digest(a.manifest), Size: int64(len(a.manifest))})
	d.ArtifactType, d.Annotations = m.ArtifactType, m.Annotations
	return d
}

func writeTar(w io.Writer, index []byte, blobs map[string][]byte) error {
	t := tar.NewWriter(w)
	write := func(name string, data []byte) error {
		header := &tar.Header{Typeflag: tar.TypeReg, Format: tar.FormatUSTAR, Name: name, Size: int64(len(data)), Mode: 0o644, ModTime: time.Unix(0, 0)}
		if err := t.WriteHeader(header); err != nil {
			return err
		}
		_, err := io.Copy(t, bytes.NewReader(data))
		return err
	}
	header, err := json.Marshal(ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
	if err != nil {
		return err
	}
	if err := errors.Join(write(ocispec.ImageLayoutFile, header), write(ocispec.ImageIndexFile, index)); err != nil {
		return err
	}
	for _, digest := range slices.Sorted(maps.Keys(blobs)) {
		if err := write(blobPath(digest), blobs[digest]); err != nil {
			return err
		}
	}
	return t.Close()
}

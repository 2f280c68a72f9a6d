package distribution

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/content/oci"
	"oras.land/oras-go/v2/errdef"

	"github.com/westworld-charter/charter/internal/release"
)

// maxAttempts is how often referrers are attached that are not listed afterwards.
// Registries without the referrers API lose one when two are attached at a time.
const maxAttempts = 3

// Result says what publishing did.
type Result struct {
	Digest   string `json:"digest"`        // release digest
	Tag      string `json:"tag,omitempty"` // that names it now, "" when none was asked for
	Uploaded int64  `json:"uploaded"`      // bytes that were not there yet
	Attached int    `json:"attached"`      // statements and other referrers that were not there yet
	Moved    bool   `json:"moved"`         // the tag named something else, or nothing, before
}

// target is where content is written: a repository of a registry, or a layout.
type target interface {
	content.Storage
	content.Resolver
	content.Tagger
}

// Push publishes a release under the tag of ref: to a registry, a layout in a
// directory, or an archive with its statements beside it. What is there is not
// uploaded again. The tag moves last, so that whoever follows it finds everything.
// A reference with a digest must pin this release. It fails with an [*Error].
func Push(ctx context.Context, ref Ref, manifest release.Manifest, layer []byte, statements [][]byte, o Options) (Result, error) {
	if manifest.Config.Digest != release.Digest(release.Config()) {
		return Result{}, &Error{CodeUnsupported, ref.String(), errors.New("the release has a configuration of its own: copy it with save and load")}
	}
	r := Release{Manifest: manifest, Layer: layer, Statements: statements, config: release.Config()}
	return pushRelease(ctx, ref, r, o)
}

func pushRelease(ctx context.Context, ref Ref, r Release, o Options) (Result, error) {
	o.Limits = o.Limits.orDefault()
	result := Result{Digest: r.Manifest.Digest()}
	if ref.digest != "" && ref.digest != result.Digest {
		return result, &Error{CodeBadReference, ref.String(), fmt.Errorf("the release is %s", result.Digest)}
	}
	if _, err := release.ParseManifest(r.Manifest.Bytes()); err != nil {
		return result, &Error{CodeBadManifest, ref.String(), err} // nobody would take it
	}
	if err := checkLayer(r.Manifest, r.Layer); err != nil {
		return result, fail(ref.String(), err)
	}
	if ref.kind == kindArchive {
		return writeArchive(ref, r, o.Limits)
	}
	to, store, err := openTarget(ctx, ref, o)
	if err != nil {
		return result, fail(ref.String(), err)
	}
	p := &pusher{to: to, store: store, o: o, result: result}
	err = p.release(ctx, ref, r)
	return p.result, fail(ref.String(), err)
}

// Attach publishes statements about a release that is there: as referrers, or for an
// archive in the file beside it. Those that are there are not attached again.
func Attach(ctx context.Context, ref Ref, digest string, statements [][]byte, o Options) (Result, error) {
	o.Limits = o.Limits.orDefault()
	o.Mirrors = nil
	result := Result{Digest: digest}
	source, err := Open(ref.WithDigest(digest), o)
	if err != nil {
		return result, err
	}
	there, err := source.Resolve(ctx, Resolved{}, 0)
	if err != nil {
		return result, err
	}
	if there.Digest != digest {
		return result, &Error{CodeManifestDigestMismatch, ref.String(), fmt.Errorf("holds the release %s, not %s", there.Digest, digest)}
	}
	if ref.kind == kindArchive {
		return attachFile(ref.location, digest, there.Statements, statements, o.Limits)
	}
	manifest, err := there.manifest()
	if err != nil {
		return result, fail(ref.String(), err)
	}
	to, store, err := openTarget(ctx, ref, o)
	if err != nil {
		return result, fail(ref.String(), err)
	}
	p := &pusher{to: to, store: store, o: o, result: result}
	err = p.statements(ctx, manifest, there.Statements, statements)
	return p.result, fail(ref.String(), err)
}

func openTarget(ctx context.Context, ref Ref, o Options) (target, store, error) {
	switch ref.kind {
	case kindRegistry:
		s, err := newRegistry(ref, o)
		if err != nil {
			return nil, nil, err
		}
		return s.repo, s, nil
	case kindDir:
		layout, err := oci.NewWithContext(ctx, ref.location)
		return layout, newLayout(ref, o.Limits), err
	case kindTar:
		return nil, nil, coded(CodeUnsupported, errors.New("a packed layout is written as a whole, by save"))
	}
	return nil, nil, coded(CodeUnsupported, errors.New("cannot be written to"))
}

// pusher writes to one place.
type pusher struct {
	to     target
	store  store
	o      Options
	result Result
}

// release writes a release, then what refers to it, then the tag.
func (p *pusher) release(ctx context.Context, ref Ref, r Release) error {
	if err := p.blobs(ctx, artifact{r.Manifest.Bytes(), [][]byte{r.config, r.Layer}}); err != nil {
		return err
	}
	if err := p.content(ctx, ocispec.MediaTypeImageManifest, r.Manifest.Bytes()); err != nil {
		return err
	}
	if err := p.referrers(ctx, r); err != nil {
		return err
	}
	switch {
	case ref.tag != "":
		return p.tag(ctx, r.Manifest, ref.tag)
	case ref.digest == "":
		return p.tag(ctx, r.Manifest, defaultTag)
	}
	return nil
}

func (p *pusher) referrers(ctx context.Context, r Release) error {
	if r.referrers != nil {
		return p.attach(ctx, r.Manifest, r.referrers)
	}
	there, err := newStoreSource(p.store, "", p.o).statements(ctx, r.Manifest)
	if err != nil {
		return err
	}
	return p.statements(ctx, r.Manifest, there, r.Statements)
}

// statements attaches those that are not there, in whatever referrer.
func (p *pusher) statements(ctx context.Context, m release.Manifest, there, statements [][]byte) error {
	var missing []artifact
	for _, s := range statements {
		statement, err := compact(s, p.o.Limits)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(there, func(have []byte) bool { return bytes.Equal(have, statement) }) {
			missing = append(missing, newReferrer(subjectOf(m), statement))
		}
	}
	return p.attach(ctx, m, missing)
}

// blobs writes what a manifest names.
func (p *pusher) blobs(ctx context.Context, a artifact) error {
	var m referrerManifest
	if err := json.Unmarshal(a.manifest, &m); err != nil {
		return coded(CodeBadManifest, err)
	}
	for i, d := range m.content() {
		if err := p.content(ctx, d.MediaType, a.blobs[i]); err != nil {
			return err
		}
	}
	return nil
}

// content writes what is not there yet.
func (p *pusher) content(ctx context.Context, mediaType string, data []byte) error {
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	there, err := p.to.Exists(ctx, d)
	if err != nil || there {
		return err
	}
	if err := p.to.Push(ctx, d, p.counted(data)); err != nil && !errors.Is(err, errdef.ErrAlreadyExists) {
		return fmt.Errorf("upload %s: %w", d.Digest, err)
	}
	p.result.Uploaded += d.Size
	return nil
}

// counted reads data and reports progress. Requests are repeated only of readers that
// net/http knows, so small content is not counted.
func (p *pusher) counted(data []byte) io.Reader {
	if p.o.Progress == nil || len(data) < 1<<20 {
		return bytes.NewReader(data)
	}
	return io.TeeReader(bytes.NewReader(data), counter(p.o.progress("upload", int64(len(data)))))
}

type counter func(int)

func (c counter) Write(p []byte) (int, error) {
	c(len(p))
	return len(p), nil
}

// attach writes the referrers that are not listed, until all are.
func (p *pusher) attach(ctx context.Context, m release.Manifest, referrers []artifact) error {
	for attempt := 0; ; attempt++ {
		listed, err := p.store.referrers(ctx, subjectOf(m), maxManifests)
		if err != nil {
			return fmt.Errorf("list what refers to %s: %w", m.Digest(), err)
		}
		missing := slices.DeleteFunc(slices.Clone(referrers), func(a artifact) bool {
			return slices.ContainsFunc(listed, func(d release.Descriptor) bool { return d.Digest == release.Digest(a.manifest) })
		})
		if len(missing) == 0 {
			return nil
		}
		if attempt == maxAttempts {
			return coded(CodeBadResponse, fmt.Errorf("%d referrers are not listed after they were attached %d times", len(missing), maxAttempts))
		}
		if len(listed)+len(missing) > p.o.Limits.Referrers {
			return coded(CodeTooManyReferrers, fmt.Errorf("%d referrers would refer to the release, nodes read at most %d", len(listed)+len(missing), p.o.Limits.Referrers))
		}
		for _, a := range missing {
			if err := p.referrer(ctx, a); err != nil {
				return err
			}
			if attempt == 0 {
				p.result.Attached++
			}
		}
	}
}

// referrer writes a referrer. Its manifest is written even when it is there: that is
// what lists it.
func (p *pusher) referrer(ctx context.Context, a artifact) error {
	if err := p.blobs(ctx, a); err != nil {
		return err
	}
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(a.manifest), Size: int64(len(a.manifest))}
	if err := p.to.Push(ctx, d, bytes.NewReader(a.manifest)); err != nil && !errors.Is(err, errdef.ErrAlreadyExists) {
		return fmt.Errorf("attach %s: %w", d.Digest, err)
	}
	p.result.Uploaded += d.Size
	return nil
}

// tag lets the tag name the release, unless it does.
func (p *pusher) tag(ctx context.Context, m release.Manifest, tag string) error {
	p.result.Tag = tag
	if now, err := p.to.Resolve(ctx, tag); err == nil && now.Digest.String() == m.Digest() {
		return nil
	} else if err != nil && codeOf(err) != CodeNotFound && codeOf(err) != CodeBadResponse {
		return err
	}
	if err := p.to.Tag(ctx, ociDescriptor(subjectOf(m)), tag); err != nil {
		return fmt.Errorf("set the tag %s: %w", tag, err)
	}
	p.result.Moved = true
	return nil
}

package distribution

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/westworld-charter/charter/internal/release"
)

// Source is a release that a reference names, which changes over time. Its methods
// are safe for concurrent use. Their errors have an [*Error] in them; with mirrors one
// for each place that was asked, that of the reference first.
type Source interface {
	// Resolve asks what the reference names now. Previous is an earlier answer, or one
	// made of what is on disk, or zero: what did not change is not fetched again. With
	// wait > 0, an HTTP server may hold the answer back that long until something
	// changes; others answer at once.
	Resolve(ctx context.Context, previous Resolved, wait time.Duration) (Resolved, error)
	// Layer returns the archive of a release; its digest and size are those of the
	// manifest.
	Layer(ctx context.Context, r Resolved) ([]byte, error)
}

// Resolved is what a reference names.
type Resolved struct {
	Digest     string   // release digest: that of Manifest
	Manifest   []byte   // of one layer, as [release.ParseManifest] reads it
	Statements [][]byte // Sigstore bundles, none twice, unverified
	Unchanged  bool     // the digest and the statements are those of the previous answer
}

func newResolved(m release.Manifest, statements [][]byte, previous Resolved) Resolved {
	return Resolved{
		Digest: m.Digest(), Manifest: m.Bytes(), Statements: statements,
		Unchanged: previous.Digest == m.Digest() && sameStatements(previous.Statements, statements),
	}
}

// manifest returns the manifest of an answer, whoever made that.
func (r Resolved) manifest() (release.Manifest, error) {
	m, err := release.ParseManifest(r.Manifest)
	if err != nil {
		return m, coded(CodeBadManifest, err)
	}
	if m.Digest() != r.Digest {
		return m, coded(CodeManifestDigestMismatch, fmt.Errorf("the manifest has the digest %s, not %s", m.Digest(), r.Digest))
	}
	return m, nil
}

// Open returns the source that a reference names. Nothing is asked yet.
func Open(ref Ref, o Options) (Source, error) {
	o.Limits = o.Limits.orDefault()
	source, err := openOne(ref, o)
	if err != nil || len(o.Mirrors) == 0 {
		return source, err
	}
	sources := []Source{source}
	for _, text := range o.Mirrors {
		mirror, err := parseMirror(text, ref)
		if err != nil {
			return nil, err
		}
		o.TokenFile, o.Header = "", nil
		source, err := openOne(mirror, o)
		if err != nil {
			return nil, err
		}
		sources = append(sources, source)
	}
	return &mirrored{sources}, nil
}

// parseMirror reads a reference to a copy of what ref names.
func parseMirror(text string, ref Ref) (Ref, error) {
	if host, ok := strings.CutPrefix(text, "oci://"); ok && ref.kind == kindRegistry && !strings.Contains(host, "/") {
		_, repository, _ := strings.Cut(ref.location, "/")
		text += "/" + repository
	}
	mirror, err := ParseRef(text)
	if mirror.tag == "" && mirror.digest == "" && mirror.tagged() {
		mirror.tag, mirror.digest = ref.tag, ref.digest
	}
	return mirror, err
}

func openOne(ref Ref, o Options) (Source, error) {
	switch ref.kind {
	case kindServer:
		return newServer(ref, o)
	case kindArchive:
		return &archiveSource{path: ref.location, limits: o.Limits}, nil
	}
	store, err := openStore(ref, o)
	if err != nil {
		return nil, err
	}
	return newStoreSource(store, ref.String(), o), nil
}

func openStore(ref Ref, o Options) (store, error) {
	switch ref.kind {
	case kindRegistry:
		return newRegistry(ref, o)
	case kindDir, kindTar:
		return newLayout(ref, o.Limits), nil
	}
	return nil, &Error{CodeUnsupported, ref.String(), errors.New("is neither a registry nor an OCI image layout")}
}

// mirrored asks the first source what the reference means, and the others for it.
type mirrored struct {
	sources []Source
}

// Resolve asks mirrors only when those before them do not answer: an old mirror is not
// to hide a new release.
func (m *mirrored) Resolve(ctx context.Context, previous Resolved, wait time.Duration) (Resolved, error) {
	return firstOf(ctx, m.sources, func(s Source) (Resolved, error) { return s.Resolve(ctx, previous, wait) })
}

// Layer asks mirrors first: a layer is what its digest says, wherever it comes from.
func (m *mirrored) Layer(ctx context.Context, r Resolved) ([]byte, error) {
	order := append(m.sources[1:len(m.sources):len(m.sources)], m.sources[0])
	return firstOf(ctx, order, func(s Source) ([]byte, error) { return s.Layer(ctx, r) })
}

// firstOf returns the first success. When there is none, the error has the code of the
// first source that was asked and the text of all.
func firstOf[T any](ctx context.Context, sources []Source, ask func(Source) (T, error)) (T, error) {
	var errs []error
	for _, s := range sources {
		got, err := ask(s)
		if err == nil {
			return got, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	var none T
	return none, errors.Join(errs...)
}

// Release is a release in memory.
type Release struct {
	Tag        string // that it has in a layout, "" for none
	Manifest   release.Manifest
	Layer      []byte
	Statements [][]byte // Sigstore bundles, unverified

	config    []byte
	referrers []artifact // as they were found, statements and others
}

// artifact is a manifest with what it names.
type artifact struct {
	manifest []byte
	blobs    [][]byte
}

// Fetch gets the release that a reference names.
func Fetch(ctx context.Context, ref Ref, o Options) (Release, error) {
	source, err := Open(ref, o)
	if err != nil {
		return Release{}, err
	}
	r, err := source.Resolve(ctx, Resolved{}, 0)
	if err != nil {
		return Release{}, err
	}
	layer, err := source.Layer(ctx, r)
	if err != nil {
		return Release{}, err
	}
	manifest, err := r.manifest()
	return Release{Tag: ref.tag, Manifest: manifest, Layer: layer, Statements: r.Statements}, err
}

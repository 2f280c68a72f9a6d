package distribution

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/westworld-charter/charter/internal/release"
)

// store is where manifests, blobs and what refers to them are: a registry or a layout.
// What it returns has the digest that was asked for.
type store interface {
	// resolve returns the manifest that the reference names, or nil when that is known,
	// a release digest or "".
	resolve(ctx context.Context, known string) ([]byte, error)
	// referrers returns what refers to a manifest, of any kind and as the other side
	// describes it; more than limit is an error.
	referrers(ctx context.Context, subject release.Descriptor, limit int) ([]release.Descriptor, error)
	// manifest and blob return content by its digest; d.Size is checked for a blob
	// and only a claim for a manifest.
	manifest(ctx context.Context, d release.Descriptor) ([]byte, error)
	blob(ctx context.Context, d release.Descriptor, moved func(int)) ([]byte, error)
}

// storeSource makes a [Source] of a store. What it has fetched it does not fetch again.
type storeSource struct {
	store store
	where string
	o     Options

	mu     sync.Mutex
	latest []byte            // manifest of the last answer
	read   map[string][]byte // of what is listed, by digest: its statement, nil when it is none
}

func newStoreSource(store store, where string, o Options) *storeSource {
	return &storeSource{store: store, where: where, o: o, read: map[string][]byte{}}
}

func (s *storeSource) Resolve(ctx context.Context, previous Resolved, _ time.Duration) (Resolved, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Limits.Total)
	defer cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.latest == nil && previous.Digest != "" && previous.Digest == release.Digest(previous.Manifest) {
		s.latest = previous.Manifest
	}
	known := ""
	if s.latest != nil {
		known = release.Digest(s.latest)
	}
	raw, err := s.store.resolve(ctx, known)
	if err != nil {
		return Resolved{}, fail(s.where, err)
	}
	if raw == nil {
		raw = s.latest
	}
	manifest, err := release.ParseManifest(raw)
	if err != nil {
		return Resolved{}, fail(s.where, coded(CodeBadManifest, err))
	}
	statements, err := s.statements(ctx, manifest)
	if err != nil {
		return Resolved{}, fail(s.where, err)
	}
	s.latest = manifest.Bytes()
	return newResolved(manifest, statements, previous), nil
}

// statements returns the statements about a manifest. What refers to it and is no
// statement is ignored, whatever it claims to be; what is not what its digests say, too,
// unless there is nothing else.
func (s *storeSource) statements(ctx context.Context, m release.Manifest) ([][]byte, error) {
	list, err := s.store.referrers(ctx, subjectOf(m), s.o.Limits.Referrers)
	if err != nil {
		return nil, fmt.Errorf("list what refers to %s: %w", m.Digest(), err)
	}
	// In an order that the other side does not choose.
	slices.SortFunc(list, func(a, b release.Descriptor) int { return cmp.Compare(a.Digest, b.Digest) })
	listed := make(map[string]bool, len(list))
	for _, d := range list {
		listed[d.Digest] = true
	}
	maps.DeleteFunc(s.read, func(digest string, _ []byte) bool { return !listed[digest] })
	var found statementList
	var broken error // of the first referrer that is not what it is said to be
	for _, d := range list {
		statement, known := s.read[d.Digest]
		if !known {
			r, err := readReferrer(ctx, s.store, d, s.o.Limits)
			if code := codeOf(err); err != nil && (code == CodeStatementDigestMismatch || code == CodeBadResponse) {
				// Whoever may attach something may describe it wrongly, such as its size.
				if broken == nil {
					broken = fmt.Errorf("referrer %s: %w", d.Digest, err)
				}
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("referrer %s: %w", d.Digest, err)
			}
			if statement = r.statement; !r.missing {
				s.read[d.Digest] = statement
			}
		}
		if statement == nil {
			continue
		}
		found.add(statement)
		if err := found.fit(s.o.Limits); err != nil {
			return nil, err
		}
	}
	if len(found) == 0 {
		return nil, broken
	}
	return found, nil
}

func (s *storeSource) Layer(ctx context.Context, r Resolved) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Limits.Total)
	defer cancel()
	manifest, err := r.manifest()
	if err != nil {
		return nil, fail(s.where, err)
	}
	if manifest.Layer.Size > s.o.Limits.Layer {
		return nil, fail(s.where, coded(CodeTooLarge, fmt.Errorf("a layer of %d bytes, at most %d are read", manifest.Layer.Size, s.o.Limits.Layer)))
	}
	data, err := fetchBlob(ctx, s.store, manifest.Layer, s.o, CodeLayerDigestMismatch)
	return data, fail(s.where, err)
}

// fetchBlob fetches a blob, again when the connection breaks, and checks it.
func fetchBlob(ctx context.Context, from store, d release.Descriptor, o Options, mismatch string) ([]byte, error) {
	for try := 0; ; try++ {
		data, err := from.blob(ctx, d, o.progress("download", d.Size))
		switch {
		case err == nil && int64(len(data)) == d.Size && release.Digest(data) == d.Digest:
			return data, nil
		case err == nil, codeOf(err) == CodeTooLarge:
			return nil, coded(mismatch, fmt.Errorf("what is sent for %s of %d bytes is something else", d.Digest, d.Size))
		case try >= o.Limits.Retries || ctx.Err() != nil || !isNetwork(err):
			return nil, fmt.Errorf("fetch %s: %w", d.Digest, err)
		}
	}
}

// referrer is what refers to a release, as far as it can be read.
type referrer struct {
	raw       []byte
	manifest  *referrerManifest // nil when there is none
	statement []byte            // nil when it is something else
	missing   bool              // something of it is not there, or not there yet
}

// readReferrer reads what refers to a release. That something is no statement or not
// there is no error: anybody who may write to a repository can list such things.
func readReferrer(ctx context.Context, from store, d release.Descriptor, lim Limits) (r referrer, err error) {
	if !release.ValidDigest(d.Digest) || d.Size > release.MaxManifest {
		return r, nil
	}
	if r.raw, err = from.manifest(ctx, d); err != nil {
		return r, r.ignore(err)
	}
	if release.Digest(r.raw) != d.Digest {
		return r, coded(CodeStatementDigestMismatch, errors.New("what is sent for the manifest is something else"))
	}
	var m referrerManifest
	if json.Unmarshal(r.raw, &m) != nil {
		return r, nil
	}
	r.manifest = &m
	if !m.isStatement() || m.Layers[0].Size <= 0 || m.Layers[0].Size > lim.Statement {
		return r, nil
	}
	blob, err := fetchBlob(ctx, from, m.Layers[0], Options{Limits: lim}, CodeStatementDigestMismatch)
	if err != nil {
		return r, r.ignore(err)
	}
	if statement, err := compact(blob, lim); err == nil && statement[0] == '{' {
		r.statement = statement
	}
	return r, nil
}

// ignore keeps errors that say nothing about the referrer itself.
func (r *referrer) ignore(err error) error {
	switch codeOf(err) {
	case CodeNotFound:
		r.missing = true
		return nil
	case CodeTooLarge:
		return nil
	}
	return err
}

// subjectOf describes a manifest to what refers to it.
func subjectOf(m release.Manifest) release.Descriptor {
	return release.Descriptor{MediaType: release.ManifestType, Digest: m.Digest(), Size: int64(len(m.Bytes()))}
}

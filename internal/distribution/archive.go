package distribution

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"github.com/westworld-charter/charter/internal/release"
)

// Limits of the search for the manifest of a bundle.
const (
	maxSearch         = 512 << 20 // unpacked bytes
	maxBundleManifest = 1 << 20   // bytes
)

// archiveSource is an archive in a file, with the statements beside it.
type archiveSource struct {
	path   string
	limits Limits
}

func (s *archiveSource) Resolve(_ context.Context, previous Resolved, _ time.Duration) (Resolved, error) {
	manifest, _, err := s.read()
	if err != nil {
		return Resolved{}, err
	}
	statements, err := readStatementsFile(StatementsPath(s.path), s.limits)
	if err != nil {
		return Resolved{}, err
	}
	return newResolved(manifest, statements, previous), nil
}

func (s *archiveSource) Layer(_ context.Context, r Resolved) ([]byte, error) {
	manifest, err := r.manifest()
	if err != nil {
		return nil, fail(s.path, err)
	}
	_, layer, err := s.read()
	if err != nil {
		return nil, err
	}
	return layer, fail(s.path, checkLayer(manifest, layer))
}

func (s *archiveSource) read() (release.Manifest, []byte, error) {
	layer, err := readFile(s.path, s.limits.Layer)
	if err != nil {
		return release.Manifest{}, nil, err
	}
	manifest, err := manifestOf(layer)
	return manifest, layer, fail(s.path, err)
}

// readStatementsFile reads the statements beside an archive; without the file there
// are none.
func readStatementsFile(file string, lim Limits) ([][]byte, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fail(file, err)
	}
	defer f.Close()
	statements, err := readStatements(f, lim)
	return statements, fail(file, err)
}

func checkLayer(m release.Manifest, layer []byte) error {
	if int64(len(layer)) != m.Layer.Size || release.Digest(layer) != m.Layer.Digest {
		return coded(CodeLayerDigestMismatch, fmt.Errorf("the archive is not %s of %d bytes, which the manifest names", m.Layer.Digest, m.Layer.Size))
	}
	return nil
}

// manifestOf makes the manifest of an archive from an untrusted source.
func manifestOf(layer []byte) (release.Manifest, error) {
	if len(layer) == 0 {
		return release.Manifest{}, coded(CodeBadArchive, errors.New("is empty"))
	}
	revision, err := revisionOf(layer)
	if err != nil {
		return release.Manifest{}, coded(CodeBadArchive, err)
	}
	return release.NewManifest(release.Digest(layer), int64(len(layer)), revision), nil
}

// revisionOf returns the revision of a bundle of any kind, as its .manifest says. That
// the rest of the archive is in order is for its readers to check.
func revisionOf(layer []byte) (string, error) {
	z, err := gzip.NewReader(bytes.NewReader(layer))
	if err != nil {
		return "", fmt.Errorf("is not a .tar.gz: %w", err)
	}
	for t := tar.NewReader(io.LimitReader(z, maxSearch)); ; {
		header, err := t.Next()
		if errors.Is(err, io.EOF) {
			return "", errors.New("holds no .manifest: this is no bundle")
		}
		if err != nil {
			return "", err
		}
		if path.Join("/", header.Name) != "/.manifest" {
			continue
		}
		raw, err := readAll(t, maxBundleManifest, unwatched)
		if err != nil {
			return "", fmt.Errorf(".manifest: %w", err)
		}
		var m struct {
			Revision string `json:"revision"`
		}
		if err := json.Unmarshal(raw, &m); err != nil {
			return "", fmt.Errorf(".manifest: %w", err)
		}
		return m.Revision, nil
	}
}

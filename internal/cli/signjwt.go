package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/release"
	"github.com/westworld-charter/charter/internal/signing"
)

// signedJWT is what `sign --opa-jwt --format json` prints.
type signedJWT struct {
	digests
	ReleaseDigest string `json:"release_digest"`
	KeyID         string `json:"key_id"`
	File          string `json:"file"`
}

// signJWT writes the archive with a signature inside, which stock opa verifies. The same
// key file makes the same bytes of the same bundle.
func (p *program) signJWT(ctx context.Context, f signFlags, path string, format choice) error {
	if f.signer.key == "" || f.channel != "" || f.rollbackOf != "" || f.keyID == "" {
		return usagef("sign: --opa-jwt takes --key and --key-id and nothing of releases: stock opa knows neither channels nor identities")
	}
	if err := checkArchiveName(f.output); err != nil {
		return err
	}
	a, err := readArchive(path)
	if err != nil {
		return err
	}
	key, err := p.openKey(ctx, f.signer.key)
	if err != nil {
		return err
	}
	jwt, err := signing.SignJWT(ctx, key, f.keyID, a.bundle.Files())
	if err != nil {
		return err
	}
	var packed bytes.Buffer
	if err := a.bundle.WriteSignedTar(&packed, jwt); err != nil {
		return err
	}
	signed, err := signedArchive(f.output, packed.Bytes())
	if err != nil {
		return err
	}
	if err := writeWhole(f.output, signed.data); err != nil {
		return err
	}
	done := signedJWT{signed.digests(), signed.manifest.Digest(), f.keyID, f.output}
	if format.is(formatJSON) {
		return p.printJSON(done)
	}
	_, err = fmt.Fprintf(p.stdout, "%srelease digest  %s\nkey id          %s\nwritten to      %s\n", done.digests, done.ReleaseDigest, printable(done.KeyID), printable(done.File))
	return err
}

// signedArchive is an archive for stock opa. It has no statements.
func signedArchive(path string, data []byte) (archive, error) {
	b, _, err := bundle.ReadSigned(bytes.NewReader(data), bundle.Limits{})
	if err != nil {
		return archive{}, invalid(fmt.Errorf("open %s: %w", path, err))
	}
	return archive{from: path, data: data, bundle: b, manifest: manifestOf(data, b.Manifest().Revision), jwt: true}, nil
}

// readPushed reads what is uploaded: a bundle with its statements, or an archive for
// stock opa.
func readPushed(path string) (archive, error) {
	a, err := readArchive(path)
	var e *bundle.Error
	if !errors.As(err, &e) || e.Code != bundle.CodeJWTBundle {
		return a, err
	}
	info, err := os.Stat(path)
	if err == nil && info.Size() > release.MaxLayer {
		err = fmt.Errorf("%s has more than %d bytes", path, int64(release.MaxLayer))
	}
	if err != nil {
		return a, &exitError{ExitUsage, err}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return a, &exitError{ExitUsage, err}
	}
	return signedArchive(path, data)
}

// manifestOf is the manifest of a file.
func manifestOf(data []byte, revision string) release.Manifest {
	return release.NewManifest(release.Digest(data), int64(len(data)), revision)
}

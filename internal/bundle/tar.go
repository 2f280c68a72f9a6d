package bundle

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"time"
)

// WriteTar writes the bundle as a .tar.gz whose bytes depend on the files
// alone: sorted paths, USTAR headers without extensions, mode 0644, owner 0,
// time zero, and a gzip header without name and time.
func (b *Bundle) WriteTar(w io.Writer) error { return writeArchive(w, b.paths, b.files) }

func writeArchive(w io.Writer, paths []string, files map[string][]byte) error {
	z, err := compressor(w)
	if err != nil {
		return coded(err, CodeIO, "")
	}
	t := tar.NewWriter(z)
	for _, p := range paths {
		if err := writeEntry(t, p, files[p]); err != nil {
			return coded(err, CodeIO, p)
		}
	}
	if err := errors.Join(t.Close(), z.Close()); err != nil {
		return coded(err, CodeIO, "")
	}
	return nil
}

func writeEntry(t *tar.Writer, path string, data []byte) error {
	header := &tar.Header{
		Typeflag: tar.TypeReg, Format: tar.FormatUSTAR,
		Name: path, Size: int64(len(data)), Mode: 0o644, ModTime: time.Unix(0, 0),
	}
	if err := t.WriteHeader(header); err != nil {
		return err
	}
	_, err := t.Write(data)
	return err
}

func (b *Bundle) layerDigest() string {
	h := sha256.New()
	if err := b.WriteTar(h); err != nil {
		// A hash takes every byte, and take has checked what a header must hold.
		return ""
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

package bundle

import (
	"io"
	"maps"
	"slices"
)

// maxSignatures bounds the file with the JWT in bytes.
const maxSignatures = 1 << 20

// Files returns the contents of all files by their paths: what a JWT for stock OPA
// lists. The contents must not be modified.
func (b *Bundle) Files() map[string][]byte { return maps.Clone(b.files) }

// WriteSignedTar is [Bundle.WriteTar] with a JWT for stock OPA inside, as
// .signatures.json. That archive is another artifact: [Read] refuses it. Its bytes
// depend on the files and the JWT alone.
func (b *Bundle) WriteSignedTar(w io.Writer, jwt []byte) error {
	files := b.Files()
	files[signatures] = jwt
	return writeArchive(w, slices.Sorted(maps.Keys(files)), files)
}

// ReadSigned reads what [Bundle.WriteSignedTar] wrote, from an untrusted source, and
// returns the bundle without the JWT, and the JWT, which is not verified. It is for
// looking at such an archive; nothing here decides by it. Without a JWT it fails with
// [CodeUnexpectedFile].
func ReadSigned(r io.Reader, lim Limits) (*Bundle, []byte, error) {
	files, err := readArchive(r, lim, func(path string) error {
		if path == signatures {
			return nil
		}
		return checkPath(path)
	})
	if err != nil {
		return nil, nil, err
	}
	jwt, ok := files[signatures]
	switch {
	case !ok:
		return nil, nil, newError(CodeUnexpectedFile, "", "there is no %s in it", signatures)
	case len(jwt) > maxSignatures:
		return nil, nil, newError(CodeTooLarge, signatures, "more than %d bytes", maxSignatures)
	}
	delete(files, signatures)
	b, err := take(files)
	if err != nil {
		return nil, nil, err
	}
	return b, jwt, nil
}
